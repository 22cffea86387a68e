"""Pictures from prompts: different prompts, seeds and guidance in one denoising batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from safetensors import SafetensorError, safe_open
from torch import Tensor

from porcelain.bundle import LORA_FILE, Bundle
from porcelain.errors import BundleError, UserError
from sampling.base import choose_device, default_dtype, load_pipeline, quietly
from sampling.control import Control, load_controlnet
from sampling.denoising import PromptEmbeddings, Start, denoise
from sampling.finding import find_base
from sampling.request import OnStep, SampleRequest, SamplingCancelledError

__all__ = ["Generator", "OnStep", "SampleRequest", "SamplingCancelledError"]

_FIRST_MATRIX = (".lora_A.weight", ".down.weight", ".lora_down.weight")


def load_lora(pipeline: StableDiffusionPipeline, file: Path) -> list[str]:
    """Load adapters beside the weights, as any diffusers user would.

    Args:
        pipeline: The base that the LoRA was trained on.
        file: `pytorch_lora_weights.safetensors`.

    Returns:
        The parts of the pipeline that have an adapter now.

    Raises:
        BundleError: The file is not a LoRA, or does not fit the pipeline.
    """
    try:
        with quietly():
            pipeline.load_lora_weights(file.parent, weight_name=file.name)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BundleError(f"{file} does not fit this base model: {reason}") from error
    with safe_open(file, "pt") as content:
        wanted = sum(name.endswith(_FIRST_MATRIX) for name in content.keys())  # noqa: SIM118
    parts = sorted(pipeline.get_list_adapters())
    loaded = sum(
        ".lora_A." in name
        for part in parts
        for name, _ in getattr(pipeline, part).named_parameters()
    )
    if not parts or loaded != wanted:
        raise BundleError(
            f"{file} adapts {wanted} layers, of which this base model has {loaded}; it was "
            "trained on another base."
        )
    return parts


def fuse_lora(pipeline: StableDiffusionPipeline, file: Path) -> None:
    """Add a LoRA's product to the weights that it adapts, so that sampling does no extra work.

    Fuse before going to half precision, where small updates would be rounded away.

    Raises:
        BundleError: The file is not a LoRA, does not fit, or has values that are not numbers.
    """
    parts = load_lora(pipeline, file)
    try:
        pipeline.fuse_lora(components=parts, safe_fusing=True)
    except ValueError as error:
        raise BundleError(f"{file} cannot be fused: {error}") from error
    pipeline.unload_lora_weights()


DECODED_AT_ONCE = {"cpu": 2 * 512 * 512, "cuda": 16 * 512 * 512}
"""Pixels that the autoencoder decodes at a time: its activations are a picture's size."""


