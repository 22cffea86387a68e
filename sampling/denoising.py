"""The denoising loop over requests that differ in prompt, seed and guidance.

Follows `StableDiffusionPipeline.__call__` step by step; what that takes once per call (guidance,
generator, prompt) is a row of the batch here.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from sampling.control import Control
from sampling.request import OnStep, SampleRequest, SamplingCancelledError


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


@dataclass(frozen=True)
class Start:
    """Pictures to begin at, in place of pure noise (SDEdit: Meng et al., arXiv 2108.01073).

    Attributes:
        latents: One per request, scaled as the UNet takes them, [N, channels, h, w].
        strength: Share of the steps that are taken, above 0 to 1: how much may change.
    """

    latents: Tensor
    strength: float


@torch.inference_mode()
def denoise(
    pipeline: StableDiffusionPipeline,
    embeddings: PromptEmbeddings,
    requests: Sequence[SampleRequest],
    *,
    steps: int,
    shape: tuple[int, int, int],
    start: Start | None = None,
    control: Control | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latents [N, channels, h, w] of `requests`, in order.

    Args:
        pipeline: The pipeline whose UNet, text encoder and scheduler configuration are used.
        embeddings: Prompt embeddings made by `pipeline`.
        requests: At least one.
        steps: Denoising steps of the scheduler.
        shape: Channels, height and width of one picture's latents.
        start: Where to begin, as `StableDiffusionImg2ImgPipeline` does; None is pure noise.
        control: What steers, as in `StableDiffusionControlNetPipeline`; None leaves them free.
        on_step: Called after every step; see `OnStep`.

    Raises:
        SamplingCancelledError: `on_step` said so.
    """
    device, dtype = pipeline.unet.device, pipeline.unet.dtype
    # Schedulers keep state per call: a fresh one each time.
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(steps, device=device)
    generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
    step_options: dict[str, Any] = {"return_dict": False}
    if "generator" in inspect.signature(scheduler.step).parameters:
        step_options["generator"] = generators
    noise = torch.cat([torch.randn((1, *shape), generator=one) for one in generators])
    noise = noise.to(device, dtype)
    timesteps = scheduler.timesteps
    if start is None:
        latents: Tensor = noise * scheduler.init_noise_sigma
    else:
        timesteps = _late_timesteps(scheduler, steps, start.strength)
        begun = timesteps[:1].repeat(len(requests))
        latents = scheduler.add_noise(start.latents.to(device, dtype), noise, begun)
    guidance = _Guidance(embeddings, requests, device, dtype)
    pictures = None if control is None else guidance.expand(control.pictures)
    steering: dict[str, Any] = {}
    total = len(timesteps)
    for number, timestep in enumerate(timesteps, start=1):
        inputs = guidance.expand(scheduler.scale_model_input(latents, timestep))
        if control is not None and pictures is not None:
            steering = control.residuals(inputs, timestep, guidance.conditions, pictures)
        prediction = pipeline.unet(
            inputs,
            timestep,
            encoder_hidden_states=guidance.conditions,
            return_dict=False,
            **steering,
        )[0]
        latents = scheduler.step(guidance.join(prediction), timestep, latents, **step_options)[0]
        if on_step is not None and not on_step(number, total):
            raise SamplingCancelledError
    return latents


def _late_timesteps(scheduler: Any, steps: int, strength: float) -> Tensor:  # noqa: ANN401 - any of diffusers' schedulers
    """The last of a scheduler's timesteps, of which it is told; at least one."""
    taken = max(1, min(int(steps * strength), steps))
    begin = (steps - taken) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    timesteps: Tensor = scheduler.timesteps[begin:]
    return timesteps


class _Guidance:
    """Classifier-free guidance for those rows that ask for it (Ho and Salimans, 2207.12598).

    The UNet's batch holds the guided rows without their prompts, then all rows with them.

    Attributes:
        conditions: Prompt embeddings of the UNet's batch.
    """

    def __init__(
        self,
        embeddings: PromptEmbeddings,
        requests: Sequence[SampleRequest],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        scales = [request.guidance_scale for request in requests]
        guided = [row for row, scale in enumerate(scales) if scale > 1]
        self._guided = torch.tensor(guided, device=device, dtype=torch.long)
        self._all = len(guided) == len(requests)
        self._scales = torch.tensor(
            [scales[row] for row in guided], device=device, dtype=dtype
        ).view(-1, 1, 1, 1)
        rows = [embeddings.of(request.prompt) for request in requests]
        nothing = [embeddings.of("")] * len(guided)
        self.conditions = torch.cat([*nothing, *rows]).to(device, dtype)

    def expand(self, latents: Tensor) -> Tensor:
        """The UNet's batch for `latents`, or for what else there is one of per request."""
        if self._all:
            return torch.cat([latents, latents])
        return torch.cat([latents[self._guided], latents])

    def join(self, prediction: Tensor) -> Tensor:
        """The guided prediction, one row per request."""
        count = len(self._guided)
        without, with_prompt = prediction[:count], prediction[count:]
        if self._all:
            return without + self._scales * (with_prompt - without)
        joined = with_prompt.clone()
        some = with_prompt[self._guided]
        joined[self._guided] = without + self._scales * (some - without)
        return joined
