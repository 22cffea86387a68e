"""Whole experiments, small: resumed, shared out, repeated, grown, and refused where they leak."""

from __future__ import annotations

import json
import math
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from porcelain.dataset import load_dataset, write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.files import sha256_file
from tests.training.experiment.conftest import LEARNED, PHOTOGRAPHS, make_synthetic
from training.data.split import make_folds, write_split
from training.experiment.experiment import Running, Shard, run_experiment
from training.experiment.folds import folds_of
from training.experiment.preparation import Inputs, Reporter, prepare
from training.experiment.records import (
    Results,
    UnitKey,
    read_experiment,
    read_results,
    unit_folder,
    unit_keys,
)
from training.experiment.settings import ExperimentSettings
from training.generator.synthesis.learned import LEARNED_FILE, Learned, write_learned

ARMS = ["real", "mix", "oversample", "routed"]


@pytest.fixture(scope="module")
def inputs(photographs, synthetic) -> Inputs:
    return Inputs(photographs, {"synthetic": str(synthetic)})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, inputs, settings) -> Path:
    """All arms in both folds, one after the other in this process."""
    root = tmp_path_factory.mktemp("finished") / "experiment"
    run_experiment(inputs, root, settings, arms=ARMS, running=Running(workers=1))
    return root


def values(results: Results) -> dict[tuple[str, ...], str]:
    """Every measure, to the last digit, by what it is of."""
    columns = ("seed", "fold", "arm", "ratio", "task", "split", "metric")
    return {
        tuple(str(row[column]) for column in columns): str(row["value"])
        for row in results.records.to_pylist()
    }


def test_every_unit_leaves_records_and_every_tested_picture_is_tested_once(finished):
    results = read_results(finished)
    assert not results.missing
    assert [arm.name for arm in results.experiment.arms] == [
        "real", "mix-90-10", "mix-80-20", "oversample-90-10", "oversample-80-20", "routed",
    ]  # fmt: skip
    assert len(results.units) == 12
    tested = {p.file_name for p in results.experiment.pictures if p.tested}
    assert len(tested) == PHOTOGRAPHS - LEARNED
    table = results.predictions.to_pylist()
    for arm, ratio in {(row["arm"], str(row["ratio"])) for row in table}:
        answers = [
            (row["file_name"], row["task"])
            for row in table
            if (row["arm"], str(row["ratio"]), row["split"]) == (arm, ratio, "test")
        ]
        assert sorted(answers) == sorted(
            (name, t) for name in tested for t in results.experiment.tasks
        )
    for row in table[::37]:
        labels = results.experiment.labels[row["task"]]
        assert labels[int(np.argmax(row["probabilities"]))] == row["predicted"]
        assert math.isclose(sum(row["probabilities"]), 1, abs_tol=1e-4)
        if row["truth"] is None:
            assert row["probability_of_truth"] is None
        else:
            expected = row["probabilities"][labels.index(row["truth"])]
            assert math.isclose(row["probability_of_truth"], expected, abs_tol=1e-6)


def test_synthetic_pictures_and_what_they_have_learned_from_are_never_judged_by(finished):
    experiment = read_experiment(finished)
    kept = {i for i, picture in enumerate(experiment.pictures) if not picture.tested}
    assert {experiment.pictures[i].file_name for i in kept} == {
        f"{i:03}.jpg" for i in range(LEARNED)
    }
    for parts in folds_of(experiment, 0, finished):
        assert kept <= set(parts.train)
        objects = [
            {experiment.pictures[i].object_id for i in part}
            for part in (parts.train, parts.validation, parts.test)
        ]
        assert not objects[0] & objects[1]
        assert not objects[0] & objects[2]
        assert not objects[1] & objects[2]
    names = set(read_results(finished).predictions["file_name"].to_pylist())
    assert all(name.endswith(".jpg") for name in names)


def test_the_streams_are_recorded_as_the_same_in_all_arms(finished):
    results = read_results(finished)
    for fold in (0, 1):
        units = [unit for unit in results.units if unit.key.fold == fold]
        assert len({unit.digests["initial"] for unit in units}) == 1
        assert len({unit.digests["stream"] for unit in units}) == 1
        assert len({unit.steps for unit in units}) == 1
        added = {unit.key.arm.name: len(unit.added) for unit in units}
        assert added["real"] == 0
        assert added["mix-90-10"] == added["oversample-90-10"] > 0
        assert added["mix-80-20"] == added["oversample-80-20"] > added["mix-90-10"]


