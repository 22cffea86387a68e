"""Finding a base model by its reference; without torch, so that a command can do it first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from porcelain.bundle import BaseModelReference
from porcelain.errors import BundleError, UserError
from sampling.layout import INDEX_FILE, digest_of

MODELS_VARIABLE: Final = "PORCELAIN_MODELS"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve_base(reference: str, revision: str | None = None) -> Path:
    """Find a base model: a folder, a base that ships with the project, or one on the hub.

    Args:
        reference: A folder with a `model_index.json`; the name of a base in `models/` (or in the
            folder that `PORCELAIN_MODELS` names); or a hub id such as
            `stable-diffusion-v1-5/stable-diffusion-v1-5`.
        revision: The hub's commit, tag or branch; the default branch if None.

    Returns:
        The pipeline's folder.

    Raises:
        UserError: There is no such model, or the hub cannot be reached.
    """
    folder = Path(reference).expanduser()
    if (folder / INDEX_FILE).is_file():
        return folder
    if _NAME.fullmatch(reference):
        for models in _model_folders():
            if (models / reference / INDEX_FILE).is_file():
                return models / reference
    if folder.exists():
        raise UserError(
            f"{folder} is not a Stable Diffusion model: it has no {INDEX_FILE}. Give a folder "
            "that diffusers' save_pretrained wrote."
        )
    if _HUB_ID.fullmatch(reference):
        from sampling.hub import download  # a slow import, seldom needed

        return download(reference, revision)
    shipped = sorted({p.parent.name for m in _model_folders() for p in m.glob(f"*/{INDEX_FILE}")})
    raise UserError(
        f"There is no base model {reference!r}; give a folder with a {INDEX_FILE}, a hub id such "
        "as stable-diffusion-v1-5/stable-diffusion-v1-5"
        + (f", or one that ships: {', '.join(shipped)}." if shipped else ".")
    )


def find_controlnet(reference: str) -> Path:
    """Find a ControlNet: a folder that diffusers' `save_pretrained` wrote, or one on the hub.

    Raises:
        UserError: There is no such folder, or the hub cannot be reached.
    """
    folder = Path(reference).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if folder.exists() or not _HUB_ID.fullmatch(reference):
        raise UserError(
            f"There is no ControlNet {reference!r}; give a folder with a config.json and "
            "safetensors, or a hub id such as lllyasviel/sd-controlnet-canny."
        )
    from sampling.hub import download_controlnet  # a slow import, seldom needed

    return download_controlnet(reference)


def find_base(reference: BaseModelReference, base: str | None = None) -> Path:
    """The folder of the base model that a LoRA was trained on, checked by its digest.

    Args:
        reference: From the bundle.
        base: Where it is, if not where the bundle says.

    Raises:
        UserError: There is no such model, or the hub cannot be reached.
        BundleError: It is another model than the LoRA's.
    """
    folder = resolve_base(base or reference.reference, None if base else reference.revision)
    if digest_of(folder) != reference.digest:
        raise BundleError(
            f"{folder} is not the base model that the LoRA was trained on "
            f"({reference.reference}, digest {reference.digest[:12]}); give that one, or train "
            "anew on this one."
        )
    return folder


def _model_folders() -> Iterator[Path]:
    if given := os.environ.get(MODELS_VARIABLE):
        yield Path(given)
    yield Path(__file__).parents[1] / "models"
