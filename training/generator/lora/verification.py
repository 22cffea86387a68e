"""Proof that a saved LoRA is what was trained: a fresh process loads and samples it.

The other process does what any user of diffusers would: it loads the base into a plain
`StableDiffusionPipeline`, the LoRA with `load_lora_weights`, and samples.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from porcelain.bundle import LORA_FILE
from porcelain.errors import PorcelainError
from sampling.layout import variant_of
from training.generator.lora.model import (
    Floats,
    Sampling,
    adapted_parts,
    ready_to_sample,
    sample,
    set_adapters,
)

TOLERANCE = 0.02
"""Largest mean difference between both processes, as a share of what the LoRA changes."""

ROUNDING = 1e-5
"""Mean difference of pixels in [0, 1] that float32 explains."""

LEAST_CONTRAST = 2 / 255
"""Between the lightest and the darkest value of a picture that is not blank."""

_STEPS = 4


@dataclass(frozen=True)
class Verification:
    """What the fresh process showed.

    Attributes:
        change: Mean absolute difference between LoRA and base, in [0, 1].
        difference: Mean absolute difference between the fresh process and the trained model.
    """

    change: float
    difference: float


def verify(
    folder: Path,
    base: Path,
    pipeline: StableDiffusionPipeline,
    prompt: str,
    sampling: Sampling,
    device: torch.device,
    frozen: torch.dtype,
) -> Verification:
    """Sample one picture with the saved LoRA in a fresh process, and compare.

    Args:
        folder: The bundle's folder with its LoRA.
        base: Folder of the base model.
        pipeline: The trained pipeline, in float32.
        prompt: What to sample.
        sampling: At most four of its steps are done.
        device: Where both processes work, one after the other.
        frozen: The precision that the trained parts' frozen weights were rounded to.

    Raises:
        PorcelainError: The process failed, or its picture is blank, not finite, the base's own,
            or not the trained model's.
    """
    brief = Sampling(min(_STEPS, sampling.steps), sampling.guidance_scale, sampling.size)
    with ready_to_sample(pipeline, device), true_float32():
        trained = sample(pipeline, [prompt], brief, seed=0)[0]
        set_adapters(pipeline, enabled=False)
        untrained = sample(pipeline, [prompt], brief, seed=0)[0]
        set_adapters(pipeline, enabled=True)
    if device.type == "cuda":  # room for the other process
        torch.cuda.empty_cache()
    request = {
        "base": str(base),
        "lora": str(folder / LORA_FILE),
        "prompt": prompt,
        "sampling": vars(brief),
        "device": str(device),
        "adapted": list(adapted_parts(pipeline)),
        "frozen": str(frozen).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
    return compare(_in_fresh_process(request, folder), trained, untrained)


def compare(loaded: Floats, trained: Floats, untrained: Floats) -> Verification:
    """Hold the fresh process's picture [H, W, 3] against the trained model's and the base's.

    Raises:
        PorcelainError: As `verify`.
    """
    if not np.isfinite(loaded).all():
        raise PorcelainError(
            "The trained model makes pictures that are not finite; train again with a lower "
            "--learning-rate."
        )
    if np.ptp(loaded) < LEAST_CONTRAST:
        raise PorcelainError(
            "The trained model makes blank pictures; train again with a lower --learning-rate."
        )
    change = float(np.abs(trained - untrained).mean())
    difference = float(np.abs(loaded - trained).mean())
    if change == 0.0 or np.array_equal(loaded, untrained):
        raise PorcelainError(
            "The trained model makes the base's own picture: nothing was learned; train longer or "
            "with a higher --learning-rate."
        )
    if difference > TOLERANCE * change + ROUNDING:
        raise PorcelainError(
            f"The saved LoRA does not make the trained model's picture: they differ by "
            f"{difference:.1e}, where the LoRA changes {change:.1e}; it was not put into a bundle."
        )
    return Verification(change, difference)


def _in_fresh_process(request: dict[str, Any], folder: Path) -> Floats:
    given, answered = folder / ".verify-request.json", folder / ".verify-picture.npy"
    root = Path(__file__).parents[3]
    environment = dict(os.environ)
    # From a checkout that is not installed, too.
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    try:
        given.write_text(json.dumps(request))
        result = subprocess.run(
            [sys.executable, "-m", __name__, str(given), str(answered)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if result.returncode != 0:
            raise PorcelainError(
                f"The saved LoRA does not work in a fresh process: {result.stderr[-500:]}"
            )
        picture: Floats = np.load(answered)
        return picture
    finally:
        given.unlink(missing_ok=True)
        answered.unlink(missing_ok=True)


def answer(request: dict[str, Any]) -> Floats:
    """The fresh process's part: load, sample, return the picture [H, W, 3]."""
    torch.set_num_threads(request["threads"])
    base, lora = Path(request["base"]), Path(request["lora"])
    pipeline = StableDiffusionPipeline.from_pretrained(
        base,
        variant=variant_of(base),
        use_safetensors=True,
        safety_checker=None,
        dtype=torch.float32,
    )
    # As the trained model's frozen weights were rounded before the adapters learned on them.
    for name in request["adapted"]:
        getattr(pipeline, name).to(getattr(torch, request["frozen"])).to(torch.float32)
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    pipeline.to(request["device"])
    with true_float32():
        pictures = sample(pipeline, [request["prompt"]], Sampling(**request["sampling"]), seed=0)
    picture: Floats = pictures[0]
    return picture


def true_float32() -> AbstractContextManager[None]:
    """Convolutions in true float32, which a GPU otherwise rounds to ten bits."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


if __name__ == "__main__":
    np.save(sys.argv[2], answer(json.loads(Path(sys.argv[1]).read_text())))
