from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from porcelain.errors import UserError
from training.classifier.model import (
    MultiTaskClassifier,
    backbones_of,
    create_backbone,
    load_weights_file,
    side_by_side,
)

CLASSES = {"dynasty": 6, "glaze": 4, "type": 3}
SMALL = "mobilenetv3_small_050"


def test_one_backbone_answers_every_task() -> None:
    model = MultiTaskClassifier(SMALL, CLASSES).eval()
    logits = model(torch.zeros(2, 3, 64, 64))
    assert {task: value.shape for task, value in logits.items()} == {
        task: (2, n) for task, n in CLASSES.items()
    }


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UserError, match="mobilenetv3_large_100"):
        create_backbone("mobilenet_v3_large_100")


def test_weights_file_is_loaded_exactly(tmp_path: Path) -> None:
    source, target = create_backbone(SMALL), create_backbone(SMALL)
    # A published file carries a classifier, which is left out.
    state = {**source.state_dict(), "classifier.weight": torch.zeros(10, 1024)}
    save_file(state, tmp_path / "weights.safetensors")
    load_weights_file(target, tmp_path / "weights.safetensors")
    for name, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(create_backbone("mobilenetv3_small_075").state_dict(), path)
    with pytest.raises(UserError, match="does not fit the backbone"):
        load_weights_file(create_backbone(SMALL), path)


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_missing_or_broken_weights_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"no such file|not a readable safetensors"):
        load_weights_file(create_backbone(SMALL), path)


def test_models_side_by_side_answer_with_the_mean_of_their_logits() -> None:
    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        models.append(MultiTaskClassifier(SMALL, CLASSES).eval())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = side_by_side(models).eval()
        answers = whole(images)
        alone = [model(images) for model in models]
        features = whole.features(whole.feature_map(images))
    for task in CLASSES:
        torch.testing.assert_close(answers[task], torch.stack([a[task] for a in alone]).mean(0))
    assert features.shape == (2, 3 * models[0].heads[0].in_features)
    mean, _ = whole.normalisation()
    assert torch.equal(mean, models[0].normalisation()[0])


@pytest.mark.parametrize("count", [1, 2])
def test_every_backbone_is_found_in_the_weights(count: int) -> None:
    models = [MultiTaskClassifier(SMALL, CLASSES) for _ in range(count)]
    found = backbones_of(side_by_side(models).state_dict())
    assert len(found) == count
    for state, model in zip(found, models, strict=True):
        wanted = model.backbone.state_dict()
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[name], value) for name, value in wanted.items())


def test_one_model_beside_none_is_itself() -> None:
    model = MultiTaskClassifier(SMALL, CLASSES)
    for name, value in side_by_side([model]).state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
