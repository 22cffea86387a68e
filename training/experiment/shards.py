"""A share of the work for one of several machines, such as the pods of an Indexed Job."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from porcelain.errors import UserError

INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
"""Where Kubernetes tells the pod of an Indexed Job its number, from 0."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` shares, from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `0/8`, or `auto/8` for the number that Kubernetes gives.

        Raises:
            UserError: Not of this form, out of range, or there is no such number.
        """
        match = re.fullmatch(r"(\d+|auto)/(\d+)", text, re.ASCII)
        if match is None:
            raise UserError(f"--shard {text!r} must be I/N with I from 0 to N - 1, such as 0/8.")
        index = match[1]
        if index == "auto":
            index = os.environ.get(INDEX_VARIABLE, "")
            if not index.isdigit():
                raise UserError(f"--shard {text} needs the variable {INDEX_VARIABLE}.")
        shard = cls(int(index), int(match[2]))
        if not shard.index < shard.count:
            raise UserError(f"--shard {text}: numbers go from 0 to {max(0, shard.count - 1)}.")
        return shard

    def take(self, items: Sequence[Item]) -> Sequence[Item]:
        """This shard's share."""
        return items[self.index :: self.count]


WHOLE: Final = Shard()
"""All of the work."""
