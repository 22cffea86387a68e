"""How alike two pictures are, and the picture that a plain pipeline makes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionPipeline

from sampling.request import SampleRequest

Pixels = npt.NDArray[np.uint8]
ALIKE = 40.0  # dB: "within rounding" in the project's contracts


def psnr(ours: Pixels, theirs: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    error = float(np.mean((ours.astype(np.float64) - theirs) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def plain_picture(
    pipeline: StableDiffusionPipeline, request: SampleRequest, steps: int, size: int
) -> Pixels:
    """What diffusers' own pipeline makes of a request."""
    image = pipeline(
        request.prompt,
        num_inference_steps=steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        width=size,
        height=size,
        output_type="np",
    ).images[0]
    return (image * 255).round().astype(np.uint8)
