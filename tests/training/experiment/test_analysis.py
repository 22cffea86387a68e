"""Constructed experiments with known answers: nothing, an effect, one lucky seed."""

import time
from dataclasses import replace

import numpy as np
import pytest

from tests.training.experiment.constructed import COPIES, MIX, MIX5, REAL, made_up, write_folder
from training.experiment.records import UnitKey, read_results
from training.experiment.statistics.analysis import AnalysisSettings, analyse
from training.experiment.statistics.answers import paired
from training.experiment.statistics.scoring import score
from training.experiment.statistics.simulation import World, simulate

LONG_TAIL = (60, 30, 18, 9, 6, 4)
QUICK = AnalysisSettings(draws=300, swaps=999, shown=3)


def analysed(root, worlds, arms, seeds=6, settings=QUICK, **options):
    answers = made_up(worlds, arms, seeds, seed=11)
    write_folder(root, answers, arms, seeds=seeds, folds=3, **options)
    return answers, analyse(read_results(root), settings)


def test_where_nothing_changes_nothing_is_found(tmp_path):
    worlds = {"glaze": World(LONG_TAIL), "type": World(LONG_TAIL)}
    _, report = analysed(tmp_path, worlds, (REAL, MIX, COPIES))
    assert report.comparisons == {"real": 4, "control": 2}
    for task in report.tasks.values():
        assert task.recommendation.verdict == "no evidence"
        assert task.recommendation.arm == "real"


def test_a_known_effect_is_found_and_measured(tmp_path):
    world = World(LONG_TAIL, rare_effect=6.0)
    rng = np.random.default_rng(5)
    true = []
    for i in range(60):
        scored = score(simulate(world, 6, 3, rng), 100, i)
        true.append(scored.difference("mix-90-10", "real", scored.macro).value)
    _, report = analysed(tmp_path, {"type": world}, (REAL, MIX))
    comparison = report.tasks["type"].comparisons[0]
    assert report.tasks["type"].recommendation.arm == "mix-90-10"
    assert comparison.f1_macro.low <= np.mean(true) <= comparison.f1_macro.high
    assert comparison.f1_macro.value == pytest.approx(np.mean(comparison.per_seed))
    groups = {group.name: group for group in report.tasks["type"].groups}
    rare, other = (groups[name].gains["mix-90-10"] for name in ("rare", "other"))
    assert rare.low > 0
    assert rare.value > other.value + 0.05


def test_one_lucky_seed_is_no_evidence(tmp_path):
    worlds = {"type": World(LONG_TAIL, lucky_seed=30.0)}
    _, report = analysed(tmp_path, worlds, (REAL, MIX))
    comparison = report.tasks["type"].comparisons[0]
    assert comparison.per_seed[0] > 0.3
    assert comparison.f1_macro.value > 0.04
    assert report.tasks["type"].recommendation.verdict == "no evidence"


def test_turned_pictures_are_those_whose_answers_changed(tmp_path):
    answers, report = analysed(tmp_path, {"type": World(LONG_TAIL, effect=3.0)}, (REAL, MIX))
    changes = report.tasks["type"].changes[0]
    found = answers["type"]
    ours, real = paired(found, "mix-90-10", "real")
    change = (ours.predicted == found.truth).mean(axis=0) - (real.predicted == found.truth).mean(
        axis=0
    )
    assert changes.gained == (change >= 0.5).sum()
    assert changes.lost == (change <= -0.5).sum()
    assert changes.gained > changes.expected > 0
    best = changes.better[0]
    assert best.arm_right - best.real_right == pytest.approx(change.max())
    assert best.arm_answer == best.truth != best.real_answer


def test_unfinished_experiments_say_so_and_use_what_is_whole(tmp_path):
    skip = [UnitKey(seed=5, fold=2, arm=MIX)]
    _, report = analysed(tmp_path, {"type": World(LONG_TAIL)}, (REAL, MIX, MIX5), skip=skip)
    assert report.missing == 1
    assert {c.arm: c.seeds for c in report.tasks["type"].comparisons} == {
        "mix-90-10": 5,
        "mix-95-5": 6,
    }
    assert any("1 of 54 trainings are not done" in note for note in report.notes)


def test_one_seed_has_no_intervals(tmp_path):
    _, report = analysed(tmp_path, {"type": World(LONG_TAIL)}, (REAL, MIX), seeds=1)
    comparison = report.tasks["type"].comparisons[0]
    assert comparison.p is None
    assert comparison.f1_macro.low is None
    assert report.tasks["type"].recommendation.verdict == "not measured"


def test_the_papers_figures_stand_beside_ours(tmp_path):
    _, report = analysed(tmp_path, {"type": World(LONG_TAIL)}, (REAL, MIX))
    figures = {figure.task: figure for figure in report.paper}
    assert figures["type"].low == 0.055
    assert figures["type"].ours == report.tasks["type"].comparisons[0].f1_macro
    assert figures["glaze"].low is None
    assert figures["kiln"].ours is None


def test_the_same_folder_gives_the_same_report(tmp_path):
    _, report = analysed(tmp_path, {"type": World(LONG_TAIL)}, (REAL, MIX))
    again = analyse(read_results(tmp_path), QUICK)
    assert again == report
    other = analyse(read_results(tmp_path), QUICK.model_copy(update={"seed": 1}))
    assert other.tasks["type"].arms[0].per_seed == report.tasks["type"].arms[0].per_seed
    assert other != report


def test_thousands_of_resamples_take_seconds():
    """Two arms and one task of 1,000 objects and 10 seeds: a sixteenth of a large experiment."""
    world = World((373, 214, 203, 86, 40, 39, 23, 11, 10, 10, 9, 6, 4, 2))
    answers = simulate(replace(world, arms=("real", "mix-90-10")), 10, 5, np.random.default_rng(0))
    started = time.perf_counter()
    scored = score(answers, 2000, 0)
    scored.difference("mix-90-10", "real", scored.macro)
    assert time.perf_counter() - started < 6.0


def test_only_comparisons_that_have_a_p_value_are_corrected_together(tmp_path):
    skip = {UnitKey(seed=s, fold=f, arm=MIX5) for s in range(1, 3) for f in range(3)}
    _, report = analysed(tmp_path, {"type": World(LONG_TAIL)}, (REAL, MIX, MIX5), 3, skip=skip)
    compared = {c.arm: c for c in report.tasks["type"].comparisons}
    assert compared[MIX5.name].p is None
    assert report.comparisons == {"real": 1, "control": 0}
    assert compared[MIX.name].p_holm == compared[MIX.name].p
    # Nine runs can be swapped in 256 ways that differ, and all of them were counted.
    assert compared[MIX.name].p * 256 == pytest.approx(round(compared[MIX.name].p * 256))


def test_fixed_folds_are_told(tmp_path):
    _, report = analysed(tmp_path, {"type": World(LONG_TAIL)}, (REAL, MIX), 3, fixed=True)
    assert any("3 training sets serve all 3 seeds" in note for note in report.notes)
    _, report = analysed(tmp_path / "anew", {"type": World(LONG_TAIL)}, (REAL, MIX), 3)
    assert not any("training sets" in note for note in report.notes)
