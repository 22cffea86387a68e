"""A ControlNet beside the UNet: sampled pictures follow the edges or depths of control pictures.

Zhang et al., arXiv 2302.05543. Any of diffusers' ControlNets for the base at hand will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from safetensors import SafetensorError
from torch import Tensor

from porcelain.errors import UserError
from sampling.base import quietly


def load_controlnet(folder: Path, pipeline: StableDiffusionPipeline) -> ControlNetModel:
    """Load a ControlNet for a pipeline's UNet, on its device and in its number format.

    Args:
        folder: From `sampling.finding.find_controlnet`.
        pipeline: What it is to steer.

    Raises:
        UserError: It is no ControlNet, or one of another kind of base.
    """
    try:
        with quietly():
            net = ControlNetModel.from_pretrained(
                folder, use_safetensors=True, local_files_only=True
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder} cannot be loaded as a ControlNet: {reason}") from error
    unet = pipeline.unet
    factor = 2 ** (len(net.config.conditioning_embedding_out_channels) - 1)
    if factor != pipeline.vae_scale_factor or any(
        getattr(net.config, name) != getattr(unet.config, name)
        for name in ("in_channels", "block_out_channels", "cross_attention_dim", "layers_per_block")
    ):
        raise UserError(
            f"{folder} is a ControlNet of another kind of base model; give one that was made for "
            "the base of this generator (for Stable Diffusion 1.5: lllyasviel/sd-controlnet-canny)."
        )
    net.eval().requires_grad_(False)
    # Not diffusers' own `to`, which warns of parts to keep in float32 where there are none.
    torch.nn.Module.to(net, unet.device, unet.dtype)
    steering: ControlNetModel = net
    return steering


@dataclass(frozen=True)
class Control:
    """What steers a batch.

    Attributes:
        net: Fits the pipeline.
        pictures: One control picture per request, 0 to 1, [N, 3, H, W].
    """

    net: ControlNetModel
    pictures: Tensor

    @classmethod
    def of(cls, net: ControlNetModel, pictures: Sequence[npt.NDArray[np.uint8]]) -> Control:
        """Control by RGB pictures [H, W, 3], all of one size."""
        unit = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        return cls(net, unit.to(net.device, net.dtype))

    def residuals(
        self, inputs: Tensor, timestep: Tensor, conditions: Tensor, pictures: Tensor
    ) -> dict[str, Any]:
        """What the UNet is to add to its own activations.

        Args:
            inputs: The UNet's batch.
            timestep: Of the step.
            conditions: Prompt embeddings of that batch.
            pictures: Control pictures of that batch.
        """
        down, middle = self.net(
            inputs,
            timestep,
            encoder_hidden_states=conditions,
            controlnet_cond=pictures,
            return_dict=False,
        )
        return {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": middle,
        }