def test_oversampling_copies_real_training_pictures_after_the_mix_s_plan(finished):
    results = read_results(finished)
    units = {(unit.key.fold, unit.key.arm.name): unit for unit in results.units}
    for fold, parts in enumerate(folds_of(results.experiment, 0, finished)):
        train = {results.experiment.pictures[i].file_name for i in parts.train}
        copies = units[fold, "oversample-80-20"]
        assert set(copies.added) <= train
        mixed = units[fold, "mix-80-20"].added_counts
        assert mixed["type"] == copies.added_counts["type"]
        assert mixed["glaze"] == copies.added_counts["glaze"]


def test_routing_follows_validation(finished):
    results = read_results(finished)
    routed = [unit for unit in results.units if unit.key.arm.kind == "routed"]
    table = results.predictions.to_pylist()
    for unit in routed:
        assert unit.used_for is not None
        for task, chosen in unit.used_for.items():
            losses = {}
            for ratio, arm in ((0.0, "real"), (10.0, "mix"), (20.0, "mix")):
                rows = [
                    row
                    for row in table
                    if (row["fold"], row["arm"], row["ratio"]) == (unit.key.fold, arm, ratio)
                    and (row["task"], row["split"]) == (task, "validation")
                    and row["truth"] is not None
                ]
                kinds = {row["truth"] for row in rows}
                losses[ratio] = np.mean(
                    [
                        np.mean(
                            [-math.log(r["probability_of_truth"]) for r in rows if r["truth"] == k]
                        )
                        for k in kinds
                    ]
                )
            assert losses[chosen] == pytest.approx(min(losses.values()))


@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["in turn", "side by side"]
)
def test_the_same_arm_and_seed_gives_the_same_numbers_again_and_in_shards(
    tmp_path, inputs, settings, finished, workers
):
    expected = values(read_results(finished))
    roots = [tmp_path / "first", tmp_path / "second"]
    for index, root in enumerate(roots):
        running = Running(Shard(index, 2), workers=workers)
        _, outcome = run_experiment(inputs, root, settings, arms=ARMS, running=running)
        assert outcome.done == outcome.trained == 6
    results = read_results(*roots)
    assert not results.missing
    assert values(results) == expected


class InterruptionError(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["in turn", "side by side"]
)
def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(
    tmp_path, inputs, settings, finished, workers
):
    root = tmp_path / "experiment"
    running = Running(workers=workers)

    def stop(done: int, total: int, note: str) -> None:
        assert total == 12
        if done == 4:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        run_experiment(
            inputs, root, settings, arms=ARMS, running=running, reporter=Reporter(units=stop)
        )
    assert not multiprocessing.active_children()
    done = units_of(root)
    assert len(done) >= 4
    _, outcome = run_experiment(inputs, root, settings, arms=ARMS, running=running)
    assert outcome.trained == 12 - len(done)
    now = units_of(root)
    assert len(now) == 12
    assert done.items() <= now.items()
    assert values(read_results(root)) == values(read_results(finished))


def units_of(root: Path) -> dict[str, int]:
    """When each finished unit was written."""
    folders = (root / "units").iterdir()
    return {path.name: path.stat().st_mtime_ns for path in folders if path.name[0] != "."}


