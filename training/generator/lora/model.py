"""The model in training: LoRA adapters on a pipeline, number formats, and sampling with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch import Tensor, nn

from porcelain.errors import UserError
from training.generator.lora.settings import Precision
from training.processes import computes_bfloat16, computing_in

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


UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_ENCODER_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
ADAPTER = "default"

# A UNet2DConditionModel or a CLIPTextModel: what they share is mixed in, and has no type.
AdaptedModel = Any


def add_adapters(
    pipeline: StableDiffusionPipeline, rank: int, alpha: float, *, text_encoder: bool
) -> None:
    """Freeze a pipeline and put trainable float32 adapters on its attention.

    The second matrix of each is zero, so that the pipeline answers as before until it learns. The
    first is drawn from torch's global generator.

    Args:
        pipeline: Changed in place.
        rank: Rank of the adapters' matrices.
        alpha: The product is scaled by alpha / rank.
        text_encoder: Whether the text encoder gets adapters too.
    """
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.requires_grad_(False)
    _add(pipeline.unet, UNET_TARGETS, rank, alpha)
    if text_encoder:
        _add(pipeline.text_encoder, TEXT_ENCODER_TARGETS, rank, alpha)


def _add(model: AdaptedModel, targets: tuple[str, ...], rank: int, alpha: float) -> None:
    # peft multiplies by lora_alpha / r; it calls it an integer, but takes any number.
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        init_lora_weights="gaussian",
        target_modules=list(targets),
    )
    model.add_adapter(config, ADAPTER)
    for parameter in model.parameters():
        if parameter.requires_grad:
            # In half precision the small steps of training would be rounded away.
            parameter.data = parameter.data.float()


def adapted_parts(pipeline: StableDiffusionPipeline) -> dict[str, AdaptedModel]:
    """The parts that carry adapters, by name."""
    parts = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {name: part for name, part in parts.items() if getattr(part, "peft_config", None)}


@torch.no_grad()
def update_sizes(pipeline: StableDiffusionPipeline) -> dict[str, float]:
    """Mean |scale * up @ down| per adapted layer: how far each has moved from the base.

    All zeros after some steps mean that nothing is learned.
    """
    sizes = {}
    for part, model in adapted_parts(pipeline).items():
        for name, layer in model.named_modules():
            if isinstance(layer, LoraLayer) and ADAPTER in layer.lora_A:
                up: Any = layer.lora_B[ADAPTER]
                down: Any = layer.lora_A[ADAPTER]
                mean = (up.weight @ down.weight).abs().mean()
                sizes[f"{part}.{name}"] = float(mean) * layer.scaling[ADAPTER]
    return sizes


def save_adapters(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write `pytorch_lora_weights.safetensors` in diffusers' own layout, with its metadata."""
    arguments = {}
    for name, part in adapted_parts(pipeline).items():
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        arguments[f"{name}_lora_layers"] = {
            key: value.detach().cpu().contiguous() for key, value in state.items()
        }
        metadata = part.peft_config[ADAPTER].to_dict()
        # transformers notes the folder, which is nobody else's concern.
        metadata["base_model_name_or_path"] = None
        arguments[f"{name}_lora_adapter_metadata"] = metadata
    StableDiffusionPipeline.save_lora_weights(folder, **arguments)


def set_adapters(pipeline: StableDiffusionPipeline, *, enabled: bool) -> None:
    """Let the adapters take part, or let the pipeline answer as its base would."""
    for part in adapted_parts(pipeline).values():
        for layer in part.modules():
            if isinstance(layer, LoraLayer):
                layer.enable_adapters(enabled)


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

    def enable_gradient_checkpointing(self) -> None:
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


_COLUMNS = 4
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled: steps of the base's own scheduler, guidance, side in pixels."""

    steps: int
    guidance_scale: float
    size: int


@torch.no_grad()
def sample(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], sampling: Sampling, seed: int
) -> Floats:
    """Pictures of `prompts` by the pipeline as it is: float32 [N, size, size, 3] in [0, 1].

    Args:
        pipeline: All parts on one device.
        prompts: One picture each; each has random numbers of its own.
        sampling: Steps, guidance and size.
        seed: Seed of the first picture; each other one has the next number.
    """
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
    pictures: Floats = pipeline(
        list(prompts),
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        width=sampling.size,
        height=sampling.size,
        generator=generators,
        output_type="np",
    ).images
    return np.asarray(pictures, dtype=np.float32)


@contextmanager
def ready_to_sample(
    pipeline: StableDiffusionPipeline, device: torch.device
) -> Iterator[StableDiffusionPipeline]:
    """The pipeline in evaluation mode, all on `device`; afterwards everything is as before."""
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    before = [(part.training, part.device) for part in parts]
    for part in parts:
        part.to(device).eval()
    try:
        yield pipeline
    finally:
        for part, (training, place) in zip(parts, before, strict=True):
            part.to(place).train(training)


def grid(pictures: Floats) -> Image.Image:
    """One picture of many, row by row; what is not a number is black."""
    cells = (np.nan_to_num(pictures).clip(0, 1) * 255).round().astype(np.uint8)
    count, height, width, _ = cells.shape
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(cell), (column * width, row * height))
    return sheet
