"""A pipeline with random weights in the layout of Stable Diffusion, small enough for tests.

make_tiny_pipeline(folder)                                   # 1.5's layout
make_tiny_pipeline(folder, prediction_type="v_prediction")   # 2.1's layout
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from porcelain.files import atomic_folder

WIDTH = 32  # of the text encoder
SIZE = 64  # pixels


def make_tiny_pipeline(folder: Path, *, prediction_type: str = "epsilon", seed: int = 0) -> Path:
    """Write a pipeline to `folder` and return it; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]), atomic_folder(folder) as work:
        torch.manual_seed(seed)
        second = prediction_type == "v_prediction"
        tokenizer = _tokenizer(work / "tokenizer")
        pipeline = StableDiffusionPipeline(
            vae=_autoencoder(),
            text_encoder=_text_encoder(tokenizer, "gelu" if second else "quick_gelu"),
            tokenizer=tokenizer,
            unet=_unet(second),
            scheduler=_scheduler(second),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(work, safe_serialization=True)
    return folder


def make_tiny_controlnet(
    folder: Path, base: Path, *, embedding: tuple[int, ...] = (4, 8, 8, 16), seed: int = 0
) -> Path:
    """Write a ControlNet for a pipeline's UNet to `folder`; unlike a new one, it has an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=embedding)
        embedded = net.controlnet_cond_embedding
        for layer in embedded.modules():  # what the picture says, and little else
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.normal_(layer.weight, std=0.5)
                torch.nn.init.zeros_(layer.bias)
        for layer in (net.controlnet_mid_block, *net.controlnet_down_blocks):
            torch.nn.init.normal_(layer.weight, std=1)
        net.save_pretrained(folder, safe_serialization=True)
    return folder


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """Letters and a few merges, in CLIP's own files."""
    letters = sorted(ByteLevel.alphabet())
    merges = [("v", "a"), ("s", "e</w>"), ("va", "se</w>"), ("b", "o"), ("w", "l</w>")]
    merges.append(("bo", "wl</w>"))
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def _text_encoder(tokenizer: CLIPTokenizer, activation: str) -> CLIPTextModel:
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act=activation,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # CLIP's initial scale is so small that all prompts would look alike to the UNet.
    model.get_input_embeddings().weight.data.mul_(20)
    return model


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIZE,
        scaling_factor=0.18215,
    )


def _unet(second: bool) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(16, 32, 32, 32),
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 4, 4, 4) if second else 4,
        use_linear_projection=second,
        norm_num_groups=8,
    )
    for name, weight in unet.named_parameters():
        if ".attn2.to_out." in name:
            weight.data.mul_(4)  # or prompts and guidance would hardly show in a picture
    return unet


def _scheduler(second: bool) -> PNDMScheduler | DDIMScheduler:
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    if second:
        return DDIMScheduler(
            **schedule,
            prediction_type="v_prediction",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
    return PNDMScheduler(**schedule, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
