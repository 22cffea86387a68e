"""When an answer may be none of the labels that the model knows."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import torch

from porcelain.dataset import Record
from training.classifier.doubt import none_of_these
from training.classifier.records import LabelledPictures
from training.classifier.trained import Trained


def validation(labels: list[int], objects: int) -> tuple[Trained, LabelledPictures, np.ndarray]:
    """Pictures of which the model is ever surer; the first of each object counts."""
    logits = np.stack([np.linspace(0, 4, len(labels)), np.zeros(len(labels))], axis=1)
    records = tuple(
        Record(f"{i}.jpg", {"kiln": None}, f"{i % objects}") for i in range(len(labels))
    )
    trained = SimpleNamespace(tasks=("kiln",), predict=lambda _: {"kiln": logits})
    pictures = SimpleNamespace(pictures=None, labels=torch.tensor(labels)[:, None], records=records)
    greatest = 1 / (1 + np.exp(-logits[:, 0]))
    return cast("Trained", trained), cast("LabelledPictures", pictures), greatest


def test_nineteen_of_twenty_known_pictures_reach_the_threshold() -> None:
    trained, pictures, greatest = validation([0] * 39, objects=39)
    least = none_of_these(trained, pictures, {"kiln": 1.0})["kiln"]
    assert np.isclose(least, greatest[1], atol=1e-3)


def test_only_known_labels_and_one_picture_of_an_object_count() -> None:
    # The ten least sure have no label; of the others, every object's second picture is left out.
    trained, pictures, greatest = validation([-1] * 10 + [0] * 40, objects=30)
    least = none_of_these(trained, pictures, {"kiln": 1.0})["kiln"]
    assert np.isclose(least, greatest[10], atol=1e-3)


def test_from_fewer_than_nineteen_nothing_follows() -> None:
    trained, pictures, _ = validation([0] * 18, objects=18)
    assert none_of_these(trained, pictures, {"kiln": 1.0}) == {}
    assert none_of_these(*validation([0] * 19, objects=19)[:2], {"kiln": 1.0})
