"""A classifier bundle with random weights, exported as a trained one is."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from porcelain.bundle import CLASSIFIER_MODEL_FILE, ClassifierInfo, write_manifest
from porcelain.domain import DOMAIN_FILE, encode_domain, fit_domain
from porcelain.files import write_bytes
from porcelain.occlusion import GRID

CLASSES = {"dynasty": 8, "glaze": 12, "kiln": 10, "type": 14}
SIZE = 224
PICTURES = 1000  # that likeness was learned from


def write_random_bundle(folder: Path, backbone: str, members: int = 1) -> Path:
    """Write a bundle to `folder`: as fast as a trained one, and as good as a coin.

    Args:
        folder: Where the bundle is to appear.
        backbone: A timm model name.
        members: Backbones that answer together, as `classifier train` leaves them.
    """
    import torch

    from training.classifier.export import export_onnx
    from training.classifier.model import MultiTaskClassifier

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    ones = dict.fromkeys(CLASSES, 1.0)
    model = MultiTaskClassifier(backbone, CLASSES, members=members)
    export_onnx(model, ones, SIZE, folder / CLASSIFIER_MODEL_FILE)
    # Trained ones tell likeness, too, and that takes its time.
    features = np.random.default_rng(0).normal(size=(PICTURES, model.heads[0].in_features))
    write_bytes(folder / DOMAIN_FILE, encode_domain(fit_domain(features)))
    labels = {task: [f"{task}_{i}" for i in range(count)] for task, count in CLASSES.items()}
    info = ClassifierInfo(
        labels=labels,
        label_counts={task: dict.fromkeys(names, 1) for task, names in labels.items()},
        input_size=SIZE,
        resize="letterbox",
        backbone=backbone,
        temperatures=ones,
        abstention_thresholds=dict.fromkeys(CLASSES, 0.5),
        selective_accuracy=0.95,
        activation_grid=GRID,
        in_domain_threshold=0.0,
    )
    write_manifest(
        folder, kind="classifier", name="random", dataset_digest="0" * 64, classifier=info
    )
    return folder


def chosen_bundle(options: argparse.Namespace, folder: Path) -> Path:
    """The bundle that the options of `add_input_options` name, or a random one below `folder`."""
    given: Path | None = options.bundle
    return given or write_random_bundle(folder / "bundle", options.backbone, options.members)
