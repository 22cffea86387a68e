import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from porcelain.errors import UserError
from tests.training.experiment.constructed import MIX, REAL, made_up, write_folder
from training.experiment.commands import app
from training.experiment.records import read_results
from training.experiment.statistics.power import (
    Variance,
    detectable,
    pilot_variance,
    plan,
    simulated_variance,
)
from training.experiment.statistics.scoring import score
from training.experiment.statistics.simulation import World, simulate

COUNTS = (90, 40, 20, 10, 5)


def test_the_gain_it_names_is_found_in_four_of_five_experiments():
    variance = simulated_variance(COUNTS, 5)
    world = World(COUNTS, effect=2.0, redrawn=0.05)
    rng = np.random.default_rng(3)
    estimates = []
    for i in range(150):
        scored = score(simulate(world, 8, 5, rng), 150, i)
        estimates.append(scored.difference("mix-90-10", "real", scored.macro))
    named = detectable(variance, 8, 0.05)
    # Shift the experiments so that their mean gain is the one that was named.
    shift = named - np.mean([e.value for e in estimates])
    found = np.mean([e.low + shift > 0 for e in estimates])
    assert 0.68 < found < 0.92


def test_more_seeds_find_less_and_no_number_beats_the_objects():
    variance = Variance(seed=4e-4, objects=1e-4, object_degrees=30.0)
    effects = [detectable(variance, seeds, 0.05) for seeds in (2, 3, 5, 10, 20, 1000)]
    assert effects == sorted(effects, reverse=True)
    # With known variance: (1.96 + 0.84) standard errors.
    assert effects[-1] == pytest.approx((2.04 + 0.85) * 0.01, rel=0.04)
    assert detectable(variance, 10, 0.05 / 12) > detectable(variance, 10, 0.05)


def test_a_pilot_gives_the_variance(tmp_path):
    worlds = {"type": replace(World(COUNTS), effect=2.0, redrawn=0.05)}
    write_folder(tmp_path, made_up(worlds, (REAL, MIX), 6, 5), (REAL, MIX), seeds=6, folds=5)
    counts, variance = pilot_variance(read_results(tmp_path))["type"]
    assert counts == sorted(COUNTS, reverse=True)
    expected = simulated_variance(COUNTS, 5)
    assert 0.2 < variance.seed / expected.seed < 5.0
    planned = plan({"type": (counts, variance)}, (5, 10), 3)[0]
    assert planned.detectable[0].corrected > planned.detectable[1].corrected > planned.floor


def test_a_pilot_of_one_arm_is_a_clear_error(tmp_path):
    write_folder(tmp_path, made_up({"type": World(COUNTS)}, (REAL,), 2), (REAL,), seeds=2, folds=3)
    with pytest.raises(UserError, match="needs `real` and another arm"):
        pilot_variance(read_results(tmp_path))


def test_the_command_prints_json(tmp_path):
    worlds = {"type": World(COUNTS)}
    write_folder(tmp_path, made_up(worlds, (REAL, MIX), 3), (REAL, MIX), seeds=3, folds=3)
    command = ["power", "--pilot", str(tmp_path), "--seeds", "4,8", "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    planned = json.loads(result.stdout)
    assert [d["seeds"] for d in planned[0]["detectable"]] == [4, 8]


def test_from_a_dataset_folder_rarity_is_counted(tmp_path):
    rows = [f"images/{i}.jpg,,,,{'jar' if i % 7 else 'box'}" for i in range(42)]
    text = "file_name,dynasty,glaze,kiln,type\n" + "\n".join(rows) + "\n"
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8")
    (tmp_path / "images").mkdir()
    for i in range(42):
        (tmp_path / "images" / f"{i}.jpg").write_bytes(b"")
    command = ["power", "--data", str(tmp_path), "--seeds", "3", "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    planned = json.loads(result.stdout)
    assert [(t["task"], t["objects"], t["smallest"]) for t in planned] == [("type", 42, 6)]


@pytest.mark.parametrize("options", [["--seeds", "1"], ["--seeds", "x"], []])
def test_mistakes_are_told(options, tmp_path):
    given = [*options, "--data", str(tmp_path)] if options else []
    with pytest.raises(UserError):
        CliRunner().invoke(app, ["power", *given], catch_exceptions=False)
