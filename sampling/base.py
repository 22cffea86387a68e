"""The Stable Diffusion model under a LoRA: loading it for inference."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logs
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logs

from porcelain.errors import UserError
from sampling.finding import resolve_base
from sampling.hub import revision_of
from sampling.layout import digest_of, pipeline_files, variant_of

__all__ = [
    "choose_device",
    "default_dtype",
    "digest_of",
    "load_pipeline",
    "resolve_base",
    "revision_of",
]


@contextmanager
def quietly() -> Iterator[None]:
    """Without progress bars and warnings, which both libraries switch for the whole process."""
    libraries = (diffusers_logs, transformers_logs)
    bars = [logs for logs in libraries if logs.is_progress_bar_enabled()]
    levels = [logs.get_verbosity() for logs in libraries]
    for logs in bars:
        logs.disable_progress_bar()
    for logs in libraries:
        logs.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        for logs in bars:
            logs.enable_progress_bar()
        for logs, level in zip(libraries, levels, strict=True):
            logs.set_verbosity(level)


def load_pipeline(
    folder: Path, *, device: str = "auto", dtype: torch.dtype | None = None
) -> StableDiffusionPipeline:
    """Load a pipeline for inference: no safety checker, no progress bar, safetensors only.

    Args:
        folder: From `resolve_base`.
        device: `cpu`, `cuda`, ..., or `auto`: CUDA where there is one.
        dtype: Number format of all weights; None means the device's `default_dtype`.

    Raises:
        UserError: The folder is not a Stable Diffusion 1.x or 2.x text-to-image model.
    """
    place = choose_device(device)
    pipeline_files(folder)  # a clear word on what is missing
    try:
        with quietly():
            pipeline = StableDiffusionPipeline.from_pretrained(
                folder,
                dtype=dtype or default_dtype(place),
                variant=variant_of(folder),
                use_safetensors=True,
                local_files_only=True,
                safety_checker=None,
                feature_extractor=None,
                image_encoder=None,
                requires_safety_checker=False,
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder} cannot be loaded as Stable Diffusion: {reason}") from error
    _check_kind(pipeline, folder)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    return pipeline.to(place)


def choose_device(device: str = "auto") -> torch.device:
    """The device that a name stands for.

    Raises:
        UserError: No such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"There is no device {device!r}; use auto, cpu or cuda.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"Device {device} was asked for, but torch sees no CUDA GPU; use cpu.")
    return place


def default_dtype(device: torch.device) -> torch.dtype:
    """float32 on a CPU, float16 on a GPU.

    bfloat16 would be as fast there, but with its eight bits of precision what else is in a batch
    shows in a picture.
    """
    return torch.float16 if device.type == "cuda" else torch.float32


def _check_kind(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Refuse relatives of Stable Diffusion that take other inputs than a prompt and noise."""
    unet, vae = pipeline.unet, pipeline.vae
    if not isinstance(unet, UNet2DConditionModel) or not isinstance(vae, AutoencoderKL):
        raise UserError(f"{folder} is not Stable Diffusion 1.x or 2.x; give such a model.")
    config = unet.config
    if (
        config.in_channels != vae.config.latent_channels
        or config.addition_embed_type is not None
        or config.time_cond_proj_dim is not None
    ):
        raise UserError(
            f"{folder} takes more than a prompt (inpainting, depth, XL or distilled); give a "
            "Stable Diffusion 1.x or 2.x text-to-image model."
        )
