"""The autoencoder stage: an autoencoder trained or taken, normalised, its decoder trained alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from porcelain.files import replace_folder, write_json
from training.generator.pretraining.data import Pixels
from training.generator.pretraining.losses import (
    Adversary,
    FeatureDistance,
    structural_similarity,
    structure_loss,
)
from training.generator.pretraining.model import (
    build_autoencoder,
    channel_statistics,
    encode_pictures,
    fold_normalisation,
    load_latents,
    save_latents,
    to_bytes,
    to_model_range,
)
from training.generator.pretraining.report import draw_pairs
from training.generator.pretraining.settings import (
    AutoencoderSettings,
    DecoderSettings,
    StageSettings,
)
from training.generator.pretraining.stage import (
    InitialWeights,
    Objective,
    RunContext,
    StageStats,
    continues_base,
    step_generator,
    train_stage,
)
from training.loop import EpochSampler
from training.processes import fast_layout

STAGE = 1


@dataclass(frozen=True)
class AutoencoderObjective:
    """Absolute error, colour, lost structure, features, a little divergence, coarse decoding.

    Attributes:
        autoencoder: In training.
        pixels: Training pictures, uint8 [N, H, W, 3].
        settings: Weights of the terms.
        distance: Distance of features; None leaves that term out.
        seed: Seed of order, mirroring and posterior noise.
    """

    autoencoder: AutoencoderKL
    pixels: Pixels
    settings: AutoencoderSettings
    distance: FeatureDistance | None
    seed: int

    @cached_property
    def _sampler(self) -> EpochSampler:
        return EpochSampler.uniform(len(self.pixels), self.seed)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The weighted terms of the loss of `step`."""
        settings = self.settings
        device = next(self.autoencoder.parameters()).device
        generator = step_generator(self.seed, STAGE, step, device)
        pictures = self._pictures(step, device)
        mirrored = torch.rand(len(pictures), 1, 1, 1, generator=generator, device=device) < 0.5
        pictures = torch.where(mirrored, pictures.flip(3), pictures)
        posterior = self.autoencoder.encode(pictures).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=generator, device=device)
        latents = mean + torch.exp(0.5 * log_variance) * noise
        terms = self._fidelity(latents, pictures)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        terms["divergence"] = settings.divergence_weight * divergence
        if settings.coarse_weight > 0:
            half = (len(pictures) + 1) // 2
            coarse = self._fidelity(F.avg_pool2d(latents[:half], 2), _halved(pictures[:half]))
            terms["coarse"] = settings.coarse_weight * torch.stack(list(coarse.values())).sum()
        return terms

    def _pictures(self, step: int, device: torch.device) -> Tensor:
        """A batch of `step`: small pictures first, then whole ones."""
        size, small = self.settings.batch_size, step < self.settings.half_size_steps
        indices = self._sampler.batch(step, 4 * size if small else size)
        pictures = to_model_range(self.pixels[np.sort(indices)], device)
        return _halved(pictures) if small else pictures

    def _fidelity(self, latents: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        output = self.autoencoder.decode(latents).sample.float()
        terms = fidelity(output, pictures, self.settings)
        if self.distance is not None:
            distance = self.distance(output, pictures).mean()
            terms["perceptual"] = self.settings.perceptual_weight * distance
        return terms


def fidelity(output: Tensor, pictures: Tensor, settings: AutoencoderSettings) -> dict[str, Tensor]:
    """The weighted terms that need no trained weights: absolute error, colour, structure.

    Args:
        output: What the decoder gives back, [B, 3, H, W] in [-1, 1].
        pictures: What it should.
        settings: Weights of the terms.
    """
    error = output - pictures
    colour = error - error.mean(dim=1, keepdim=True)
    return {
        "absolute": error.abs().mean(),
        "colour": settings.colour_weight * colour.abs().mean(),
        "structure": settings.structure_weight * structure_loss(output, pictures),
    }


@torch.inference_mode()
def reconstruct(autoencoder: AutoencoderKL, pixels: Pixels, batch_size: int = 16) -> Tensor:
    """Pictures through the autoencoder and back, float [N, 3, H, W] in [-1, 1] on the CPU."""
    device = next(autoencoder.parameters()).device
    parts = []
    for start in range(0, len(pixels), batch_size):
        pictures = to_model_range(pixels[start : start + batch_size], device)
        latents = autoencoder.encode(pictures).latent_dist.mode()
        parts.append(autoencoder.decode(latents).sample.float().clamp(-1, 1).cpu())
    return torch.cat(parts)


@torch.inference_mode()
def measure_reconstruction(
    autoencoder: AutoencoderKL, pixels: Pixels, distance: FeatureDistance | None
) -> dict[str, float]:
    """How well pictures survive the autoencoder.

    Args:
        autoencoder: In evaluation mode.
        pixels: Pictures that it did not learn from, uint8 [N, H, W, 3].
        distance: Distance of features; None leaves that measure out.

    Returns:
        `psnr` in dB (mean over pictures) and its 10th percentile, `ssim`, and `perceptual`.
    """
    output = reconstruct(autoencoder, pixels)
    target = to_model_range(pixels, torch.device("cpu"))
    error = (output - target).square().mean(dim=(1, 2, 3)).clamp_min(1e-10) / 4.0
    psnr = -10.0 * torch.log10(error)
    measures = {
        "pictures": float(len(pixels)),
        "psnr": float(psnr.mean()),
        "psnr_10th_percentile": float(psnr.quantile(0.1)),
        "ssim": float(structural_similarity(output, target).mean()),
    }
    if distance is not None:
        distance = distance.to("cpu")
        parts = [
            distance(output[i : i + 32], target[i : i + 32]) for i in range(0, len(output), 32)
        ]
        measures["perceptual"] = float(torch.cat(parts).mean())
    return measures


def _halved(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, 2)


DECODER_STAGE = 3


@dataclass(frozen=True)
class DecoderObjective:
    """Fidelity to the picture behind the latents, features, and what an opponent objects to.

    Attributes:
        autoencoder: The autoencoder whose decoder is in training.
        pixels: Training pictures, uint8 [N, H, W, 3].
        latents: Latents of those and of their mirror images, float16 [N, 2, C, h, w].
        settings: Weights of the terms.
        first: The first stage's, for what it is held to.
        distance: Distance of features; None leaves that term out.
        adversary: The opponent, which learns at every step; None leaves it out.
        seed: Seed of order and mirroring.
    """

    autoencoder: AutoencoderKL
    pixels: Pixels
    latents: Tensor
    settings: DecoderSettings
    first: AutoencoderSettings
    distance: FeatureDistance | None
    adversary: Adversary | None
    seed: int

    @cached_property
    def _sampler(self) -> EpochSampler:
        return EpochSampler.uniform(len(self.pixels), self.seed)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The weighted terms of the loss of `step`."""
        settings, device = self.settings, self.latents.device
        generator = step_generator(self.seed, DECODER_STAGE, step, device)
        places = np.sort(self._sampler.batch(step, settings.batch_size))
        mirrored = torch.randint(0, 2, (len(places),), generator=generator, device=device)
        pictures = to_model_range(self.pixels[places], device)
        pictures = torch.where(mirrored.view(-1, 1, 1, 1) > 0, pictures.flip(3), pictures)
        latents = self.latents[torch.from_numpy(places).to(device), mirrored].float()
        output = self.autoencoder.decode(latents).sample.float()
        terms = fidelity(output, pictures, self.first)
        real: list[Tensor] = []
        decoded: list[Tensor] = []
        if self.distance is not None:
            with torch.no_grad():
                real = self.distance.maps(pictures)
            decoded = self.distance.maps(output)
            distance = self.distance.between(decoded, real).mean()
            terms["perceptual"] = settings.perceptual_weight * distance
        if self.adversary is not None:
            self.adversary.learn((pictures, real), (output, decoded))
            generator_loss = self.adversary.generator_loss(output, decoded)
            terms["adversarial"] = self._adversarial_weight(step) * generator_loss
        return terms

    def _adversarial_weight(self, step: int) -> float:
        """The opponent knows nothing at first, and is listened to little by little."""
        return self.settings.adversarial_weight * min(1.0, step / self.settings.adversarial_steps)


def freeze_encoder(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """The same autoencoder in single precision, with gradients for its decoder alone."""
    autoencoder.float().requires_grad_(False)
    for part in (autoencoder.post_quant_conv, autoencoder.decoder):
        if part is not None:
            part.requires_grad_(True)
    return autoencoder


AUTOENCODER_FOLDER = "autoencoder"
DECODER_FOLDER = "decoder"
LATENTS_FILE = "latents.npy"
STATS_FILE = "effort.json"
PREVIEW_PICTURES = 16


@dataclass(frozen=True)
class AutoencoderResult:
    """The result of the autoencoder stage.

    Attributes:
        autoencoder: On the device, in evaluation mode.
        stats: What training all of it took.
        decoder_stats: What training its decoder alone took after that.
    """

    autoencoder: AutoencoderKL
    stats: StageStats
    decoder_stats: StageStats


def run_autoencoder_stage(
    context: RunContext,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
    start: InitialWeights | None,
) -> AutoencoderResult:
    """Leave a normalised autoencoder and the training pictures' latents in the work folder.

    Args:
        context: The run.
        training: Training pictures, uint8 [N, H, W, 3].
        held_out: Pictures to look at on the way.
        distance: Distance of features to train with beside structure, or None.
        start: Brings an autoencoder; None trains one.
    """
    if distance is not None:
        distance = distance.to(context.device)
    shown = (held_out if len(held_out) else training)[:PREVIEW_PICTURES]
    autoencoder, stats = _encoder(context, training, shown, distance, start)
    if context.settings.decoder.steps == 0 or (start is not None and start.settings is None):
        return AutoencoderResult(autoencoder, stats, StageStats())
    decoder = _decoder(context, autoencoder, training, shown, distance)
    return AutoencoderResult(autoencoder, stats, decoder)


def _encoder(
    context: RunContext,
    training: Pixels,
    shown: Pixels,
    distance: FeatureDistance | None,
    start: InitialWeights | None,
) -> tuple[AutoencoderKL, StageStats]:
    """Train an autoencoder or take one, and fix the latents."""
    folder = context.work / AUTOENCODER_FOLDER
    if folder.is_dir() and (context.work / LATENTS_FILE).is_file():
        return _load(folder, context)
    set_seed(context.settings.seed)
    stats = StageStats()
    if start is None:
        first = context.settings.autoencoder
        autoencoder = _ready(build_autoencoder(first, context.settings.size), context)
        objective = AutoencoderObjective(
            autoencoder, training, first, distance, context.settings.seed
        )
        stats = _train("autoencoder", context, autoencoder, first, objective, shown)
    else:
        autoencoder = _ready(start.autoencoder, context)
    means, variance = encode_pictures(
        autoencoder,
        training,
        lambda done, total: context.reporter.preparing("encoding pictures", done, total),
    )
    if not continues_base(start):
        mean, deviation = channel_statistics(means, variance)
        fold_normalisation(autoencoder, mean, deviation)
        means = (means - mean.view(1, 1, -1, 1, 1)) / deviation.view(1, 1, -1, 1, 1)
    # A UNet to go on with knows its own autoencoder's latents, so those stay as they are.
    save_latents(context.work / LATENTS_FILE, means)
    _save(autoencoder, stats, folder)
    return autoencoder, stats


def _decoder(
    context: RunContext,
    autoencoder: AutoencoderKL,
    training: Pixels,
    shown: Pixels,
    distance: FeatureDistance | None,
) -> StageStats:
    """Teach the decoder on, in place; the latents stay as they are."""
    folder = context.work / DECODER_FOLDER
    if folder.is_dir():
        finished, stats = _load(folder, context)
        autoencoder.load_state_dict(finished.state_dict())
        return stats
    settings = context.settings.decoder
    set_seed(context.settings.seed + 2)
    adversary = None
    if settings.adversarial_weight > 0:
        channels = [] if distance is None else distance.channels
        adversary = Adversary(settings, channels, context.device)
    freeze_encoder(autoencoder)
    objective = DecoderObjective(
        autoencoder,
        training,
        load_latents(context.work / LATENTS_FILE, context.device),
        settings,
        context.settings.autoencoder,
        distance,
        adversary,
        context.settings.seed,
    )
    stats = _train("decoder", context, autoencoder, settings, objective, shown, adversary)
    _save(autoencoder, stats, folder)
    return stats


def _train(
    name: str,
    context: RunContext,
    autoencoder: AutoencoderKL,
    settings: StageSettings,
    objective: Objective,
    shown: Pixels,
    companion: Adversary | None = None,
) -> StageStats:
    """Train an autoencoder in place, with reconstructions of the pictures `shown` on the way."""
    if context.settings.runtime.compile:
        autoencoder.encoder.compile()
        autoencoder.decoder.compile()

    def preview(step: int, module: nn.Module) -> None:
        sheet = reconstruction_sheet(module, shown)
        sheet.save(context.previews / f"{name}-{step:07d}.png")

    stats = train_stage(name, autoencoder, settings, context, objective, preview, companion)
    preview(stats.steps, autoencoder)
    return stats


def reconstruction_sheet(autoencoder: nn.Module, pixels: Pixels) -> Image.Image:
    """Pictures and what the autoencoder makes of them, for people."""
    return draw_pairs(np.asarray(pixels), to_bytes(reconstruct(autoencoder, pixels)))


def _save(autoencoder: AutoencoderKL, stats: StageStats, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    autoencoder.save_pretrained(partial)
    write_json(partial / STATS_FILE, asdict(stats))
    replace_folder(partial, folder)


def _load(folder: Path, context: RunContext) -> tuple[AutoencoderKL, StageStats]:
    stats = StageStats(**json.loads((folder / STATS_FILE).read_text()))
    return _ready(AutoencoderKL.from_pretrained(folder), context), stats


def _ready(autoencoder: AutoencoderKL, context: RunContext) -> AutoencoderKL:
    return autoencoder.to(context.device, memory_format=fast_layout(context.device)).eval()
