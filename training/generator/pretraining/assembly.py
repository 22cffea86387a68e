"""The parts put together as one Stable Diffusion pipeline, saved and proven."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from porcelain.files import write_json
from sampling.quiet import quietly
from training.generator.pretraining.architecture import build_scheduler
from training.generator.pretraining.tokenizer import save_tokenizer

WEIGHTS = ("vae", "text_encoder", "unet")
PLACES = ("_name_or_path", "is_local", "local_files_only")


def assemble(
    autoencoder: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    """A pipeline of these parts, without a safety checker."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_half(pipeline: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
    """Save in float16, load the files again as anyone would, and sample once.

    Args:
        pipeline: Its modules are left as they are.
        folder: Where the files go.

    Returns:
        The pipeline that the files hold, in float32 on the CPU.
    """
    half = assemble(
        _half_copy(pipeline.vae),
        _half_copy(pipeline.text_encoder),
        pipeline.tokenizer,
        _half_copy(pipeline.unet),
    )
    with quietly():
        half.save_pretrained(folder, safe_serialization=True)
        save_tokenizer(pipeline.tokenizer, folder / "tokenizer")
        for weights in folder.rglob("*.safetensors"):
            weights.chmod(0o644)  # the libraries leave them to their owner alone
        _load_text_in_single(folder / "text_encoder" / "config.json")
        for config in folder.rglob("*config.json"):
            _forget_where_from(config)
        loaded = StableDiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    proof = loaded("", num_inference_steps=2, output_type="np", generator=torch.Generator())
    if not bool(torch.isfinite(torch.from_numpy(proof.images)).all()):
        raise RuntimeError("The saved pipeline samples numbers that are not finite.")
    return loaded


def _load_text_in_single(config: Path) -> None:
    """Have the text encoder loaded in float32 where no one says otherwise, as the UNet is.

    transformers loads in the noted type, diffusers in float32; a half-precision prompt then meets
    a single-precision UNet, and sampling fails.
    """
    write_json(config, json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"})


def _forget_where_from(config: Path) -> None:
    """Take out what the libraries note of the place on this machine that a part was loaded from."""
    content = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {name: value for name, value in content.items() if name not in PLACES})


def count_parameters(pipeline: StableDiffusionPipeline) -> dict[str, int]:
    """Parameters of each part, and in all."""
    parts = {name: getattr(pipeline, name) for name in WEIGHTS}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return counts | {"total": sum(counts.values())}


def folder_bytes(folder: Path) -> int:
    """Size of every file in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _half_copy(module: nn.Module) -> nn.Module:
    """A float16 copy on the CPU, with the default attention; the original stays as it is."""
    if isinstance(module, ConfigMixin):
        copy = type(module).from_config(module.config)
    else:
        copy = type(module)(module.config)
    copy.load_state_dict(module.state_dict())
    return nn.Module.to(copy, "cpu", torch.float16).eval()
