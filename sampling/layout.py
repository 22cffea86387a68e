"""Which files a Stable Diffusion pipeline's folder is loaded from, and one digest over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from porcelain.errors import UserError
from porcelain.files import sha256_bytes, sha256_file

INDEX_FILE: Final = "model_index.json"

WEIGHTS: Final = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
"""The parts that have weights, and how their files are called."""

PLAIN: Final = ("scheduler", "tokenizer")
"""The parts that are configuration and vocabulary alone."""


def digest_of(folder: Path) -> str:
    """SHA-256 over the name and SHA-256 of every file that the pipeline is loaded from.

    What else lies in the folder (pictures, a safety checker, the same weights in another format)
    does not matter, so that a download and a full copy of a model have one digest.

    Raises:
        UserError: A part of the pipeline is missing.
    """
    lines = [
        f"{path.relative_to(folder).as_posix()} {sha256_file(path)}"
        for path in pipeline_files(folder)
    ]
    return sha256_bytes("\n".join(lines).encode())


def pipeline_files(folder: Path) -> list[Path]:
    """The files a pipeline is loaded from, sorted: configurations, tokenizer, weights.

    Raises:
        UserError: A part of the pipeline is missing.
    """
    files = [folder / INDEX_FILE, *(folder / part / "config.json" for part in WEIGHTS)]
    for part in PLAIN:
        if not (folder / part).is_dir():
            raise UserError(f"{folder} is not a whole Stable Diffusion model: it has no {part}/.")
        files += (p for p in (folder / part).iterdir() if p.suffix in (".json", ".txt"))
    variant = variant_of(folder)
    for part in WEIGHTS:
        files += _weights(folder, part, variant)
    for path in files:
        if not path.is_file():
            raise UserError(
                f"{folder} is not a whole Stable Diffusion model: it lacks "
                f"{path.relative_to(folder)} (pickled weights are not read)."
            )
    return sorted(files)


def variant_of(folder: Path) -> str | None:
    """`fp16` where the folder holds some weights in that variant alone."""
    for part in WEIGHTS:
        plain, half = (_weights(folder, part, variant) for variant in (None, "fp16"))
        if not plain[0].is_file() and half[0].is_file():
            return "fp16"
    return None


def _weights(folder: Path, part: str, variant: str | None) -> list[Path]:
    """A part's weights: an index and the shards that it names, or one file."""
    name, suffix = WEIGHTS[part], f".{variant}" if variant else ""
    index = folder / part / f"{name}.safetensors.index{suffix}.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [index, *(index.parent / shard for shard in shards)]
    return [folder / part / f"{name}{suffix}.safetensors"]
