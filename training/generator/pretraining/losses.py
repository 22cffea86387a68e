"""What pictures are compared by: structure, features of a backbone, an adversary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from training.classifier.bundling import TRAINING_FILE, read_weights
from training.classifier.model import (
    backbones_of,
    create_backbone,
    load_hub_weights,
    load_weights_file,
)
from training.generator.pretraining.settings import DecoderSettings

WINDOW = 8
STRIDE = 4
SCALES = 3
RANGE = 2.0
"""From -1 to 1."""


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity per picture over square windows.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity
    (2004), with uniform windows of 8 pixels every 4.

    Args:
        first: [B, 3, H, W] in [-1, 1].
        second: Pictures of the same shape.

    Returns:
        [B], at most 1.
    """
    moments = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    window = min(WINDOW, *first.shape[2:])
    means = F.avg_pool2d(moments, window, STRIDE).chunk(5, dim=1)
    mean_a, mean_b, square_a, square_b, product = means
    luminance = 2 * mean_a * mean_b + (0.01 * RANGE) ** 2
    contrast = 2 * (product - mean_a * mean_b) + (0.03 * RANGE) ** 2
    power = mean_a.square() + mean_b.square() + (0.01 * RANGE) ** 2
    variance = square_a - mean_a.square() + square_b - mean_b.square() + (0.03 * RANGE) ** 2
    return (luminance * contrast / (power * variance)).mean(dim=(1, 2, 3))


def structure_loss(output: Tensor, target: Tensor) -> Tensor:
    """What is lost of structure, at three scales: dissimilarity and error of gradients.

    It needs no weights. Similarity asks for the local contrast that absolute error alone blurs
    away (Zhao et al., Loss Functions for Image Restoration, arXiv 1511.08861); the gradients hold
    edges in their place.

    Args:
        output: [B, 3, H, W] in [-1, 1].
        target: Pictures of the same shape.

    Returns:
        A scalar, 0 for equal pictures.
    """
    total = output.new_zeros(())
    for scale in range(SCALES):
        if scale:
            output, target = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
        total = total + 0.5 * (1.0 - structural_similarity(output, target).mean())
        difference = output - target
        for axis in (2, 3):
            total = total + difference.diff(dim=axis).abs().mean()
    return total / SCALES


STAGES = 4
"""Feature maps compared, from the finest on: edges, texture, parts."""


