"""The benchmark of rules that make logits probabilities, on logits whose right rule is known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from benchmarks.calibration import RULES, main


def write_fold(folder: Path, seed: int) -> None:
    """Logits that are right as they are, of classes that differ much in frequency."""
    rng = np.random.default_rng(seed)
    priors = np.log([0.7, 0.26, 0.04])
    content = {
        "classes-glaze": np.array(["a", "b", "c"]),
        "counts-glaze": np.array([700, 260, 40]),
        "priors-glaze": priors,
    }
    for part in ("validation", "test"):
        logits = priors + rng.normal(0, 1, (1500, 3))
        shares = softmax(logits, axis=1).cumsum(axis=1)
        content[f"{part}-glaze"] = logits
        content[f"{part}-labels"] = (rng.random((1500, 1)) > shares).sum(axis=1, keepdims=True)
    np.savez(folder / f"fold{seed}-one.npz", **content)


def test_the_rule_that_takes_nothing_off_is_the_truest_where_nothing_is_to_be_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        write_fold(tmp_path, seed)
    main(tmp_path, ["one"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "glaze" in line]
    found = {row[2].strip(): [float(cell) for cell in row[3:-1]] for row in rows}
    assert set(found) == set(RULES)
    loss, ratio = ({name: values[i] for name, values in found.items()} for i in (0, 3))
    assert loss["shift 0.0"] < loss["shift 0.25"] < loss["shift 0.5"]
    assert loss["shift fitted"] == pytest.approx(loss["shift 0.0"], rel=0.01)
    assert ratio["shift 0.0"] == pytest.approx(1, abs=0.15)
    assert ratio["shift 0.5"] > 1.5
