"""BentoML's model store: where a bento has its bundle, and where a build puts it.

A model in the store is a folder with a file of BentoML's own in it, which no bundle may hold: so
the bundle is a folder inside. A bento names its models by alias; BentoML resolves an alias to the
very version that the bento was built with.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import NotFound
from bentoml.models import create

BUNDLE: Final = "served_bundle"
BASE: Final = "served_base"


def stored(alias: str, setting: str) -> Path | None:
    """The folder that the bento being served has under `alias`.

    Args:
        alias: As in the bentofile.
        setting: The environment variable that names another folder, and comes first.

    Returns:
        None where the variable is set, or where no bento is served.
    """
    if os.environ.get(setting):
        return None
    try:
        return Path(bentoml.models.get(alias).path) / alias
    except NotFound:
        return None


def put(folder: Path, tag: str, alias: str, labels: dict[str, str]) -> str:
    """Copy a folder into the store, in place of one of the same tag.

    Args:
        folder: A bundle, or a base model.
        tag: Name and version.
        alias: Under which a bento will find it.
        labels: Shown by `bentoml models get`.

    Returns:
        The tag.
    """
    with suppress(NotFound):
        bentoml.models.delete(tag)
    with create(tag, labels=labels) as model:
        shutil.copytree(folder, Path(model.path) / alias)
    return tag