def test_an_experiment_grows_by_seeds_arms_and_folders(
    tmp_path, photographs, synthetic, untuned, settings
):
    root = tmp_path / "experiment"
    small = settings.model_copy(update={"ratios": (0.0, 10.0)})
    first = Inputs(photographs, {"synthetic": str(synthetic)})
    run_experiment(first, root, small, arms=["real"], running=Running(workers=1))
    both = Inputs(photographs, {"synthetic": str(synthetic), "untuned": str(untuned)})
    more = small.model_copy(update={"seeds": 2})
    _, outcome = run_experiment(
        both, root, more, arms=["real", "untuned"], running=Running(workers=1)
    )
    assert (outcome.done, outcome.trained) == (8, 6)
    experiment = read_experiment(root)
    assert experiment.seeds == [0, 1]
    assert experiment.sources.keys() == {"synthetic", "untuned"}
    assert folds_of(experiment, 0, root) != folds_of(experiment, 1, root)
    other = more.model_copy(update={"training": more.training.model_copy(update={"epochs": 1})})
    with pytest.raises(UserError, match=r"another experiment.*epochs"):
        run_experiment(both, root, other)
    with pytest.raises(UserError, match=r"another experiment.*folds"):
        run_experiment(both, root, more.model_copy(update={"folds": 3}))
    run_experiment(both, root, small, arms=["real"], running=Running(workers=1), overwrite=True)
    assert len(unit_keys(read_experiment(root))) == len(list((root / "units").iterdir())) == 2


def test_routed_does_not_change_its_candidates(tmp_path, inputs, settings):
    root = tmp_path / "experiment"
    one = settings.model_copy(update={"ratios": (0.0, 10.0)})
    prepare(inputs, root, one, ["mix", "routed"])
    with pytest.raises(UserError, match="routed has chosen"):
        prepare(inputs, root, settings, ["mix"])


def test_folders_that_do_not_say_what_they_have_learned_from_are_refused(
    tmp_path, photographs, settings
):
    folder = make_synthetic(tmp_path / "synthetic", photographs)
    (folder / LEARNED_FILE).unlink()
    inputs = Inputs(photographs, {"synthetic": str(folder)})
    with pytest.raises(DatasetError, match="does not say which photographs"):
        prepare(inputs, tmp_path / "experiment", settings)
    split = make_folds(load_dataset(photographs), 2, groups=())[0]
    write_split(tmp_path / "split.json", split)
    untaught = prepare(replace(inputs, learned="none"), tmp_path / "untaught", settings)
    assert all(picture.tested for picture in untaught.experiment.pictures)
    declared = replace(inputs, learned=str(tmp_path / "split.json"))
    prepared = prepare(declared, tmp_path / "experiment", settings)
    kept = {p.file_name for p in prepared.experiment.pictures if not p.tested}
    assert kept == set(split.names["train"])


def test_what_an_untuned_base_may_have_seen_is_declared(
    tmp_path, photographs, untuned, synthetic, settings
):
    folder = shutil.copytree(untuned, tmp_path / "untuned")
    (folder / LEARNED_FILE).unlink()
    inputs = Inputs(photographs, {"untuned": str(folder)})
    with pytest.raises(DatasetError, match="--base-learned none"):
        prepare(inputs, tmp_path / "experiment", settings)
    split = make_folds(load_dataset(photographs), 2, groups=())[0]
    write_split(tmp_path / "split.json", split)
    unseen = prepare(replace(inputs, base_learned="none"), tmp_path / "unseen", settings)
    assert all(picture.tested for picture in unseen.experiment.pictures)
    declared = replace(inputs, base_learned=str(tmp_path / "split.json"))
    prepared = prepare(declared, tmp_path / "experiment", settings)
    kept = {p.file_name for p in prepared.experiment.pictures if not p.tested}
    assert kept == set(split.names["train"])
    # A tuned generator's base that does not say is a note, and so is an old folder's.
    old = shutil.copytree(synthetic, tmp_path / "old")
    content = json.loads((old / LEARNED_FILE).read_text())
    del content["base_known"]
    (old / LEARNED_FILE).write_text(json.dumps(content))
    noted = prepare(Inputs(photographs, {"synthetic": str(old)}), tmp_path / "noted", settings)
    assert any("--base-learned" in note for note in noted.experiment.notes)


def test_a_generator_is_not_tested_on_what_its_base_has_learned_from(
    tmp_path, photographs, synthetic, settings
):
    folder = shutil.copytree(synthetic, tmp_path / "synthetic")
    seen = load_dataset(photographs).records[40].file_name
    write_learned(folder, Learned(trained=frozenset({sha256_file(photographs / seen)})))
    root = tmp_path / "experiment"
    prepared = prepare(Inputs(photographs, {"synthetic": str(folder)}), root, settings)
    untested = {p.file_name for p in prepared.experiment.pictures if not p.tested}
    assert seen in untested
    assert len(untested) == 2  # both photographs of its object


