"""Sample grids with fixed prompts and seeds, so that two grids of one run can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

_COLUMNS = 4
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled: steps of the base's own scheduler, guidance, side in pixels."""

    steps: int
    guidance_scale: float
    size: int


@torch.no_grad()
def sample(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], sampling: Sampling, seed: int
) -> Floats:
    """Pictures of `prompts` by the pipeline as it is: float32 [N, size, size, 3] in [0, 1].

    Args:
        pipeline: All parts on one device.
        prompts: One picture each; each has random numbers of its own.
        sampling: Steps, guidance and size.
        seed: Of the first picture; the others follow.
    """
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
    pictures: Floats = pipeline(
        list(prompts),
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        width=sampling.size,
        height=sampling.size,
        generator=generators,
        output_type="np",
    ).images
    return np.asarray(pictures, dtype=np.float32)


@contextmanager
def ready_to_sample(
    pipeline: StableDiffusionPipeline, device: torch.device
) -> Iterator[StableDiffusionPipeline]:
    """The pipeline in evaluation mode, all on `device`; afterwards everything is as before."""
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    before = [(part.training, part.device) for part in parts]
    for part in parts:
        part.to(device).eval()
    try:
        yield pipeline
    finally:
        for part, (training, place) in zip(parts, before, strict=True):
            part.to(place).train(training)


def grid(pictures: Floats) -> Image.Image:
    """One picture of many, row by row; what is not a number is black."""
    cells = (np.nan_to_num(pictures).clip(0, 1) * 255).round().astype(np.uint8)
    count, height, width, _ = cells.shape
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(cell), (column * width, row * height))
    return sheet
