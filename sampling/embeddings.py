"""Prompt embeddings, computed once per prompt and kept."""

from __future__ import annotations

from collections import OrderedDict

from diffusers import StableDiffusionPipeline
from torch import Tensor


class PromptEmbeddings:
    """A cache of the text encoder's answers; the least recently used prompt leaves first.

    Each prompt is encoded by itself, so that its embedding does not depend on what was asked
    together with it.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, capacity: int = 256) -> None:
        """Keep the embeddings of `capacity` prompts (230 KB each with Stable Diffusion 1.5)."""
        self._pipeline = pipeline
        self._capacity = capacity
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, prompt: str) -> bool:
        return prompt in self._kept

    def of(self, prompt: str) -> Tensor:
        """The embedding of `prompt`: [1, tokens, width]; too long a prompt is cut by CLIP."""
        embedding = self._kept.get(prompt)
        if embedding is None:
            embedding = self._pipeline.encode_prompt(prompt, self._pipeline.device, 1, False)[0]
            self._kept[prompt] = embedding
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(prompt)
        return embedding
