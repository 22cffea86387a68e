"""What is trained, as one module: the UNet, and the text encoder where it learns too."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from training.generator.lora.precision import computing_in


class Denoiser(nn.Module):
    """Answers noisy latents and a text, as the objective asks."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, dtype: torch.dtype, *, text_encoder: bool
    ) -> None:
        """Share the modules of `pipeline`, and bring what does not learn to `dtype`.

        Args:
            pipeline: With its adapters.
            dtype: In which matrices are multiplied.
            text_encoder: Whether texts come as token ids, for the text encoder to read.
        """
        super().__init__()
        self.unet = pipeline.unet
        self.text_encoder = pipeline.text_encoder if text_encoder else None
        self.dtype = dtype
        self._freeze()

    def forward(self, noisy: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        """Answer [B, C, h, w].

        Args:
            noisy: Latents [B, C, h, w].
            timesteps: Noise levels [B].
            texts: Prompt embeddings [B, tokens, width], or token ids [B, tokens].
        """
        with computing_in(self.dtype, noisy.device):
            if self.text_encoder is not None:
                texts = self.text_encoder(texts)[0]
            answer: Tensor = self.unet(noisy, timesteps, texts, return_dict=False)[0]
        return answer

    def save_memory(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        self.unet.enable_gradient_checkpointing()
        if self.text_encoder is not None:
            model = self.text_encoder
            # transformers 5 has renamed it.
            renamed = getattr(model, "activation_checkpointing_enable", None)
            # The reentrant kind needs inputs that have gradients; token ids have none.
            (renamed or model.gradient_checkpointing_enable)({"use_reentrant": False})

    def _freeze(self) -> None:
        for parameter in self.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(self.dtype)
        for buffer in self.buffers():
            if buffer.is_floating_point():
                buffer.data = buffer.data.to(self.dtype)
        for layer in self.modules():
            if isinstance(layer, LoraLayer):
                # peft would bring activations to the adapters' float32, and autocast back again.
                layer.cast_input_dtype_enabled = False
