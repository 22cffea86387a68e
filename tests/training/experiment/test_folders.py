"""The folders that a generator makes for an experiment: filtered, unfiltered, and untuned."""

# ruff: noqa: F811 - the fixtures are those of the generator's tests

from __future__ import annotations

import shutil

import pytest

from porcelain.dataset import load_dataset
from porcelain.errors import DatasetError, UserError
from porcelain.synthetic_picture import read_provenance
from tests.training.generator.conftest import (  # noqa: F401 - fixtures
    Painter,
    base,
    classifier,
    generator,
    photographs,
)
from training.data.split import read_split
from training.experiment.experiment import Running, run_experiment
from training.experiment.folders import GeneratorInputs, make_folders, roles_to_make
from training.experiment.preparation import Inputs
from training.experiment.records import read_results
from training.generator.synthesis.learned import Learned, read_learned

RATIOS = {"ratios": (0.0, 20.0), "folds": 2}


def ignore(done: int, total: int, note: str) -> None:
    """Hears nothing."""


def test_a_generator_fills_every_arm_and_only_what_it_has_not_seen_is_tested(
    tmp_path,
    monkeypatch,
    settings,
    generator,
    classifier,
    photographs,
    base,
):
    painter = Painter()
    monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: painter)
    settings = settings.model_copy(update=RATIOS)
    root = tmp_path / "experiment"
    run_experiment(
        Inputs(photographs, base_learned="none"),
        root,
        settings,
        generator=GeneratorInputs(generator, classifier, device="cpu", base_declared=True),
        running=Running(workers=1),
    )
    results = read_results(root)
    assert [arm.name for arm in results.experiment.arms] == [
        "real", "mix-80-20", "oversample-80-20", "untuned-80-20", "unfiltered-80-20", "routed",
    ]  # fmt: skip
    made = {role: root / "sources" / role for role in ("synthetic", "unfiltered", "untuned")}
    train = set(read_split(photographs / "split.json").names["train"])
    assert read_learned(made["synthetic"]).names == train
    assert read_learned(made["unfiltered"]).names == train
    # Its base has had no part in the LoRA's photographs, and does not say what it has seen itself.
    assert read_learned(made["untuned"]) == Learned(base_known=False)
    tested = {p.file_name for p in results.experiment.pictures if p.tested}
    assert tested
    assert not tested & train
    # The same plan, prompts and seeds, in three hands.
    pictures = {role: load_dataset(folder).records for role, folder in made.items()}
    assert [r.file_name for r in pictures["unfiltered"]] == [
        r.file_name for r in pictures["untuned"]
    ]
    for one, other in zip(pictures["unfiltered"], pictures["untuned"], strict=True):
        assert (one.extra["prompt"], one.extra["seed"]) == (
            other.extra["prompt"], other.extra["seed"],
        )  # fmt: skip
        data = (made["untuned"] / other.file_name).read_bytes()
        assert read_provenance(data).seed == int(other.extra["seed"])
        assert data != (made["unfiltered"] / one.file_name).read_bytes()
    units = {unit.key.arm.name: unit for unit in results.units if unit.key.fold == 0}
    assert len({len(units[n].added) for n in ("mix-80-20", "untuned-80-20")}) == 1


def test_an_untuned_base_that_does_not_say_what_it_has_learned_from_is_refused(
    tmp_path, settings, generator, photographs
):
    settings = settings.model_copy(update=RATIOS)
    inputs = GeneratorInputs(generator, device="cpu")
    with pytest.raises(DatasetError, match="--base-learned none"):
        make_folders(inputs, photographs, tmp_path, settings, ["untuned"], ignore)
    assert not (tmp_path / "sources").exists()


def test_what_is_made_stays_and_only_what_arms_need_is_made(
    tmp_path,
    monkeypatch,
    settings,
    generator,
    photographs,
):
    painter = Painter()
    monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: painter)
    settings = settings.model_copy(update=RATIOS)
    inputs = GeneratorInputs(generator, device="cpu")
    for _ in range(2):
        folders = make_folders(inputs, photographs, tmp_path, settings, ["unfiltered"], ignore)
    assert folders == {"unfiltered": str(tmp_path / "sources/unfiltered")}
    assert len(painter.sampled) == len(load_dataset(tmp_path / "sources/unfiltered"))
    assert roles_to_make(["mix", "oversample", "routed"], filtered=True) == ["synthetic"]
    assert roles_to_make(["mix-90-10", "untuned"], filtered=True) == ["synthetic", "untuned"]
    assert roles_to_make(None, filtered=False) == ["synthetic", "untuned"]


def test_a_generator_that_does_not_know_its_split_is_refused(
    tmp_path,
    settings,
    generator,
    photographs,
):
    bundle = tmp_path / "bundle"
    shutil.copytree(generator, bundle)
    (bundle / "split.json").unlink()
    with pytest.raises(UserError):
        make_folders(
            GeneratorInputs(bundle), photographs, tmp_path, settings, ["synthetic"], ignore
        )
