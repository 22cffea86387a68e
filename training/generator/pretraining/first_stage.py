"""From pictures to latents: train an autoencoder or take one, normalise, encode once.

Where a base is gone on with, only its decoder learns: the UNet knows the encoder's latents.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import torch
from accelerate.utils import set_seed
from diffusers import AutoencoderKL
from PIL import Image

from porcelain.files import replace_folder, write_json
from training.generator.pretraining.architecture import build_autoencoder
from training.generator.pretraining.autoencoder import (
    AutoencoderObjective,
    Pixels,
    reconstruct,
)
from training.generator.pretraining.grid import draw_pairs
from training.generator.pretraining.latents import (
    channel_statistics,
    encode_pictures,
    fold_normalisation,
    save_latents,
)
from training.generator.pretraining.perceptual import FeatureDistance
from training.generator.pretraining.precision import fast_layout
from training.generator.pretraining.settings import AutoencoderSettings
from training.generator.pretraining.stage import StageTrainer
from training.generator.pretraining.start import Start
from training.generator.pretraining.workshop import Effort, Workshop

AUTOENCODER_FOLDER = "autoencoder"
LATENTS_FILE = "latents.npy"
EFFORT_FILE = "effort.json"
PREVIEW_PICTURES = 16


def run_first_stage(
    shop: Workshop,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
    start: Start | None,
) -> tuple[AutoencoderKL, Effort]:
    """Leave a normalised autoencoder and the training pictures' latents in the work folder.

    Args:
        shop: The run.
        training: Training pictures, uint8 [N, H, W, 3].
        held_out: Pictures to look at on the way.
        distance: Of features, to train with beside structure; or None.
        start: Brings an autoencoder; None trains one.

    Returns:
        The autoencoder on the device, in evaluation mode, and what training it took.
    """
    folder = shop.work / AUTOENCODER_FOLDER
    if folder.is_dir() and (shop.work / LATENTS_FILE).is_file():
        effort = Effort(**json.loads((folder / EFFORT_FILE).read_text()))
        return _ready(AutoencoderKL.from_pretrained(folder), shop), effort
    autoencoder, effort = _obtain(shop, training, held_out, distance, start)
    means, variance = encode_pictures(
        autoencoder,
        training,
        lambda done, total: shop.reporter.preparing("encoding pictures", done, total),
    )
    if start is None or start.settings is None:
        mean, deviation = channel_statistics(means, variance)
        fold_normalisation(autoencoder, mean, deviation)
        means = (means - mean.view(1, 1, -1, 1, 1)) / deviation.view(1, 1, -1, 1, 1)
    # A UNet to go on with knows its own autoencoder's latents, so those stay as they are.
    save_latents(shop.work / LATENTS_FILE, means)
    partial = shop.work / f"{AUTOENCODER_FOLDER}.partial"
    autoencoder.save_pretrained(partial)
    write_json(partial / EFFORT_FILE, asdict(effort))
    replace_folder(partial, folder)
    return autoencoder, effort


def _obtain(
    shop: Workshop,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
    start: Start | None,
) -> tuple[AutoencoderKL, Effort]:
    """Train an autoencoder, or take one and perhaps teach its decoder."""
    first, decoder = shop.settings.autoencoder, shop.settings.decoder
    set_seed(shop.settings.seed)
    if start is None:
        autoencoder = _ready(build_autoencoder(first, shop.settings.size), shop)
        return _train(shop, autoencoder, first, training, held_out, distance)
    autoencoder = _ready(start.autoencoder, shop)
    if start.settings is None or decoder.steps == 0:
        return autoencoder, Effort()
    # The weights are trained in single precision, whatever they were saved in.
    autoencoder.float().requires_grad_(False)
    for part in (autoencoder.post_quant_conv, autoencoder.decoder):
        if part is not None:
            part.requires_grad_(True)
    alone = decoder.as_autoencoder(first)
    return _train(shop, autoencoder, alone, training, held_out, distance)


def _train(
    shop: Workshop,
    autoencoder: AutoencoderKL,
    settings: AutoencoderSettings,
    training: Pixels,
    held_out: Pixels,
    distance: FeatureDistance | None,
) -> tuple[AutoencoderKL, Effort]:
    if shop.settings.runtime.compile:
        autoencoder.encoder.compile()
        autoencoder.decoder.compile()
    if distance is not None:
        distance = distance.to(shop.device)
    trainer = StageTrainer(
        "autoencoder",
        autoencoder,
        settings,
        shop.settings.runtime,
        shop.work / "autoencoder.pt",
    )
    shown = held_out[:PREVIEW_PICTURES] if len(held_out) else training[:PREVIEW_PICTURES]

    def preview(step: int) -> None:
        sheet = reconstruction_sheet(autoencoder, shown)
        sheet.save(shop.previews / f"autoencoder-{step:07d}.png")

    trainer.train(
        AutoencoderObjective(autoencoder, training, settings, distance, shop.settings.seed),
        shop.reporter.step,
        preview,
        shop.logs,
    )
    trainer.finish()
    preview(trainer.step)
    return autoencoder, Effort.of(trainer)


def reconstruction_sheet(autoencoder: AutoencoderKL, pixels: Pixels) -> Image.Image:
    """Pictures and what the autoencoder makes of them, for people."""
    copies = reconstruct(autoencoder, pixels).add(1).mul(127.5).round().to(torch.uint8)
    return draw_pairs(np.asarray(pixels), copies.permute(0, 2, 3, 1).numpy())


def _ready(autoencoder: AutoencoderKL, shop: Workshop) -> AutoencoderKL:
    return autoencoder.to(shop.device, memory_format=fast_layout(shop.device)).eval()