def test_fixed_folds_take_a_folder_each_and_refuse_one_that_knows_the_answers(
    tmp_path, photographs, settings
):
    dataset = load_dataset(photographs)
    splits = make_folds(dataset, 2, seed=5, groups=())
    (tmp_path / "folds").mkdir()
    for fold, split in enumerate(splits):
        write_split(tmp_path / f"folds/fold-{fold}.json", split)
        folder = make_synthetic(tmp_path / f"made-{fold}", photographs, start=1000 * (fold + 1))
        write_learned(folder, Learned(names=frozenset(split.names["train"])))
    pattern = {"synthetic": str(tmp_path / "made-{fold}")}
    with pytest.raises(UserError, match="--splits"):
        prepare(Inputs(photographs, pattern), tmp_path / "none", settings)
    inputs = Inputs(photographs, pattern, splits=tmp_path / "folds")
    root = tmp_path / "experiment"
    small = settings.model_copy(update={"ratios": (0.0, 10.0), "seeds": 2})
    run_experiment(inputs, root, small, arms=["real", "mix"], running=Running(workers=1))
    results = read_results(root)
    assert all(picture.tested for picture in results.experiment.pictures)
    for seed in (0, 1):
        for fold, parts in enumerate(folds_of(results.experiment, seed, root)):
            names = [results.experiment.pictures[i].file_name for i in parts.test]
            assert names == list(splits[fold].names["test"])
    wrong = {"synthetic": str(tmp_path / "made-0")}
    with pytest.raises(DatasetError, match=r"learned from .* judged by"):
        prepare(Inputs(photographs, wrong, splits=tmp_path / "folds"), tmp_path / "leak", settings)


def test_folds_are_drawn_anew_where_no_folder_binds_them(tmp_path, photographs, untuned, settings):
    splits = make_folds(load_dataset(photographs), 2, seed=5, groups=())
    (tmp_path / "folds").mkdir()
    for fold, split in enumerate(splits):
        write_split(tmp_path / f"folds/fold-{fold}.json", split)
    root, said = tmp_path / "experiment", []
    inputs = Inputs(photographs, {"rendered": str(untuned)}, splits=tmp_path / "folds")
    reporter = Reporter(message=said.append)
    two = settings.model_copy(update={"seeds": 2})
    experiment = prepare(inputs, root, two, ["rendered"], reporter).experiment
    assert experiment.design["fixed_splits"] is False
    first, second = (folds_of(experiment, seed, root)[0].test for seed in (0, 1))
    assert set(first) != set(second)
    assert any("drawn anew for each seed" in text for text in said)


def test_a_later_folder_may_not_have_learned_from_what_is_tested(
    tmp_path, photographs, synthetic, untuned, settings
):
    root = tmp_path / "experiment"
    prepare(Inputs(photographs, {"untuned": str(untuned)}), root, settings, ["real"])
    inputs = Inputs(photographs, {"untuned": str(untuned), "synthetic": str(synthetic)})
    with pytest.raises(DatasetError, match="judged by"):
        prepare(inputs, root, settings, ["real", "mix"])


def test_copies_of_tested_photographs_are_left_out(tmp_path, photographs, settings):
    folder = make_synthetic(tmp_path / "synthetic", photographs)
    records = list(load_dataset(folder).records)
    stolen, owned = load_dataset(photographs).records[40], load_dataset(photographs).records[0]
    for record, original in ((records[0], stolen), (records[1], owned)):
        (folder / record.file_name).write_bytes((photographs / original.file_name).read_bytes())
    said: list[str] = []
    root = tmp_path / "experiment"
    inputs = Inputs(photographs, {"synthetic": str(folder)})
    prepare(inputs, root, settings, reporter=Reporter(message=said.append))
    rows = load_dataset(folder).records
    material = (root / "material/synthetic/metadata.csv").read_text()
    assert rows[0].file_name not in material
    assert rows[1].file_name in material
    assert any("copy a photograph" in note for note in said)