class FeatureDistance(nn.Module):
    """The distance of feature maps, normalised over channels at every position, as in LPIPS.

    LPIPS' own channel weights are fitted to human judgement on three backbones and are left out,
    so that any backbone serves. Source: Zhang et al., The Unreasonable Effectiveness of Deep
    Features as a Perceptual Metric, arXiv 1801.03924.

    Attributes:
        name: What is compared, in words.
        recipe: The command that trains the backbone; None where it is not ours.
    """

    def __init__(
        self, backbone: nn.Module, backbone_name: str, source: str, recipe: str | None = None
    ) -> None:
        """Take the first maps of a trained backbone; it is not trained further.

        Args:
            backbone: A timm model without classifier.
            backbone_name: timm's name of it.
            source: Where its weights are from, for people.
            recipe: The command that trains it.
        """
        super().__init__()
        features = timm.create_model(
            backbone_name, features_only=True, out_indices=tuple(range(STAGES))
        )
        wanted = features.state_dict()
        given = backbone.state_dict()
        missing = [key for key in wanted if key not in given]
        if missing:
            raise UserError(
                f"The feature maps of {backbone_name} cannot be taken (no {missing[0]}); name "
                "another backbone for the perceptual distance."
            )
        features.load_state_dict({key: given[key] for key in wanted})
        self.features = features.eval().requires_grad_(False)
        config: Any = backbone.pretrained_cfg
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1))
        self.name = f"{backbone_name} ({source})"
        self.recipe = recipe

    def train(self, mode: bool = True) -> FeatureDistance:
        """Stay in evaluation mode: batch norms of a trained backbone do not move."""
        return super().train(False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Distance per picture [B] of two batches [B, 3, H, W] in [-1, 1]."""
        with torch.no_grad():
            wanted = self.maps(target)
        return self.between(self.maps(output), wanted)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """The feature maps [B, C, h, w] of pictures [B, 3, H, W] in [-1, 1], finest first."""
        maps: list[Tensor] = self.features(self._normalise(pictures))
        return maps

    def between(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
        """Distance per picture [B] of the maps of two batches."""
        distances = [
            (_unit(a.float()) - _unit(b.float())).square().sum(dim=1).mean(dim=(1, 2))
            for a, b in zip(ours, theirs, strict=True)
        ]
        return torch.stack(distances).mean(dim=0)

    @property
    def channels(self) -> list[int]:
        """Channels of every map."""
        info: Any = self.features.feature_info
        channels: list[int] = info.channels()
        return channels

    def _normalise(self, pictures: Tensor) -> Tensor:
        return (pictures.clamp(-1, 1) * 0.5 + 0.5 - self.mean) / self.std


def load_feature_distance(reference: str, backbone_name: str) -> FeatureDistance | str:
    """The distance that `reference` names.

    Args:
        reference: `auto` (timm's weights from the hub), `none`, a safetensors file, or the
            folder of a classifier bundle.
        backbone_name: timm's name of the backbone, unless a bundle says it.

    Returns:
        The distance; or one line that says why there is none.

    Raises:
        UserError: The file or bundle cannot be used.
    """
    if reference == "none":
        return "No trained features are compared, structural similarity and gradients alone."
    path = Path(reference)
    if path.is_dir():
        info = load_bundle(path, "classifier").classifier
        backbone = create_backbone(info.backbone)
        # Of several models side by side the first: the others would say nearly the same.
        backbone.load_state_dict(backbones_of(read_weights(path))[0])
        source = f"classifier bundle {path.name}"
        return FeatureDistance(backbone, info.backbone, source, _recipe(path))
    backbone = create_backbone(backbone_name)
    if reference != "auto":
        load_weights_file(backbone, path)
        return FeatureDistance(backbone, backbone_name, f"weights {path.name}")
    reason = load_hub_weights(backbone, backbone_name)
    if reason is None:
        return FeatureDistance(backbone, backbone_name, "timm's ImageNet weights")
    first = reason.split(" Training from scratch")[0].rstrip(".")
    return f"{first}. The autoencoder is held to structural similarity and gradients alone."


def _recipe(bundle: Path) -> str | None:
    """The command that trains a classifier bundle, as far as its settings tell."""
    record = bundle / TRAINING_FILE
    if not record.is_file():
        return None
    settings = json.loads(record.read_text()).get("settings", {})
    options = [
        f"--{option.replace('_', '-')} {Path(str(settings[option])).name}"
        for option in (
            "backbone",
            "pretrained",
            "input_size",
            "epochs",
            "batch_size",
            "members",
            "rendered",
            "seed",
        )
        if option in settings
    ]
    command = ["porcelain classifier train --data DATA", f"--out {bundle.name}", *options]
    return " ".join(command) + ("" if settings.get("refit", True) else " --no-refit")


def _unit(features: Tensor) -> Tensor:
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + 1e-8)


HEAD_WIDTH = 64


class Discriminator(nn.Module):
    """Judges patches of pictures: their pixels and, where there is a trained backbone, its maps.

    Judging maps of a backbone that is not trained further is steadier and sees patterns that few
    pixels do not show (Sauer et al., Projected GANs Converge Faster, arXiv 2111.01007). Every
    convolution is spectrally normalised (Miyato et al., arXiv 1802.05957).
    """

    def __init__(self, width: int, channels: Sequence[int] = ()) -> None:
        """Set up.

        Args:
            width: Channels of the first convolution on pixels; the later ones have two and four
                times as many.
            channels: Channels of each of the backbone's maps.
        """
        super().__init__()
        self.patches = nn.Sequential(
            _convolution(3, width, 4, stride=2),
            nn.LeakyReLU(0.2),
            _convolution(width, 2 * width, 4, stride=2),
            nn.LeakyReLU(0.2),
            _convolution(2 * width, 4 * width, 3),
            nn.LeakyReLU(0.2),
            _convolution(4 * width, 1, 3),
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                _convolution(count, HEAD_WIDTH, 3),
                nn.LeakyReLU(0.2),
                _convolution(HEAD_WIDTH, HEAD_WIDTH, 1),
                nn.LeakyReLU(0.2),
                _convolution(HEAD_WIDTH, 1, 1),
            )
            for count in channels
        )

    def forward(self, pictures: Tensor, maps: Sequence[Tensor] = ()) -> list[Tensor]:
        """How real each patch looks, higher for more real.

        Args:
            pictures: [B, 3, H, W] in [-1, 1].
            maps: The backbone's, of the same pictures, [B, C, h, w] each.

        Returns:
            [B, 1, h, w] of the pixels, then of every map.
        """
        judged = [head(values.float()) for head, values in zip(self.heads, maps, strict=True)]
        return [self.patches(pictures), *judged]


class Adversary:
    """A discriminator, how it learns, and what it asks of a decoder: the hinge loss."""

    def __init__(
        self, settings: DecoderSettings, channels: Sequence[int], device: torch.device
    ) -> None:
        """Set up with random weights.

        Args:
            settings: Width and learning rate.
            channels: Channels of each of a trained backbone's maps; none without one.
            device: Where it is computed.
        """
        self.discriminator = Discriminator(settings.discriminator_width, channels).to(device)
        self._optimizer = torch.optim.Adam(
            self.discriminator.parameters(), settings.discriminator_rate, betas=(0.5, 0.99)
        )

    def learn(
        self,
        real: tuple[Tensor, Sequence[Tensor]],
        decoded: tuple[Tensor, Sequence[Tensor]],
    ) -> Tensor:
        """One step of telling pictures from decoded ones.

        Args:
            real: Pictures and their maps.
            decoded: What the decoder made of the same ones, with maps. No gradient reaches them.

        Returns:
            The loss: 1 at first and where both look alike, 0 where all are told apart.
        """
        self.discriminator.train().requires_grad_(True)
        genuine = self.discriminator(*_detached(*real))
        made = self.discriminator(*_detached(*decoded))
        losses = [
            0.5 * (F.relu(1.0 - yes.float()).mean() + F.relu(1.0 + no.float()).mean())
            for yes, no in zip(genuine, made, strict=True)
        ]
        loss = torch.stack(losses).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def generator_loss(self, pictures: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """What a decoder has to lower to be taken for real; the discriminator does not learn.

        Args:
            pictures: Decoded, [B, 3, H, W] in [-1, 1].
            maps: The maps of these pictures.

        Returns:
            A scalar, below 0 where they look more real than not.
        """
        self.discriminator.eval().requires_grad_(False)
        judged = self.discriminator(pictures, maps)
        return -torch.stack([values.float().mean() for values in judged]).mean()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.discriminator.load_state_dict(state["discriminator"])
        self._optimizer.load_state_dict(state["optimizer"])


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    padding = (kernel - 1) // 2
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))


def _detached(pictures: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    return pictures.detach(), [values.detach() for values in maps]
