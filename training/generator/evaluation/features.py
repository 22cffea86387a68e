"""Feature spaces in which sets of pictures are compared: a classifier's, or a timm backbone's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from porcelain.images import decode_image
from porcelain.predictor import Predictor
from porcelain.preparation import DEFAULT_SIZE, Pixels, ResizeRule, prepare
from training.classifier.evaluation.inference import (
    Answers,
    ProgressCallback,
    answer,
    decoded_batches,
)

Features = npt.NDArray[np.float32]

_RULE: ResizeRule = "letterbox-crop"


@dataclass(frozen=True)
class ExtractedFeatures:
    """What a space says of readable pictures.

    Attributes:
        readable: Indices of the files that could be read, [N].
        features: [N, F].
    """

    readable: npt.NDArray[np.int64]
    features: Features


class FeatureSpace(Protocol):
    """Turns picture files into features.

    Attributes:
        name: What the space is, for whoever reads a distance measured in it.
    """

    name: str

    def describe(
        self, paths: Sequence[Path], on_progress: ProgressCallback | None = None
    ) -> ExtractedFeatures:
        """Features of every file that can be read."""
        ...


class ClassifierSpace:
    """The shared features of a classifier bundle; its probabilities come with them.

    Attributes:
        name: What the space is, for whoever reads a distance measured in it.
        classes: The classifier's labels per task, in index order.
    """

    def __init__(self, predictor: Predictor, graph: str, longest_side: int | None) -> None:
        """Describe by a classifier.

        Args:
            predictor: Runs the graph.
            graph: The graph's file in the bundle, for the name.
            longest_side: Larger pictures are first made as small as this; None leaves them.
        """
        bundle = predictor.bundle
        digest = bundle.manifest.digest()
        self.name = f"classifier {bundle.manifest.name} {digest[:12]}, features of {graph}"
        self._predictor = predictor
        info = predictor.info
        self.classes = info.labels
        self._load = loader(info.input_size, info.resize, longest_side)

    def answers(
        self, paths: Sequence[Path], on_progress: ProgressCallback | None = None
    ) -> Answers:
        """Probabilities and features of every file that can be read."""
        return answer(self._predictor, paths, on_progress, features=True, load=self._load)

    def describe(
        self, paths: Sequence[Path], on_progress: ProgressCallback | None = None
    ) -> ExtractedFeatures:
        """As `Space.describe`."""
        return features_of(self.answers(paths, on_progress))


class BackboneSpace:
    """The pooled features of a timm backbone, in the weights of a file."""

    def __init__(self, backbone: str, weights: Path, longest_side: int | None) -> None:
        """Load a backbone.

        Args:
            backbone: timm's model name.
            weights: A safetensors file in timm's layout.
            longest_side: Larger pictures are first made as small as this; None leaves them.

        Raises:
            UserError: No such backbone, or the file does not fit it.
        """
        import torch

        from training.classifier.model import create_backbone, load_weights_file

        self.name = f"timm {backbone}, weights {weights.name}"
        model: Any = create_backbone(backbone)
        load_weights_file(model, weights)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.eval().to(self._device)
        self._load = loader(DEFAULT_SIZE, _RULE, longest_side)

    def describe(
        self, paths: Sequence[Path], on_progress: ProgressCallback | None = None
    ) -> ExtractedFeatures:
        """As `Space.describe`."""
        readable: list[int] = []
        parts: list[Features] = []
        done = 0
        for batch in decoded_batches(paths, self._load):
            pictures = [(index, pixels) for index, pixels in batch if not isinstance(pixels, str)]
            if pictures:
                readable += [index for index, _ in pictures]
                parts.append(self._features(np.stack([pixels for _, pixels in pictures])))
            done += len(batch)
            if on_progress is not None:
                on_progress(done, len(paths))
        features = np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)
        return ExtractedFeatures(np.asarray(readable, dtype=np.int64), features)

    def _features(self, pictures: npt.NDArray[np.uint8]) -> Features:
        import torch

        config = self._model.pretrained_cfg
        with torch.inference_mode():
            images = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float() / 255
            mean = torch.tensor(config["mean"], device=self._device).view(1, 3, 1, 1)
            std = torch.tensor(config["std"], device=self._device).view(1, 3, 1, 1)
            maps = self._model.forward_features((images - mean) / std)
            pooled = self._model.forward_head(maps, pre_logits=True)
        features: Features = pooled.float().cpu().numpy()
        return features


def features_of(answers: Answers) -> ExtractedFeatures:
    """The features among a classifier's answers."""
    features = answers.features
    if features is None:
        features = np.zeros((0, 0), dtype=np.float32)
    return ExtractedFeatures(answers.readable, features)


def loader(size: int, rule: ResizeRule, longest_side: int | None) -> Callable[[Path], Pixels]:
    """A function that makes a file the model's input.

    Args:
        size: Side of the model's input in pixels.
        rule: How a picture fills it.
        longest_side: Larger pictures are first made as small as this, so that photographs have
            no more detail than generated pictures of that size can have; None leaves them.
    """

    def load(path: Path) -> Pixels:
        picture = decode_image(path.read_bytes(), longest_side=longest_side).pixels
        if longest_side is not None:
            picture.thumbnail((longest_side, longest_side), Image.Resampling.BICUBIC)
        return prepare(picture, size, rule)

    return load