def test_variations_are_added_only_where_their_photograph_is_trained_on(
    tmp_path, photographs, settings
):
    folder = make_synthetic(tmp_path / "variations", photographs, count=40)
    records = load_dataset(folder).records
    originals = load_dataset(photographs).records
    write_learned(folder, Learned())
    write_metadata(
        folder,
        [
            replace(record, extra={"variation_of": originals[i].file_name})
            for i, record in enumerate(records)
        ],
    )
    root = tmp_path / "experiment"
    small = settings.model_copy(update={"ratios": (0.0, 20.0)})
    inputs = Inputs(photographs, {"varied": str(folder)})
    run_experiment(inputs, root, small, arms=["varied"], running=Running(workers=1))
    results = read_results(root)
    base = {record.file_name: originals[i].file_name for i, record in enumerate(records)}
    for unit in results.units:
        parts = folds_of(results.experiment, 0, root)[unit.key.fold]
        train = {results.experiment.pictures[i].file_name for i in parts.train}
        assert {base[name] for name in unit.added} <= train


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ["mix", "nonsense"]}, "no such arm"),
        ({"arms": ["unfiltered"]}, "no such arm"),
        ({"arms": ["mix-90-20"]}, "add to 100"),
        ({"ratios": (0.0, 50.0)}, "synthesise more"),
        ({"ratios": (0.0,), "arms": ["mix"]}, "needs a ratio above 0"),
        ({"arms": ["routed"]}, "add mix"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path, inputs, settings, change, message):
    root = tmp_path / "experiment"
    arms = change.pop("arms", None)
    with pytest.raises(UserError, match=message):
        run_experiment(inputs, root, settings.model_copy(update=change), arms=arms)
    assert not (root / "units").exists()


def test_results_of_other_experiments_are_not_joined(tmp_path, inputs, settings, finished):
    prepare(inputs, tmp_path / "other", settings.model_copy(update={"weight": 0.2}), ARMS)
    with pytest.raises(UserError, match="different experiments"):
        read_results(finished, tmp_path / "other")
    with pytest.raises(UserError, match="no finished unit"):
        read_results(tmp_path / "other")


def test_a_damaged_record_is_named(tmp_path, inputs, settings):
    root = tmp_path / "experiment"
    tiny = settings.model_copy(update={"ratios": (0.0,)})
    run_experiment(inputs, root, tiny, arms=["real"], running=Running(workers=1))
    key = unit_keys(read_experiment(root))[0]
    (unit_folder(root, key) / "records.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"records\.parquet cannot be read"):
        read_results(root)


def test_a_shard_is_read_as_kubernetes_names_it(monkeypatch):
    blocks = list(range(7))
    shards = [Shard.parse(f"{i}/3") for i in range(3)]
    assert sorted(x for shard in shards for x in shard.take(blocks)) == blocks
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    assert Shard.parse("auto/3") == Shard(2, 3)
    monkeypatch.delenv("JOB_COMPLETION_INDEX")
    for wrong in ("auto/3", "3/3", "1", "a/b", "-1/2", "0/0"):
        with pytest.raises(UserError, match="--shard"):
            Shard.parse(wrong)


def test_the_schema_is_what_reports_rely_on(finished):
    results = read_results(finished)
    assert results.records.schema.field("seed").type == pa.int32()
    assert results.records.column_names == [
        "seed", "fold", "arm", "ratio", "task", "split", "metric", "value",
    ]  # fmt: skip
    routed = [r for r in results.records.to_pylist() if r["arm"] == "routed"]
    assert routed
    assert all(math.isnan(row["ratio"]) for row in routed)
    content = json.loads((finished / "experiment.json").read_text())
    assert content["labels"]["type"] == ["bowl", "vase"]
    assert UnitKey(seed=3, fold=1, arm=results.experiment.arms[1]).id == "seed-003.fold-1.mix-90-10"


@pytest.mark.parametrize(("change", "why"), [({"mixup": 0.2}, "unpairs"), ({"members": 2}, "one")])
def test_settings_that_would_unpair_the_arms_are_refused(settings, change, why):
    training = settings.training.model_copy(update=change)
    with pytest.raises(ValueError, match=why):
        ExperimentSettings.model_validate(
            settings.model_dump() | {"training": training.model_dump()}
        )
