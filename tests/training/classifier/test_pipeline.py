"""The whole way on a small dataset: train, interrupt, go on, export, verify, load."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from accelerate.utils import set_seed
from PIL import Image
from safetensors.torch import load_file, save_file

from porcelain.bundle import CLASSIFIER_MODEL_FILE, Bundle, load_bundle, write_manifest
from porcelain.dataset import Dataset, Record, load_dataset, write_metadata
from porcelain.domain import DOMAIN_FILE, choose_threshold, load_domain
from porcelain.errors import DatasetError, UserError
from porcelain.occlusion import GRID
from porcelain.predictor import Predictor, label_prior
from porcelain.preparation import ResizeRule, load_and_prepare, prepare
from porcelain.similar import FEATURES_FILE, ROWS_FILE, has_index, load_index
from tests.training.classifier.conftest import (
    InterruptionError,
    check_interruption_within_the_second_member,
    draw,
)
from training.classifier import doubt
from training.classifier.bundling import export_again, write_classifier
from training.classifier.export import ServingModel
from training.classifier.features import Features, as_served
from training.classifier.model import MultiTaskClassifier, create_backbone
from training.classifier.pipeline import Reporter, fit, refit, train_classifier
from training.classifier.records import EpochRecord
from training.classifier.settings import TrainSettings
from training.classifier.similar import write_index


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    settings = TrainSettings(
        backbone="mobilenetv3_small_050",
        pretrained="none",
        epochs=14,
        batch_size=16,
        input_size=64,
        cached_size=73,
        learning_rate=4e-3,
        refit=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doubt, "LEAST_PICTURES", 5)  # six are enough for these drawings
        return train_classifier(photos, tmp_path_factory.mktemp("trained") / "bundle", settings)


def weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    return load_file(bundle.path / "model.safetensors")


def test_it_learns_what_can_be_seen(trained: Bundle, photos: Path) -> None:
    predictor = Predictor(trained)
    dataset = load_dataset(photos)
    held_out = json.loads((trained.path / "split.json").read_text())["subsets"]
    names = set(held_out["test"]) | set(held_out["validation"])
    records = [r for r in dataset.records if r.file_name in names]
    pictures = [load_and_prepare(dataset.path(r), 64) for r in records]
    answers = predictor.predict(pictures)
    right = [a["glaze"].label == r.labels["glaze"] for a, r in zip(answers, records, strict=True)]
    assert np.mean(right) > 0.7  # chance is a third


def test_the_bundle_says_what_it_is(trained: Bundle) -> None:
    info = trained.classifier
    assert info.labels["type"] == ["bowl", "vase"]
    assert sum(info.label_counts["glaze"].values()) == 48
    assert set(info.metrics) == set(info.labels)
    assert all(0 <= t <= 1 for t in info.abstention_thresholds.values())
    # Six validation pictures prove nothing, and the bundle says so.
    assert info.selective_confidence == 0.9
    assert set(info.abstention_caveats) == set(info.labels)
    assert "too few to guarantee" in info.abstention_caveats["glaze"]
    assert info.activation_grid == GRID
    training = json.loads((trained.path / "training.json").read_text())
    assert all(0 <= difference <= 1e-4 for difference in training["onnx_difference"].values())


def test_the_bundle_can_use_facts(trained: Bundle, photos: Path) -> None:
    facts = trained.classifier.known_facts
    assert facts is not None
    learned = load_dataset(photos) if facts.held_out_combinations else None
    total = sum(one.count for one in facts.combinations)
    if learned is not None:
        assert total == len(learned)
        assert sum(one.count for one in facts.held_out_combinations) < total
    tasks = set(trained.classifier.labels)
    assert set(facts.strengths) == tasks
    assert all(0 <= s <= 1 for row in facts.strengths.values() for s in row.values())
    prior = label_prior(trained.classifier)
    task, label = next(iter(facts.combinations[0].labels.items()))
    even = {t: np.full((1, len(n)), 1 / len(n)) for t, n in trained.classifier.labels.items()}
    for rows in prior.condition(even, [{task: label}]).values():
        assert rows.sum() == pytest.approx(1)


def test_the_graph_answers_as_torch_does(trained: Bundle) -> None:
    info = trained.classifier
    model = MultiTaskClassifier(info.backbone, {t: len(c) for t, c in info.labels.items()})
    model.load_state_dict(weights(trained))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        serving = ServingModel(model.eval(), info.temperatures)
        *expected, features = serving(torch.from_numpy(pictures))
    outputs = Predictor(trained).run(pictures, features=True)
    for task, value in zip(info.labels, expected, strict=True):
        np.testing.assert_allclose(outputs.probabilities[task], value.numpy(), atol=1e-4)
    assert outputs.features is not None
    np.testing.assert_allclose(outputs.features, features.numpy(), atol=1e-3)


def test_the_graph_holds_nothing_for_impossible(photos: Path) -> None:
    model = MultiTaskClassifier("mobilenetv3_small_050", {"glaze": 3})
    with torch.no_grad():
        model.heads[0].bias.copy_(torch.tensor([1e5, 0.0, -1e5]))
        answers = ServingModel(model.eval(), {"glaze": 0.1})(
            torch.zeros((1, 64, 64, 3), dtype=torch.uint8)
        )[0]
    assert answers.min() > 0
    assert answers.sum().item() == pytest.approx(1)


def test_the_domain_threshold_keeps_the_validation_pictures_that_it_should(
    trained: Bundle, photos: Path
) -> None:
    names = json.loads((trained.path / "split.json").read_text())["subsets"]["validation"]
    pictures = np.stack([load_and_prepare(photos / name, 64) for name in names])
    scores = Predictor(trained).run(pictures).domain
    assert scores is not None
    # As the exported graph scores them: the threshold was found with torch.
    assert trained.classifier.in_domain_threshold == pytest.approx(
        choose_threshold(scores), abs=1e-3
    )


def test_a_training_picture_is_like_itself_and_its_kind(trained: Bundle, photos: Path) -> None:
    assert has_index(trained)
    index = load_index(trained)
    names = json.loads((trained.path / "split.json").read_text())["subsets"]["train"]
    assert {picture.file_name for picture in index.pictures} == set(names)
    size, rule = trained.classifier.input_size, trained.classifier.resize
    pictures = np.stack([load_and_prepare(photos / name, size, rule) for name in names])
    features = Predictor(trained).run(pictures, features=True).features
    assert features is not None
    found = [index.search(row, len(names)) for row in features]
    assert all(match.thumbnail is None for matches in found for match in matches)
    labels = {record.file_name: record.labels["glaze"] for record in load_dataset(photos).records}
    for matches, name in zip(found, names, strict=True):
        scores = {match.picture.file_name: match.similarity for match in matches}
        assert scores[name] > 0.995  # drawings of one kind are all alike: another may be nearer
        assert matches[0].similarity - scores[name] < 0.005
    # What stands beside it looks as it does: chance is a third.
    others = [m[1].picture.labels["glaze"] == labels[n] for m, n in zip(found, names, strict=True)]
    assert np.mean(others) > 0.7


def test_with_few_validation_pictures_it_does_not_judge(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    one = settings.model_copy(update={"epochs": 1, "refit": False})
    said: list[str] = []
    bundle = train_classifier(
        photos, tmp_path / "bundle", one, similar="none", reporter=Reporter(message=said.append)
    )
    assert bundle.classifier.in_domain_threshold is None
    assert not (bundle.path / DOMAIN_FILE).exists()
    assert not has_index(bundle)
    assert said[-1] == "The bundle keeps no index of its training pictures."


@pytest.mark.parametrize(
    ("rule", "cached", "least"),
    [("letterbox-crop", 256, 45.0), ("letterbox-crop", 200, 30.0), ("letterbox", 256, 30.0)],
)
def test_remembered_pictures_are_seen_as_the_service_sees_them(
    rule: ResizeRule, cached: int, least: float
) -> None:
    settings = TrainSettings(input_size=224, cached_size=cached, resize=rule)
    ramp = np.linspace(0, 255, 600)
    pixels = np.stack([ramp[:450, None] + 0 * ramp, 0 * ramp[:450, None] + ramp], axis=2) % 256
    picture = Image.fromarray(np.dstack([pixels, pixels[..., 0] / 2]).astype(np.uint8))
    kept = prepare(picture, cached, settings.cached_rule())[np.newaxis]
    served = prepare(picture, 224, rule)
    difference = as_served(kept, settings)[0].astype(float) - served
    assert 10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)) > least


def test_copies_are_kept_of_what_may_be_shared_alone(photos: Path, tmp_path: Path) -> None:
    licences = ("CC0-1.0", "CC-BY-NC-4.0", "")
    records = tuple(
        replace(record, extra={"license": licences[i % 3]})
        for i, record in enumerate(load_dataset(photos).records[:9])
    )
    rows = np.random.default_rng(0).normal(0, 1, (9, 16)).astype(np.float32)
    features = Features(rows, rows[:0], rows, records)
    said = write_index(tmp_path, features, Dataset(photos, records), "thumbnails")
    assert "small copies of the 3" in said
    files = (FEATURES_FILE, ROWS_FILE)
    assert {path.name for path in tmp_path.iterdir()} == set(files)
    write_manifest(tmp_path, kind="classifier", name="n", dataset_digest="0")
    found = load_index(load_bundle(tmp_path, "classifier")).search(rows[0], 9)
    for match in found:
        shared = match.picture.license == "CC0-1.0"
        assert (match.thumbnail is not None) == shared
        if match.thumbnail is not None:
            assert max(Image.open(BytesIO(match.thumbnail)).size) <= 160


def test_label_sets_rest_on_every_known_validation_label(trained: Bundle, photos: Path) -> None:
    info = trained.classifier
    names = set(json.loads((trained.path / "split.json").read_text())["subsets"]["validation"])
    records = [r for r in load_dataset(photos).records if r.file_name in names]
    assert set(info.conformity) == set(info.labels)
    for task, scores in info.conformity.items():
        counts = {label: len(values) for label, values in scores.items()}
        known = [r.labels[task] for r in records]
        assert counts == {label: known.count(label) for label in info.labels[task]}
        assert all(0 <= score <= 1 for values in scores.values() for score in values)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    whole = fit(photos, tmp_path / "whole", settings).trained.trainers[0]

    def stop(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        fit(photos, tmp_path / "parts", settings, reporter=Reporter(epoch=stop))
    epochs: list[int] = []
    parts = fit(
        photos,
        tmp_path / "parts",
        settings,
        reporter=Reporter(epoch=lambda record: epochs.append(record.epoch)),
    ).trained.trainers[0]
    assert epochs == [3]
    expected = whole.model.state_dict()
    for name, value in parts.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    histories = [
        [(record.loss, record.f1_macro, record.score) for record in trainer.progress.history]
        for trainer in (whole, parts)
    ]
    assert histories[0] == histories[1]


@pytest.fixture
def several(tmp_path: Path, settings: TrainSettings) -> TrainSettings:
    """Two members that begin with weights of a file."""
    save_file(create_backbone(settings.backbone).state_dict(), tmp_path / "start.safetensors")
    start = str(tmp_path / "start.safetensors")
    return settings.model_copy(update={"members": 2, "epochs": 2, "pretrained": start})


def test_members_begin_alike_and_go_their_own_ways(
    photos: Path, tmp_path: Path, several: TrainSettings
) -> None:
    fitted = fit(photos, tmp_path / "work", several)
    start = load_file(tmp_path / "start.safetensors")
    first, second = fitted.initial
    assert all(torch.equal(first[f"backbone.{name}"], value) for name, value in start.items())
    assert all(torch.equal(second[f"backbone.{name}"], value) for name, value in start.items())
    assert not torch.equal(first["heads.0.weight"], second["heads.0.weight"])
    # The first is what one alone would have become.
    alone = fit(photos, tmp_path / "alone", several.model_copy(update={"members": 1})).trained
    one, other = (trainer.model.state_dict() for trainer in fitted.trained.trainers)
    assert all(torch.equal(one[name], value) for name, value in alone.model.state_dict().items())
    assert not torch.equal(one["backbone.conv_stem.weight"], other["backbone.conv_stem.weight"])


def test_interrupted_within_the_second_member_it_ends_as_uninterrupted(
    photos: Path, tmp_path: Path, several: TrainSettings
) -> None:
    check_interruption_within_the_second_member(photos, tmp_path, several)


def test_a_bundle_of_several_is_one_graph_that_can_be_exported_again(
    photos: Path, tmp_path: Path, several: TrainSettings
) -> None:
    said: list[str] = []
    bundle = train_classifier(
        photos, tmp_path / "bundle", several, reporter=Reporter(message=said.append)
    )
    # Measured and served model, two members each.
    assert [line for line in said if line.startswith("Model")] == [
        "Model 1 of 2",
        "Model 2 of 2",
    ] * 2
    training = json.loads((bundle.path / "training.json").read_text())
    assert training["refit_epochs"] == [one["best_epoch"] for one in training["members"]]
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    first = Predictor(bundle).run(pictures, features=True)
    export_again(bundle.path, tmp_path / "again")
    again = Predictor(load_bundle(tmp_path / "again", "classifier")).run(pictures, features=True)
    for task, value in first.probabilities.items():
        np.testing.assert_allclose(again.probabilities[task], value, atol=1e-5)
    assert first.features is not None
    assert first.features.shape[1] % 2 == 0


@pytest.mark.parametrize(
    ("pretrained", "asked", "trained"), [("none", None, 1), ("none", 2, 2), ("file", None, 3)]
)
def test_how_many_members_there_are_unless_asked_for(
    photos: Path, tmp_path: Path, several: TrainSettings, pretrained: str, asked: int, trained: int
) -> None:
    start = several.pretrained if pretrained == "file" else pretrained
    short = several.model_copy(update={"members": asked, "epochs": 1, "pretrained": start})
    assert len(fit(photos, tmp_path / "work", short).trained.trainers) == trained


def test_other_settings_begin_anew(photos: Path, tmp_path: Path, settings: TrainSettings) -> None:
    fit(photos, tmp_path / "work", settings.model_copy(update={"epochs": 1}))
    trainer = fit(
        photos, tmp_path / "work", settings.model_copy(update={"epochs": 2})
    ).trained.trainers[0]
    assert [record.epoch for record in trainer.progress.history] == [1, 2]
    fresh = fit(
        photos, tmp_path / "fresh", settings.model_copy(update={"epochs": 2})
    ).trained.trainers[0]
    assert [r.loss for r in trainer.progress.history] == [r.loss for r in fresh.progress.history]


def test_the_backbone_rests_while_it_is_frozen(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    start = create_backbone(settings.backbone)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    frozen = settings.model_copy(
        update={
            "pretrained": str(tmp_path / "start.safetensors"),
            "epochs": 2,
            "frozen_epochs": 2,
            "averaging": 0.0,
            "members": 1,
        }
    )
    model = fit(photos, tmp_path / "work", frozen).trained.model
    for name, value in start.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
    set_seed(frozen.seed)
    classes = {task: head.out_features for task, head in zip(model.tasks, model.heads, strict=True)}
    untrained = MultiTaskClassifier(settings.backbone, classes)
    assert not torch.equal(model.heads[0].weight, untrained.heads[0].weight)


def test_the_final_model_learns_from_every_picture_and_the_measured_one_is_kept(
    photos: Path, tmp_path: Path, settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubt, "LEAST_PICTURES", 5)  # six are enough for these drawings
    first = fit(photos, tmp_path / "work", settings)
    final = refit(first, tmp_path / "work/refit")
    assert len(first.trained.trainers[0].train_data.labels) == 48
    assert len(final.trainers[0].train_data.labels) == 60
    assert len(final.trainers[0].progress.history) == first.trained.trainers[0].progress.best_epoch
    (tmp_path / "bundle").mkdir()
    write_classifier(tmp_path / "bundle", first, "test", final)
    bundle = load_bundle(tmp_path / "bundle", "classifier")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    graphs = (CLASSIFIER_MODEL_FILE, bundle.measured_graph)
    outputs = [Predictor(bundle, graph=graph).run(pictures) for graph in graphs]
    served, measured = (answered.probabilities["glaze"] for answered in outputs)
    for trained, answered in ((final, served), (first.trained, measured)):
        graph = ServingModel(trained.model.eval(), bundle.classifier.temperatures)
        with torch.no_grad():
            expected = graph(torch.from_numpy(pictures))[1].numpy()
        np.testing.assert_allclose(answered, expected, atol=1e-4)
    assert np.abs(served - measured).max() > 1e-4
    # Each has its own memory of what it has learned from.
    every, train = (load_domain((bundle.path / graph).with_name(DOMAIN_FILE)) for graph in graphs)
    assert np.abs(every.mean - train.mean).max() > 1e-3
    assert all(answered.domain is not None for answered in outputs)


def test_prior_correction_moves_only_the_heads_biases(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    plain, corrected = (
        fit(
            photos,
            tmp_path / f"work-{share}",
            settings.model_copy(update={"epochs": 1, "prior_correction": share}),
        ).trained.trainers[0]
        for share in (0.0, 1.0)
    )
    for name, value in plain.model.state_dict().items():
        if not name.startswith("heads.") or not name.endswith(".bias"):
            assert torch.equal(value, corrected.model.state_dict()[name]), name
    for task, before, after in zip(
        plain.model.tasks, plain.model.heads, corrected.model.heads, strict=True
    ):
        shift = before.bias - after.bias
        assert torch.allclose(shift, plain.log_priors[task], atol=1e-5)
        assert shift.max() <= 0


def test_bad_pictures_are_left_out_and_named(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    (copy / "images/000.jpg").write_bytes(b"")
    (copy / "images/001.jpg").write_bytes((copy / "images/001.jpg").read_bytes()[:300])
    said: list[str] = []
    short = settings.model_copy(update={"epochs": 1})
    fitted = fit(copy, tmp_path / "work", short, reporter=Reporter(message=said.append))
    assert len([line for line in said if line.startswith("Left out images/00")]) == 2
    assert sum(len(part.labels) for part in fitted.pictures.values()) == 58


def test_a_task_without_labels_is_left_out(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    records = [
        Record(r.file_name, {**r.labels, "kiln": None}, r.object_id)
        for r in load_dataset(copy).records
    ]
    write_metadata(copy, records)
    short = settings.model_copy(update={"epochs": 1, "refit": False})
    bundle = train_classifier(copy, tmp_path / "bundle", short)
    assert list(bundle.classifier.labels) == ["dynasty", "glaze", "type"]
    assert Predictor(bundle).tasks == ("dynasty", "glaze", "type")


def test_what_cannot_work_is_refused(photos: Path, tmp_path: Path, settings: TrainSettings) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        train_classifier(tmp_path / "nowhere", tmp_path / "bundle", settings)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    with pytest.raises(UserError, match="--overwrite"):
        train_classifier(photos, tmp_path / "taken", settings)


def test_explanations_fit_the_bundle_and_point_at_the_vessel(trained: Bundle) -> None:
    drawn = draw("blue_and_white", tall=True, seed=400)
    pictures = prepare(drawn, 64, trained.classifier.resize)[np.newaxis]
    maps = Predictor(trained).run(pictures, activation=True).activation
    assert maps is not None
    assert maps.shape == (1, 4, *GRID)
    glaze = np.maximum(maps[0, list(trained.classifier.labels).index("glaze")], 0)
    assert glaze[:, 4:10].sum() > 0.6 * glaze.sum()  # the vessel is in the middle six columns


def test_the_graph_holds_answers_and_features_alone(trained: Bundle) -> None:
    graph = onnx.load(trained.path / "model.onnx").graph
    assert [output.name for output in graph.output] == [*trained.classifier.labels, "features"]


def test_exporting_again_keeps_the_answers(trained: Bundle, tmp_path: Path) -> None:
    difference = export_again(trained.path, tmp_path / "again")
    assert difference <= 1e-4
    again = load_bundle(tmp_path / "again", "classifier")
    assert again.classifier.activation_grid == GRID
    pictures = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    first, second = (Predictor(b).run(pictures).probabilities for b in (trained, again))
    for task, value in first.items():
        np.testing.assert_allclose(second[task], value, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_one_model(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    command += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "-m", "porcelain", "classifier", "train"]
    command += ["--data", str(photos), "--out", str(tmp_path / "bundle"), "--epochs", "2"]
    command += ["--backbone", "mobilenetv3_small_050", "--pretrained", "none"]
    command += ["--input-size", "64", "--batch-size", "16", "--rendered", "none"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    history = json.loads((tmp_path / "bundle/training.json").read_text())["members"][0]["history"]
    assert [record["epoch"] for record in history] == [1, 2]
    assert Predictor(load_bundle(tmp_path / "bundle", "classifier")).tasks
