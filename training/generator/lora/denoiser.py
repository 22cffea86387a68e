"""What is trained, as one module: the UNet, and the text encoder where it learns too."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn


class Denoiser(nn.Module):
    """Answers noisy latents and a text, as the objective asks."""

    def __init__(self, pipeline: StableDiffusionPipeline, *, text_encoder: bool) -> None:
        """Share the modules of `pipeline`.

        Args:
            pipeline: With its adapters.
            text_encoder: Whether texts come as token ids, for the text encoder to read.
        """
        super().__init__()
        self.unet = pipeline.unet
        self.text_encoder = pipeline.text_encoder if text_encoder else None

    def forward(self, noisy: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        """Answer [B, C, h, w].

        Args:
            noisy: Latents [B, C, h, w].
            timesteps: Noise levels [B].
            texts: Prompt embeddings [B, tokens, width], or token ids [B, tokens].
        """
        if self.text_encoder is not None:
            texts = self.text_encoder(texts)[0]
        answer: Tensor = self.unet(noisy, timesteps, texts, return_dict=False)[0]
        return answer

    def save_memory(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        self.unet.enable_gradient_checkpointing()
        if self.text_encoder is not None:
            # The other implementation needs inputs that have gradients; token ids have none.
            self.text_encoder.gradient_checkpointing_enable({"use_reentrant": False})

    def freeze_into(self, dtype: torch.dtype) -> None:
        """Bring everything that does not learn to `dtype`."""
        for parameter in self.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
        for buffer in self.buffers():
            if buffer.is_floating_point():
                buffer.data = buffer.data.to(dtype)
