"""What is asked of a mix: how much of it is synthetic, and by which rule that is shared out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from porcelain.errors import UserError


class Rule(StrEnum):
    """Which kinds receive synthetic pictures.

    `rarity`: every class in inverse proportion to its real training pictures.
    `uniform`: every kind (combination of labels) that the synthetic set holds, equally.
    `proportional`: every class in proportion to its real training pictures; a control that adds
    pictures without changing the balance.
    """

    RARITY = "rarity"
    UNIFORM = "uniform"
    PROPORTIONAL = "proportional"


@dataclass(frozen=True)
class Ratio:
    """Shares of real and synthetic pictures in a training part, such as 95:5.

    Attributes:
        real: The real share, above 0.
        synthetic: The synthetic share, from 0.
    """

    real: Fraction
    synthetic: Fraction

    @classmethod
    def parse(cls, text: str) -> Ratio:
        """Read `real:synthetic`; the two need not add to 100.

        Raises:
            UserError: Not two numbers, or no real share.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*:\s*(\d+(?:\.\d+)?)\s*", text, re.ASCII)
        if match is None or Fraction(match[1]) == 0:
            raise UserError(
                f"The ratio {text!r} must be real:synthetic with a real share above 0, such as "
                "95:5 (5 % of the training pictures are synthetic)."
            )
        return cls(Fraction(match[1]), Fraction(match[2]))

    def synthetic_count(self, real_count: int) -> int:
        """Synthetic pictures to add to `real_count` real ones, to the nearest picture.

        With the result the share synthetic / (real + synthetic) is as near to the ratio as whole
        pictures allow.
        """
        return round(real_count * self.synthetic / self.real)
