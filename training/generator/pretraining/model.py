"""Stable Diffusion's parts, small: built, initialised, their latents normalised, saved together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from porcelain.files import write_json
from sampling.base import quietly
from training.generator.pretraining.data import Pixels, save_tokenizer
from training.generator.pretraining.settings import AutoencoderSettings, DiffusionSettings

LOG_VARIANCE = -6.0
"""Of the posterior at the start: noise of a twentieth leaves latents readable."""


@torch.no_grad()
def initialise_linear(autoencoder: AutoencoderKL) -> None:
    """Set all weights in place; what is random comes from torch's global generator.

    Args:
        autoencoder: Without attention.
    """
    for module in autoencoder.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, ResnetBlock2D):
            _zero_residual(module)
        elif isinstance(module, Downsample2D):
            _mean_pooling(module.conv)
        elif isinstance(module, Upsample2D):
            nn.init.dirac_(module.conv.weight)
    # Gains: about 1 after the first layer, and pictures of moderate contrast at the end.
    _orthogonal(autoencoder.encoder.conv_in, gain=4.0)
    _orthogonal(autoencoder.encoder.conv_out)
    _orthogonal(autoencoder.decoder.conv_in)
    _orthogonal(autoencoder.decoder.conv_out, gain=0.5)
    latents = autoencoder.config.latent_channels
    nn.init.dirac_(autoencoder.quant_conv.weight)
    autoencoder.quant_conv.weight[latents:] = 0.0
    autoencoder.quant_conv.bias[latents:] = LOG_VARIANCE
    nn.init.dirac_(autoencoder.post_quant_conv.weight)


def _zero_residual(block: ResnetBlock2D) -> None:
    nn.init.kaiming_normal_(block.conv1.weight, nonlinearity="relu")
    nn.init.zeros_(block.conv2.weight)
    if block.conv_shortcut is not None:
        _orthogonal(block.conv_shortcut)


def _orthogonal(convolution: nn.Conv2d, gain: float = 1.0) -> None:
    """An orthogonal matrix at the kernel's centre, zero around it."""
    matrix = torch.empty(convolution.weight.shape[:2], device=convolution.weight.device)
    nn.init.orthogonal_(matrix, gain)
    row, column = (side // 2 for side in convolution.kernel_size)
    nn.init.zeros_(convolution.weight)
    convolution.weight[:, :, row, column] = matrix


def _mean_pooling(convolution: nn.Conv2d) -> None:
    """Each channel's mean over the two by two pixels under an output."""
    nn.init.zeros_(convolution.weight)
    channels = torch.arange(convolution.weight.shape[0])
    convolution.weight[channels, channels, :2, :2] = 0.25


LEAST_DEVIATION = 1e-3
TRAINING_TIMESTEPS = 1000


def build_autoencoder(settings: AutoencoderSettings, size: int) -> AutoencoderKL:
    """An untrained autoencoder, without attention: it sees pictures of any size.

    Args:
        settings: Widths.
        size: Side of the pictures, noted in the config.
    """
    levels = len(settings.channels)
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=1,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.groups,
        sample_size=size,
        # Latents have unit variance: quant_conv is told their statistics after training.
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    initialise_linear(autoencoder)
    return autoencoder


def build_text_encoder(settings: DiffusionSettings, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A text encoder with random weights for this tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.text_width,
            intermediate_size=4 * settings.text_width,
            projection_dim=settings.text_width,
            num_hidden_layers=settings.text_layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.text_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(
    settings: DiffusionSettings, latent_channels: int, latent_size: int
) -> UNet2DConditionModel:
    """A UNet with random weights, cross attention at every level.

    Args:
        settings: Widths and depths.
        latent_channels: Channels of the autoencoder's latents.
        latent_size: Side of the latents of a picture, noted in the config.
    """
    levels = len(settings.channels)
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers,
        cross_attention_dim=settings.text_width,
        # diffusers' name for the number of heads in this class.
        attention_head_dim=settings.heads,
        norm_num_groups=settings.groups,
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule with v-prediction and a last step of pure noise.

    Without the last, a model learns that the brightness of the noise tells that of the picture,
    and dark or bright backgrounds never come out (Lin et al., arXiv 2305.08891).
    """
    return DDIMScheduler(
        num_train_timesteps=TRAINING_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        # Without meaning here; pipelines warn of any other value.
        steps_offset=1,
    )


WEIGHTS = ("vae", "text_encoder", "unet")
PLACES = ("_name_or_path", "is_local", "local_files_only")


def assemble(
    autoencoder: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    """A pipeline of these parts, without a safety checker."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_half_precision(pipeline: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
    """Save in float16, load the files again as anyone would, and sample once.

    Args:
        pipeline: The pipeline; its modules are left as they are.
        folder: Where the files go.

    Returns:
        The pipeline that the files hold, in float32 on the CPU.
    """
    half = assemble(
        _half_copy(pipeline.vae),
        _half_copy(pipeline.text_encoder),
        pipeline.tokenizer,
        _half_copy(pipeline.unet),
    )
    with quietly():
        half.save_pretrained(folder, safe_serialization=True)
        save_tokenizer(pipeline.tokenizer, folder / "tokenizer")
        for weights in folder.rglob("*.safetensors"):
            weights.chmod(0o644)  # the libraries leave them to their owner alone
        _note_text_encoder_dtype(folder / "text_encoder" / "config.json")
        for config in folder.rglob("*config.json"):
            _remove_local_paths(config)
        loaded = StableDiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    proof = loaded("", num_inference_steps=2, output_type="np", generator=torch.Generator())
    if not bool(torch.isfinite(torch.from_numpy(proof.images)).all()):
        raise RuntimeError("The saved pipeline samples numbers that are not finite.")
    return loaded


def _note_text_encoder_dtype(config: Path) -> None:
    """Have the text encoder loaded in float32 where no one says otherwise, as the UNet is.

    transformers loads in the noted type, diffusers in float32; a half-precision prompt then meets
    a single-precision UNet, and sampling fails.
    """
    write_json(config, json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"})


def _remove_local_paths(config: Path) -> None:
    """Take out what the libraries note of the place on this machine that a part was loaded from."""
    content = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {name: value for name, value in content.items() if name not in PLACES})


def count_parameters(pipeline: StableDiffusionPipeline) -> dict[str, int]:
    """Parameters of each part, and in all."""
    parts = {name: getattr(pipeline, name) for name in WEIGHTS}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return counts | {"total": sum(counts.values())}


def folder_bytes(folder: Path) -> int:
    """Size of every file in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _half_copy(module: nn.Module) -> nn.Module:
    """A float16 copy on the CPU, with the default attention; the original stays as it is."""
    if isinstance(module, ConfigMixin):
        copy = type(module).from_config(module.config)
    else:
        copy = type(module)(module.config)
    copy.load_state_dict(module.state_dict())
    half: nn.Module = nn.Module.to(copy, "cpu", torch.float16)
    return half.eval()


def to_model_range(pixels: Pixels, device: torch.device) -> Tensor:
    """Pictures uint8 [B, H, W, 3] as float [B, 3, H, W] in [-1, 1]."""
    batch = torch.from_numpy(np.array(pixels)).to(device)
    return batch.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_bytes(pictures: Tensor) -> Pixels:
    """Float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3]."""
    return pictures.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.inference_mode()
def encode_pictures(
    autoencoder: AutoencoderKL,
    pixels: Pixels,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The posterior of every picture and of its mirror image.

    Args:
        autoencoder: In evaluation mode.
        pixels: uint8 [N, H, W, 3].
        on_progress: Called with pictures done and in all.

    Returns:
        Means, float32 [N, 2, C, h, w] on the CPU (the second is of the mirror image), and the
        mean posterior variance per channel [C].
    """
    device = next(autoencoder.parameters()).device
    batch_size = 4 if device.type == "cpu" else 64  # what fits a cache is faster
    means = []
    variance, seen = torch.zeros(autoencoder.config.latent_channels), 0
    for start in range(0, len(pixels), batch_size):
        pictures = to_model_range(pixels[start : start + batch_size], device)
        both = torch.stack([pictures, pictures.flip(3)], dim=1).flatten(0, 1)
        posterior = autoencoder.encode(both).latent_dist
        means.append(posterior.mean.float().unflatten(0, (-1, 2)).cpu())
        variance += posterior.var.float().mean(dim=(0, 2, 3)).cpu() * len(both)
        seen += len(both)
        if on_progress is not None:
            on_progress(min(start + batch_size, len(pixels)), len(pixels))
    return torch.cat(means), variance / max(1, seen)


def channel_statistics(means: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of what sampling the posterior gives.

    Args:
        means: [N, 2, C, h, w].
        variance: Mean posterior variance per channel [C].
    """
    axes = (0, 1, 3, 4)
    mean = means.double().mean(dim=axes)
    spread = means.double().var(dim=axes, unbiased=False)
    deviation = (spread + variance.double()).sqrt().clamp_min(LEAST_DEVIATION)
    return mean.float(), deviation.float()


@torch.no_grad()
def fold_normalisation(autoencoder: AutoencoderKL, mean: Tensor, deviation: Tensor) -> None:
    """Make latents come out with zero mean and unit variance per channel.

    The two 1 x 1 convolutions around the latents take the affine map in, so that a plain
    pipeline with a scaling factor of 1 needs to know nothing of it.

    Args:
        autoencoder: Changed in place; what it gives back stays the same.
        mean: Per latent channel [C].
        deviation: Per latent channel [C].
    """
    channels = autoencoder.config.latent_channels
    if autoencoder.quant_conv is None:
        autoencoder.quant_conv = _identity(2 * channels).to(autoencoder.device)
    if autoencoder.post_quant_conv is None:
        autoencoder.post_quant_conv = _identity(channels).to(autoencoder.device)
    into, out_of = autoencoder.quant_conv, autoencoder.post_quant_conv
    mean, deviation = mean.to(into.weight), deviation.to(into.weight)
    into.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2.0 * deviation.log()
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
    out_of.weight *= deviation.view(1, -1, 1, 1)
    autoencoder.register_to_config(
        scaling_factor=1.0,
        shift_factor=None,
        latents_mean=None,
        latents_std=None,
        use_quant_conv=True,
        use_post_quant_conv=True,
    )


def save_latents(path: Path, latents: Tensor) -> None:
    """Write latents [N, 2, C, h, w] as float16, atomically."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, latents.to(torch.float16).numpy())
    partial.replace(path)


def load_latents(path: Path, device: torch.device) -> Tensor:
    """Read what `save_latents` wrote, float16 [N, 2, C, h, w]."""
    return torch.from_numpy(np.load(path)).to(device)


def _identity(channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, 1)
    nn.init.dirac_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
