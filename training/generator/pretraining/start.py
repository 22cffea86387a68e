"""What a run starts from in place of random weights: another base, or its autoencoder alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from pydantic import ValidationError
from transformers import CLIPTextModel, CLIPTokenizer

from porcelain.errors import UserError
from porcelain.files import SETTINGS_FILE, sha256_file
from training.generator.pretraining.settings import PretrainSettings

ARCHITECTURE: Final = (
    "channels",
    "groups",
    "layers",
    "heads",
    "text_width",
    "text_layers",
    "text_length",
)
"""Settings of the second stage that its weights prescribe."""

FEATURES: Final = ("perceptual", "perceptual_backbone")
"""Settings of the first stage that stay the caller's: its decoder may learn by other features."""

TRAINED: Final = ("vae", "tokenizer", "text_encoder", "unet")


@dataclass(frozen=True)
class Start:
    """A pipeline folder whose weights a run takes over.

    Attributes:
        folder: The pipeline folder.
        autoencoder: Its autoencoder, whose encoder is used as it is.
        settings: How all of it was trained, where text encoder and UNet are gone on with; None
            where the autoencoder alone is taken.
    """

    folder: Path
    autoencoder: AutoencoderKL
    settings: PretrainSettings | None

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file that the run takes over."""
        parts = TRAINED if self.settings else TRAINED[:1]
        files = [path for part in parts for path in sorted((self.folder / part).iterdir())]
        return {f"{p.parent.name}/{p.name}": sha256_file(p) for p in files if p.is_file()}

    def summary(self) -> dict[str, object]:
        """What is noted beside the result: the folder's name, and the digests of what it gave."""
        return {"name": self.folder.resolve().name, "digests": self.digests()}

    def fit(self, settings: PretrainSettings) -> PretrainSettings:
        """The settings with what the weights prescribe.

        Raises:
            UserError: The size of the pictures does not suit them.
        """
        if self.settings is not None:
            if settings.size != self.settings.size:
                raise UserError(
                    f"--base {self.folder} makes pictures of {self.settings.size} pixels a side; "
                    f"leave out --size {settings.size}."
                )
            theirs = self.settings.diffusion
            taken = {name: getattr(theirs, name) for name in ARCHITECTURE}
            second = settings.diffusion.model_copy(update=taken)
            features = {name: getattr(settings.autoencoder, name) for name in FEATURES}
            first = self.settings.autoencoder.model_copy(update=features)
            return settings.model_copy(
                update={
                    "autoencoder": first,
                    "diffusion": second,
                    "template": self.settings.template,
                    "resize": self.settings.resize,
                }
            )
        factor = latent_factor(self.autoencoder) * 2 ** (len(settings.diffusion.channels) - 1)
        if settings.size % factor:
            raise UserError(
                f"--size {settings.size} does not fit the given autoencoder; choose a multiple of "
                f"{factor}."
            )
        return settings

    def load_tokenizer(self) -> CLIPTokenizer:
        """Its tokenizer."""
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer", local_files_only=True)

    def load_denoiser(self) -> tuple[CLIPTextModel, UNet2DConditionModel]:
        """Its text encoder and UNet, in float32."""
        options = {"dtype": torch.float32, "local_files_only": True}
        return (
            CLIPTextModel.from_pretrained(self.folder / "text_encoder", **options),
            UNet2DConditionModel.from_pretrained(self.folder / "unet", **options),
        )


def goes_on(start: Start | None) -> TypeGuard[Start]:
    """Whether a whole base is gone on with, rather than nothing or an autoencoder alone."""
    return start is not None and start.settings is not None


def latent_factor(autoencoder: AutoencoderKL) -> int:
    """How many pixels a side fall to one latent."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


def open_start(base: Path | None, autoencoder: Path | None) -> Start | None:
    """What to start from; None trains everything from scratch.

    Args:
        base: A folder that `porcelain generator pretrain` has left, to go on with.
        autoencoder: A pipeline folder, of which the autoencoder alone is used.

    Raises:
        UserError: Both are given, or a folder is not what it should be.
    """
    if base is not None and autoencoder is not None:
        raise UserError("--base brings its own autoencoder; leave out --autoencoder.")
    if base is not None:
        settings = _read_settings(base)
        return Start(base, _load_autoencoder(base, "--base"), settings)
    if autoencoder is not None:
        return Start(autoencoder, _load_autoencoder(autoencoder, "--autoencoder"), None)
    return None


def _read_settings(base: Path) -> PretrainSettings:
    try:
        found = json.loads((base / SETTINGS_FILE).read_text(encoding="utf-8"))
        return PretrainSettings.model_validate(found)
    except (OSError, ValueError, ValidationError) as error:
        raise UserError(
            f"--base {base} is not what `porcelain generator pretrain` leaves: {SETTINGS_FILE} is "
            "missing or of another form. To fine-tune another model use `porcelain generator "
            "train`."
        ) from error


def _load_autoencoder(folder: Path, option: str) -> AutoencoderKL:
    try:
        return AutoencoderKL.from_pretrained(
            folder, subfolder="vae", dtype=torch.float32, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{option} {folder} holds no autoencoder; give a Stable Diffusion pipeline "
            "folder with vae/config.json and its weights."
        ) from error
