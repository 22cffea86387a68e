"""Where a run is computed, and in which number format."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from training.generator.pretraining.settings import Precision


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, and so at least twice as fast."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Matrix products and convolutions in bfloat16, sums and norms in float32, or all in float32.

    Args:
        device: Where the run is computed.
        precision: `auto` takes bfloat16 where it is fast.
    """
    enabled = precision == "bf16" or (precision == "auto" and computes_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def fast_layout(device: torch.device) -> torch.memory_format:
    """The memory format in which convolutions and group norms together are fastest.

    Tensor cores want channels last; on a CPU group norm's backward pass in that layout is many
    times slower than what convolutions gain from it.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format
