"""Processes, devices and number formats of a training run."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator


def open_accelerator() -> Accelerator:
    """This process's accelerator: bfloat16 on a GPU, float32 on a CPU.

    accelerate keeps one precision for the whole process and refuses a second one. So every run asks
    for the same; one that wants another opens an autocast of its own inside its model.
    """
    return Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, and so at least twice as fast."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Earlier versions of torch do not tell.
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `dtype`, whatever surrounds this; the rest in float32 where it matters."""
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype)


def fast_layout(device: torch.device) -> torch.memory_format:
    """The memory format in which convolutions and group norms together are fastest.

    Tensor cores want channels last; on a CPU group norm's backward pass in that layout is many
    times slower than what convolutions gain from it.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format
