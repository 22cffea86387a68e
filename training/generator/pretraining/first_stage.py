"""From pictures to latents and back: train an autoencoder or take one, normalise, encode once.

Then the decoder learns on alone. Where a base is gone on with, nothing else does: the UNet knows
the encoder's latents.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from accelerate.utils import set_seed
from diffusers import AutoencoderKL
from PIL import Image

from porcelain.files import replace_folder, write_json
from training.generator.pretraining.adversary import Adversary
from training.generator.pretraining.architecture import build_autoencoder
from training.generator.pretraining.autoencoder import (
    AutoencoderObjective,
    Pixels,
    reconstruct,
    to_bytes,
)
from training.generator.pretraining.decoder import DecoderObjective, learns_alone
from training.generator.pretraining.grid import draw_pairs
from training.generator.pretraining.latents import (
    channel_statistics,
    encode_pictures,
    fold_normalisation,
    load_latents,
    save_latents,
)
from training.generator.pretraining.perceptual import FeatureDistance
from training.generator.pretraining.precision import fast_layout
from training.generator.pretraining.settings import StageSettings
from training.generator.pretraining.stage import Objective, StageTrainer
from training.generator.pretraining.start import Start, goes_on
from training.generator.pretraining.workshop import Effort, Workshop

AUTOENCODER_FOLDER = "autoencoder"
DECODER_FOLDER = "decoder"
LATENTS_FILE = "latents.npy"
EFFORT_FILE = "effort.json"
PREVIEW_PICTURES = 16


@dataclass(frozen=True)
class FirstStage:
    """A finished first stage.

    Attributes:
        autoencoder: On the device, in evaluation mode.
        effort: What training all of it took.
        decoder: What training its decoder alone took after that.
    """

    autoencoder: AutoencoderKL
    effort: Effort
    decoder: Effort


def run_first_stage(
    shop: Workshop,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
    start: Start | None,
) -> FirstStage:
    """Leave a normalised autoencoder and the training pictures' latents in the work folder.

    Args:
        shop: The run.
        training: Training pictures, uint8 [N, H, W, 3].
        held_out: Pictures to look at on the way.
        distance: Of features, to train with beside structure; or None.
        start: Brings an autoencoder; None trains one.
    """
    if distance is not None:
        distance = distance.to(shop.device)
    autoencoder, effort = _encoder(shop, training, held_out, distance, start)
    if shop.settings.decoder.steps == 0 or (start is not None and start.settings is None):
        return FirstStage(autoencoder, effort, Effort())
    decoder = _decoder(shop, autoencoder, training, held_out, distance)
    return FirstStage(autoencoder, effort, decoder)


def _encoder(
    shop: Workshop,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
    start: Start | None,
) -> tuple[AutoencoderKL, Effort]:
    """Train an autoencoder or take one, and fix the latents."""
    folder = shop.work / AUTOENCODER_FOLDER
    if folder.is_dir() and (shop.work / LATENTS_FILE).is_file():
        return _load(folder, shop)
    set_seed(shop.settings.seed)
    effort = Effort()
    if start is None:
        first = shop.settings.autoencoder
        autoencoder = _ready(build_autoencoder(first, shop.settings.size), shop)
        trainer = _trainer("autoencoder", shop, autoencoder, first)
        objective = AutoencoderObjective(autoencoder, training, first, distance, shop.settings.seed)
        effort = _train(shop, trainer, autoencoder, objective, training, held_out)
    else:
        autoencoder = _ready(start.autoencoder, shop)
    means, variance = encode_pictures(
        autoencoder,
        training,
        lambda done, total: shop.reporter.preparing("encoding pictures", done, total),
    )
    if not goes_on(start):
        mean, deviation = channel_statistics(means, variance)
        fold_normalisation(autoencoder, mean, deviation)
        means = (means - mean.view(1, 1, -1, 1, 1)) / deviation.view(1, 1, -1, 1, 1)
    # A UNet to go on with knows its own autoencoder's latents, so those stay as they are.
    save_latents(shop.work / LATENTS_FILE, means)
    _save(autoencoder, effort, folder)
    return autoencoder, effort


def _decoder(
    shop: Workshop,
    autoencoder: AutoencoderKL,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
) -> Effort:
    """Teach the decoder on, in place; the latents stay as they are."""
    folder = shop.work / DECODER_FOLDER
    if folder.is_dir():
        finished, effort = _load(folder, shop)
        autoencoder.load_state_dict(finished.state_dict())
        return effort
    settings = shop.settings.decoder
    set_seed(shop.settings.seed + 2)
    adversary = None
    if settings.adversarial_weight > 0:
        channels = [] if distance is None else distance.channels
        adversary = Adversary(settings, channels, shop.device)
    learns_alone(autoencoder)
    trainer = _trainer("decoder", shop, autoencoder, settings, adversary)
    objective = DecoderObjective(
        autoencoder,
        training,
        load_latents(shop.work / LATENTS_FILE, shop.device),
        settings,
        shop.settings.autoencoder,
        distance,
        adversary,
        shop.settings.seed,
    )
    effort = _train(shop, trainer, autoencoder, objective, training, held_out)
    _save(autoencoder, effort, folder)
    return effort


def _trainer(
    name: str,
    shop: Workshop,
    autoencoder: AutoencoderKL,
    settings: StageSettings,
    companion: Adversary | None = None,
) -> StageTrainer:
    checkpoint = shop.work / f"{name}.pt"
    return StageTrainer(name, autoencoder, settings, shop.settings.runtime, checkpoint, companion)


def _train(
    shop: Workshop,
    trainer: StageTrainer,
    autoencoder: AutoencoderKL,
    objective: Objective,
    training: Pixels,
    held_out: Pixels,
) -> Effort:
    if shop.settings.runtime.compile:
        autoencoder.encoder.compile()
        autoencoder.decoder.compile()
    shown = held_out[:PREVIEW_PICTURES] if len(held_out) else training[:PREVIEW_PICTURES]

    def preview(step: int) -> None:
        sheet = reconstruction_sheet(autoencoder, shown)
        sheet.save(shop.previews / f"{trainer.name}-{step:07d}.png")

    trainer.train(objective, shop.reporter.step, preview, shop.logs)
    trainer.finish()
    preview(trainer.step)
    return Effort.of(trainer)


def reconstruction_sheet(autoencoder: AutoencoderKL, pixels: Pixels) -> Image.Image:
    """Pictures and what the autoencoder makes of them, for people."""
    return draw_pairs(np.asarray(pixels), to_bytes(reconstruct(autoencoder, pixels)))


def _save(autoencoder: AutoencoderKL, effort: Effort, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    autoencoder.save_pretrained(partial)
    write_json(partial / EFFORT_FILE, asdict(effort))
    replace_folder(partial, folder)


def _load(folder: Path, shop: Workshop) -> tuple[AutoencoderKL, Effort]:
    effort = Effort(**json.loads((folder / EFFORT_FILE).read_text()))
    return _ready(AutoencoderKL.from_pretrained(folder), shop), effort


def _ready(autoencoder: AutoencoderKL, shop: Workshop) -> AutoencoderKL:
    return autoencoder.to(shop.device, memory_format=fast_layout(shop.device)).eval()
