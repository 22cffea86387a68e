"""Stable Diffusion 1.5 with every part in proportion, scaled down, with random weights.

All widths, and the number of attention heads, are divided by 4, and pictures have half the side.
Convolutions and linear layers then cost 1/64 per picture (1/16 from the widths, 1/4 from the
pixels), and so does self-attention (1/4 from the width, 1/16 from the positions, squared). A text
has as many tokens as ever: the text encoder keeps 3 of its 12 layers. One picture costs

|                                | 1.5 at 512 pixels | this at 256 pixels |
| autoencoder, encoding          | 1117 GFLOP        | 17.6 GFLOP         |
| UNet, forward and backward     | 1714 GFLOP        | 27.6 GFLOP         |
| text encoder                   | 13.3 GFLOP        | 0.2 GFLOP          |

(torch.utils.flop_counter; LoRA of rank 4 on attention).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE = 256
_DIVISOR = 4


def write_scaled_diffusion(folder: Path) -> Path:
    """Write the pipeline to `folder`, as diffusers saves it; the same weights each time."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(folder / "tokenizer")
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=[width // _DIVISOR for width in (128, 256, 512, 512)],
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=8,
            sample_size=SIZE,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=768 // _DIVISOR,
                intermediate_size=3072 // _DIVISOR,
                num_hidden_layers=12 // _DIVISOR,
                num_attention_heads=12 // _DIVISOR,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=SIZE // 8,
            block_out_channels=[width // _DIVISOR for width in (320, 640, 1280, 1280)],
            down_block_types=[*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
            up_block_types=["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
            layers_per_block=2,
            cross_attention_dim=768 // _DIVISOR,
            attention_head_dim=8 // _DIVISOR,
            norm_num_groups=16,
        ),
        scheduler=PNDMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            skip_prk_steps=True,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """Letters without merges: a prompt is padded to 77 tokens, or cut, whatever it says."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)
