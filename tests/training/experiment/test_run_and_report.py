"""What `run` leaves is what `report` reads: one small experiment from photographs to a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from tests.training.experiment.conftest import LEARNED
from training.experiment.experiment import Running, run_experiment
from training.experiment.preparation import Inputs
from training.experiment.records import read_results
from training.experiment.report.report import report_experiment
from training.experiment.statistics.analysis import AnalysisSettings


def pooled_f1(root: Path, arm: str, task: str) -> list[float]:
    """F1-macro of every seed by scikit-learn, straight from the files."""
    rows = [
        row
        for row in read_results(root).predictions.to_pylist()
        if (row["split"], row["arm"], row["task"]) == ("test", arm, task) and row["truth"]
    ]
    scores = []
    for seed in sorted({row["seed"] for row in rows}):
        pairs = [(row["truth"], row["predicted"]) for row in rows if row["seed"] == seed]
        truth, predicted = zip(*pairs, strict=True)
        labels = sorted(set(truth))
        scores.append(f1_score(truth, predicted, labels=labels, average="macro", zero_division=0))
    return scores


def test_a_real_experiment_is_reported(tmp_path, photographs, synthetic, settings):
    root = tmp_path / "experiment"
    small = settings.model_copy(update={"seeds": 2, "ratios": (0, 20)})
    arms = ["real", "mix", "oversample"]
    inputs = Inputs(photographs, {"synthetic": str(synthetic)})
    run_experiment(inputs, root, small, arms=arms, running=Running(workers=1))
    report = report_experiment([root], root / "report", AnalysisSettings(draws=100, swaps=99))
    assert report.missing == 0
    assert report.untested == LEARNED
    for task in report.tasks.values():
        assert {arm.arm: arm.seeds for arm in task.arms} == {
            "real": 2,
            "mix-80-20": 2,
            "oversample-80-20": 2,
        }
        assert {(c.arm, c.reference) for c in task.comparisons} == {
            ("mix-80-20", "real"),
            ("oversample-80-20", "real"),
            ("mix-80-20", "oversample-80-20"),
        }
    assert report.tasks["type"].arms[0].per_seed == pytest.approx(pooled_f1(root, "real", "type"))
    page = (root / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("never tested") == 1
