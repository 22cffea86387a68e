"""Prompts as the model is given them: embeddings kept on disk, or token ids to learn from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save
from torch import Tensor

from porcelain.files import sha256_bytes, write_bytes
from sampling.embeddings import PromptEmbeddings

_NAME = "embeddings"


def token_ids(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> Tensor:
    """Token ids of each prompt, padded or cut to the text encoder's length: int64 [P, tokens]."""
    tokenizer = pipeline.tokenizer
    ids: Tensor = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def cut_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> list[str]:
    """The prompts that are longer than the text encoder reads."""
    longest = int(pipeline.tokenizer.model_max_length)
    return [p for p in prompts if len(pipeline.tokenizer(p).input_ids) > longest]


def embed(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], base: str, folder: Path
) -> Tensor:
    """Embeddings of each prompt, computed once: float32 [P, tokens, width].

    Args:
        pipeline: Its text encoder reads each prompt by itself.
        prompts: Without repetition.
        base: Digest of the base model.
        folder: Where they are kept.
    """
    key = sha256_bytes(json.dumps([base, list(prompts)]).encode())
    file = folder / f"prompts-{key[:32]}.safetensors"
    if file.is_file():
        return load_file(file)[_NAME]
    encoder = PromptEmbeddings(pipeline)
    with torch.inference_mode():
        embeddings = torch.cat([encoder.of(prompt).float().cpu() for prompt in prompts])
    write_bytes(file, save({_NAME: embeddings.contiguous()}))
    return embeddings
