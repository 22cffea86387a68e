"""Distance between pictures as a trained backbone sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from training.classifier.bundling import TRAINING_FILE, read_weights
from training.classifier.model import (
    backbones_of,
    create_backbone,
    load_hub_weights,
    load_weights_file,
)

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
        config = backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1))
        self.name = f"{backbone_name} ({source})"
        self.recipe = recipe

    def train(self, mode: bool = True) -> FeatureDistance:
        """Its batch norms stay as they are."""
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
        """Of every map."""
        channels: list[int] = self.features.feature_info.channels()
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
            "seed",
        )
        if option in settings
    ]
    command = ["porcelain classifier train --data DATA", f"--out {bundle.name}", *options]
    return " ".join(command) + ("" if settings.get("refit", True) else " --no-refit")


def _unit(features: Tensor) -> Tensor:
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + 1e-8)
