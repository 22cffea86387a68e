"""A LoRA on a pipeline: loaded from diffusers' own layout, and fused into the weights."""

from __future__ import annotations

from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError, safe_open

from porcelain.errors import BundleError
from sampling.quiet import quietly

_FIRST_MATRIX = (".lora_A.weight", ".down.weight", ".lora_down.weight")


def load_lora(pipeline: StableDiffusionPipeline, file: Path) -> list[str]:
    """Load adapters beside the weights, as any diffusers user would.

    Args:
        pipeline: The base that the LoRA was trained on.
        file: `pytorch_lora_weights.safetensors`.

    Returns:
        The parts of the pipeline that have an adapter now.

    Raises:
        BundleError: The file is not a LoRA, or does not fit the pipeline.
    """
    try:
        with quietly():
            pipeline.load_lora_weights(file.parent, weight_name=file.name)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BundleError(f"{file} does not fit this base model: {reason}") from error
    with safe_open(file, "pt") as content:
        wanted = sum(name.endswith(_FIRST_MATRIX) for name in content.keys())  # noqa: SIM118
    parts = sorted(pipeline.get_list_adapters())
    loaded = sum(
        ".lora_A." in name
        for part in parts
        for name, _ in getattr(pipeline, part).named_parameters()
    )
    if not parts or loaded != wanted:
        raise BundleError(
            f"{file} adapts {wanted} layers, of which this base model has {loaded}; it was "
            "trained on another base."
        )
    return parts


def fuse_lora(pipeline: StableDiffusionPipeline, file: Path) -> None:
    """Add a LoRA's product to the weights that it adapts, so that sampling does no extra work.

    Fuse before going to half precision, where small updates would be rounded away.

    Raises:
        BundleError: The file is not a LoRA, does not fit, or has values that are not numbers.
    """
    parts = load_lora(pipeline, file)
    try:
        pipeline.fuse_lora(components=parts, safe_fusing=True)
    except ValueError as error:
        raise BundleError(f"{file} cannot be fused: {error}") from error
    pipeline.unload_lora_weights()
