"""Processes and devices of a training run, as `accelerate launch` or its absence gives them."""

from __future__ import annotations

import torch
from accelerate import Accelerator


def open_accelerator() -> Accelerator:
    """This process's accelerator: bfloat16 on a GPU, float32 on a CPU.

    accelerate keeps one precision for the whole process and refuses a second one. So every run asks
    for the same; one that wants another opens an autocast of its own inside its model.
    """
    return Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
