"""In which number format the frozen weights lie and matrices are multiplied."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from porcelain.errors import UserError
from training.generator.lora.settings import Precision
from training.generator.pretraining.precision import computes_bfloat16

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(asked: Precision, device: torch.device) -> Precision:
    """What `mixed_precision` means on a device.

    `auto` is bf16 where the device multiplies it natively, a processor too; fp16 on other GPUs; and
    none on other processors.

    Raises:
        UserError: The device cannot do what is asked.
    """
    cuda = device.type == "cuda"
    if asked == "auto":
        if computes_bfloat16(device):
            return "bf16"
        return "fp16" if cuda else "no"
    if asked == "fp16" and not cuda:
        raise UserError("--mixed-precision fp16 needs a CUDA GPU; choose bf16 or no.")
    return asked


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `dtype`, whatever surrounds this; the rest in float32 where it matters."""
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype)