class Generator:
    """A pipeline that samples in batches; threads that call it take turns.

    A picture depends on its request, steps and size alone: by itself it has the same bytes each
    time on one device, and in a batch it differs by rounding. It is, within rounding, the picture
    that a plain `StableDiffusionPipeline` makes with the LoRA loaded, the base's own scheduler
    and `torch.Generator("cpu").manual_seed(seed)`.
    """

    def __init__(
        self, pipeline: StableDiffusionPipeline, controlnet: ControlNetModel | None = None
    ) -> None:
        """Sample with `pipeline` as it is; use `load` or `from_pipeline`."""
        self._pipeline = pipeline
        self._controlnet = controlnet
        self._embeddings = PromptEmbeddings(pipeline)
        self._lock = threading.Lock()
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        base: str | None = None,
        controlnet: Path | None = None,
        device: str = "auto",
        dtype: torch.dtype | None = None,
        compile_unet: bool = False,
    ) -> Generator:
        """Load a bundle's base and fuse its LoRA into it.

        Args:
            bundle: A verified generator bundle.
            base: Where its base model is, if not where the bundle says.
            controlnet: Folder of a ControlNet for that base; None samples without.
            device: `cpu`, `cuda`, or `auto`.
            dtype: Number format of all weights; None means float32 on a CPU, float16 on a GPU.
            compile_unet: Compile the UNet; see `from_pipeline`.

        Raises:
            UserError: Base model or ControlNet cannot be found or loaded.
            BundleError: It is not the base that the LoRA was trained on.
        """
        place = choose_device(device)
        folder = find_base(bundle.generator.base, base)
        # In full precision, so that nothing of the LoRA is rounded away where it is fused.
        pipeline = load_pipeline(folder, device="cpu", dtype=torch.float32)
        fuse_lora(pipeline, bundle.path / LORA_FILE)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            # Not diffusers' own `to`, which warns of parts to keep in float32 where there are none.
            torch.nn.Module.to(part, place, dtype or default_dtype(place))
        return cls.from_pipeline(pipeline, controlnet=controlnet, compile_unet=compile_unet)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: StableDiffusionPipeline,
        *,
        controlnet: Path | None = None,
        compile_unet: bool = False,
    ) -> Generator:
        """Sample with a loaded pipeline, such as a base without a LoRA.

        Args:
            pipeline: From `sampling.base.load_pipeline`; the generator has it to itself from now.
            controlnet: Folder of a ControlNet for it; None samples without.
            compile_unet: Compile the UNet: faster on a GPU after a minute or more for each new
                size. Pictures then differ from uncompiled ones by rounding.
        """
        if compile_unet:
            pipeline.unet.compile(dynamic=True)
        return cls(pipeline, None if controlnet is None else load_controlnet(controlnet, pipeline))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self._pipeline.unet.device
        return device

    @property
    def multiple(self) -> int:
        """Width and height must be multiples of this."""
        return int(self._pipeline.vae_scale_factor)

    def gpu_memory(self) -> dict[str, int]:
        """Bytes of GPU memory allocated, reserved, and at most reserved; empty on a CPU."""
        if self.device.type != "cuda":
            return {}
        return {
            "allocated": torch.cuda.memory_allocated(self.device),
            "reserved": torch.cuda.memory_reserved(self.device),
            "peak": torch.cuda.max_memory_reserved(self.device),
        }

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        steps: int,
        width: int,
        height: int,
        controls: Sequence[npt.NDArray[np.uint8]] = (),
        on_step: OnStep | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        """Make one picture per request, all in one denoising batch.

        Args:
            requests: They may differ in everything.
            steps: Denoising steps of the base's own scheduler.
            width: In pixels.
            height: In pixels.
            controls: Pictures for the ControlNet, RGB [height, width, 3], one per request; none
                leaves the ControlNet aside.
            on_step: Called after each step with the steps done and their number; False stops.

        Returns:
            RGB pictures [height, width, 3], in order.

        Raises:
            UserError: Steps or size that the model cannot do.
            SamplingCancelledError: `on_step` said so.
            ValueError: Control pictures without a ControlNet, of another size, or too few.
        """
        self._check(steps, width, height)
        if not requests:
            return []
        control = None
        if controls:
            if self._controlnet is None:
                raise ValueError("control pictures for a generator without a ControlNet")
            if [picture.shape for picture in controls] != [(height, width, 3)] * len(requests):
                raise ValueError(f"not one control picture of {width} x {height} per request")
            control = Control.of(self._controlnet, controls)
        with self._lock:
            return self._run(requests, steps, (height, width), None, on_step, control)

    def vary(
        self,
        requests: Sequence[SampleRequest],
        pictures: Sequence[npt.NDArray[np.uint8]],
        *,
        strength: float,
        steps: int,
        on_step: OnStep | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        """Change pictures towards their requests, all in one denoising batch.

        Args:
            requests: What each picture is to become.
            pictures: RGB [height, width, 3], one per request, all of one size.
            strength: Share of the noise that is added and of the steps that are taken, above 0 to
                1: 0.3 keeps the form, 0.8 little more than the colours.
            steps: That pure noise would take.
            on_step: Called after each step with the steps done and their number; False stops.

        Returns:
            RGB pictures [height, width, 3], in order.

        Raises:
            UserError: Steps, size or strength that the model cannot do.
            SamplingCancelledError: `on_step` said so.
            ValueError: Not one picture per request, or of several sizes.
        """
        if not 0 < strength <= 1:
            raise UserError(f"A strength of {strength} is not possible; above 0, up to 1.")
        if len(pictures) != len(requests):
            raise ValueError(f"{len(pictures)} pictures for {len(requests)} requests")
        if not requests:
            return []
        stacked = np.stack(pictures)
        height, width = stacked.shape[1:3]
        self._check(steps, width, height)
        with self._lock:
            start = Start(self._encode(stacked), strength)
            return self._run(requests, steps, (height, width), start, on_step)

    def _run(
        self,
        requests: Sequence[SampleRequest],
        steps: int,
        size: tuple[int, int],
        start: Start | None,
        on_step: OnStep | None,
        control: Control | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        channels = int(self._pipeline.unet.config.in_channels)
        latents = denoise(
            self._pipeline,
            self._embeddings,
            requests,
            steps=steps,
            shape=(channels, size[0] // self.multiple, size[1] // self.multiple),
            start=start,
            control=control,
            on_step=on_step,
        )
        return list(self._decode(latents, DECODED_AT_ONCE.get(self.device.type, 0)))

    def _check(self, steps: int, width: int, height: int) -> None:
        most = int(self._pipeline.scheduler.config.num_train_timesteps)
        if not 1 <= steps <= most:
            raise UserError(f"{steps} steps are not possible; choose 1 to {most}.")
        multiple = self.multiple
        if min(width, height) < multiple or width % multiple or height % multiple:
            raise UserError(
                f"A picture of {width} x {height} is not possible; both must be multiples of "
                f"{multiple}."
            )

    @torch.inference_mode()
    def _encode(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """The mean latents [N, channels, h, w] of pictures [N, H, W, 3], one at a time."""
        vae = self._pipeline.vae
        latents = []
        for picture in pictures:
            unit = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            encoded = vae.encode(unit.to(vae.device, vae.dtype)).latent_dist.mode()
            latents.append(encoded * vae.config.scaling_factor)
        return torch.cat(latents)

    @torch.inference_mode()
    def _decode(self, latents: Tensor, most_pixels: int) -> npt.NDArray[np.uint8]:
        """Pixels [N, H, W, 3] of latents, some at a time."""
        vae = self._pipeline.vae
        area = latents.shape[2] * latents.shape[3] * self.multiple**2
        pictures = []
        for some in (latents / vae.config.scaling_factor).split(max(1, most_pixels // area)):
            image = vae.decode(some.to(vae.dtype), return_dict=False)[0]
            unit = (image / 2 + 0.5).clamp(0, 1).nan_to_num(0)
            pictures.append(unit.permute(0, 2, 3, 1).float().mul(255).round().to(torch.uint8))
        pixels: npt.NDArray[np.uint8] = torch.cat(pictures).cpu().numpy()
        return pixels
