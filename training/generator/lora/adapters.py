"""LoRA adapters (Hu et al., arXiv 2106.09685) on a pipeline: added, measured, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict

UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_ENCODER_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
ADAPTER = "default"

# A UNet2DConditionModel or a CLIPTextModel: what they share is mixed in, and has no type.
AdaptedModel = Any


def add_adapters(
    pipeline: StableDiffusionPipeline, rank: int, alpha: float, *, text_encoder: bool
) -> None:
    """Freeze a pipeline and put trainable float32 adapters on its attention.

    The second matrix of each is zero, so that the pipeline answers as before until it learns. The
    first is drawn from torch's global generator.

    Args:
        pipeline: Changed in place.
        rank: Of the matrices.
        alpha: The product is scaled by alpha / rank.
        text_encoder: Whether the text encoder gets adapters too.
    """
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.requires_grad_(False)
    _add(pipeline.unet, UNET_TARGETS, rank, alpha)
    if text_encoder:
        _add(pipeline.text_encoder, TEXT_ENCODER_TARGETS, rank, alpha)


def _add(model: AdaptedModel, targets: tuple[str, ...], rank: int, alpha: float) -> None:
    # peft multiplies by lora_alpha / r; it calls it an integer, but takes any number.
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        init_lora_weights="gaussian",
        target_modules=list(targets),
    )
    model.add_adapter(config, ADAPTER)
    for parameter in model.parameters():
        if parameter.requires_grad:
            # In half precision the small steps of training would be rounded away.
            parameter.data = parameter.data.float()


def adapted_parts(pipeline: StableDiffusionPipeline) -> dict[str, AdaptedModel]:
    """The parts that carry adapters, by name."""
    parts = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {name: part for name, part in parts.items() if getattr(part, "peft_config", None)}


@torch.no_grad()
def update_sizes(pipeline: StableDiffusionPipeline) -> dict[str, float]:
    """Mean |scale * up @ down| per adapted layer: how far each has moved from the base.

    All zeros after some steps mean that nothing is learned.
    """
    sizes = {}
    for part, model in adapted_parts(pipeline).items():
        for name, layer in model.named_modules():
            if isinstance(layer, LoraLayer) and ADAPTER in layer.lora_A:
                up: Any = layer.lora_B[ADAPTER]
                down: Any = layer.lora_A[ADAPTER]
                mean = (up.weight @ down.weight).abs().mean()
                sizes[f"{part}.{name}"] = float(mean) * layer.scaling[ADAPTER]
    return sizes


def save_adapters(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write `pytorch_lora_weights.safetensors` in diffusers' own layout, with its metadata."""
    arguments = {}
    for name, part in adapted_parts(pipeline).items():
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        arguments[f"{name}_lora_layers"] = {
            key: value.detach().cpu().contiguous() for key, value in state.items()
        }
        metadata = part.peft_config[ADAPTER].to_dict()
        # transformers notes the folder, which is nobody else's concern.
        metadata["base_model_name_or_path"] = None
        arguments[f"{name}_lora_adapter_metadata"] = metadata
    StableDiffusionPipeline.save_lora_weights(folder, **arguments)


def set_adapters(pipeline: StableDiffusionPipeline, *, enabled: bool) -> None:
    """Let the adapters take part, or let the pipeline answer as its base would."""
    for part in adapted_parts(pipeline).values():
        for layer in part.modules():
            if isinstance(layer, LoraLayer):
                layer.enable_adapters(enabled)
