import re
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from porcelain.errors import DatasetError, UserError
from tests.training.experiment.constructed import (
    COPIES,
    MIX,
    MIX5,
    REAL,
    ROUTED,
    made_up,
    write_folder,
)
from training.experiment.commands import app
from training.experiment.records import Arm, UnitKey
from training.experiment.report.charts import ratio_chart, scale, size_chart
from training.experiment.report.report import p_value, report_experiment, tick
from training.experiment.statistics.analysis import AnalysisSettings
from training.experiment.statistics.results import ExperimentReport, Measure
from training.experiment.statistics.simulation import World

ARMS = (REAL, MIX5, MIX, COPIES, Arm(kind="untuned", ratio=10), ROUTED)
QUICK = AnalysisSettings(draws=100, swaps=1999, shown=4)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    root = tmp_path_factory.mktemp("experiment")
    worlds = {
        "dynasty": World((30, 20)),
        "glaze": World((40, 12, 6, 3), redrawn=0.1),
        "kiln": World((25, 9, 1)),
        "type": World((60, 15, 8, 4), rare_effect=12.0, effect=3.0),
    }
    answers = made_up(worlds, ARMS, seeds=6, folds=3)
    photographs = root / "photographs"
    (photographs / "images").mkdir(parents=True)
    for name in answers["type"].file_names[:40]:
        Image.new("RGB", (64, 48), (90, 120, 150)).save(photographs / name)
    write_folder(root / "experiment", answers, ARMS, seeds=6, folds=3, data=str(photographs))
    return root / "experiment"


@pytest.fixture(scope="module")
def written(experiment):
    out = experiment.parent / "out"
    report = report_experiment([experiment], out, QUICK)
    return out, report


def test_the_page_refers_to_nothing_outside_itself(written):
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|iframe)\b", page)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_says_what_to_do_and_shows_the_pictures(written):
    out, report = written
    page = (out / "report.html").read_text(encoding="utf-8")
    for task in report.tasks.values():
        assert f'id="{task.task}"' in page
    assert report.tasks["type"].recommendation.verdict == "use"
    assert "data:image/jpeg;base64," in page
    assert "5.5 points more" in page
    for arm in ARMS:
        assert arm.name in page


def test_markdown_and_json_hold_the_same_numbers(written):
    out, report = written
    text = (out / "report.md").read_text(encoding="utf-8")
    for task in report.tasks.values():
        assert f"- {task.recommendation.sentence}" in text
        rows = [line for line in text.splitlines() if line.startswith("| mix-90-10 |")]
        assert len(rows) == len(report.tasks)
    # Every table has as many cells in every row.
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
    read = ExperimentReport.model_validate_json((out / "report.json").read_text(encoding="utf-8"))
    assert read == report


def test_without_the_photographs_the_report_stands_and_says_so(experiment, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        report_experiment([experiment], tmp_path / "a", QUICK, data=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    report_experiment([experiment], tmp_path / "b", QUICK, data=tmp_path / "empty")
    page = (tmp_path / "b" / "report.html").read_text(encoding="utf-8")
    assert "no picture" in page
    assert "data:image" not in page


def test_labels_and_names_are_escaped(tmp_path):
    answers = made_up({"type": World((9, 6))}, (REAL, MIX), seeds=2)
    found = answers["type"]
    evil = type(found)(**{**vars(found), "labels": ("<b>jar</b>", "box")})
    write_folder(tmp_path / "e", {"type": evil}, (REAL, MIX), seeds=2, folds=3)
    report_experiment([tmp_path / "e"], tmp_path / "out", QUICK)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;jar" in page
    assert "<b>jar" not in page
    assert "was not found, so no pictures are shown" in page


def test_a_half_done_experiment_of_one_seed_has_a_page_too(tmp_path):
    answers = made_up({"type": World((9, 6))}, (REAL, MIX), seeds=2)
    skip = [UnitKey(seed=1, fold=f, arm=a) for f in range(3) for a in (REAL, MIX)]
    write_folder(tmp_path / "e", answers, (REAL, MIX), seeds=2, folds=3, skip=skip)
    report = report_experiment([tmp_path / "e"], tmp_path / "out", QUICK)
    assert report.tasks["type"].recommendation.verdict == "not measured"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "6 not yet" in page


def test_an_arm_without_real_pictures_to_compare_with_has_a_page_too(tmp_path):
    answers = made_up({"type": World((9, 6))}, (REAL, MIX), seeds=2)
    skip = [UnitKey(seed=s, fold=0, arm=REAL) for s in range(2)]
    write_folder(tmp_path / "e", answers, (REAL, MIX), seeds=2, folds=3, skip=skip)
    report = report_experiment([tmp_path / "e"], tmp_path / "out", QUICK)
    assert report.tasks["type"].comparisons == []
    assert [arm.arm for arm in report.tasks["type"].arms] == ["mix-90-10"]


def test_the_command_writes_into_the_experiment_and_prints_json(experiment):
    options = ["--draws", "100", "--swaps", "99", "--json"]
    result = CliRunner().invoke(app, ["report", str(experiment), *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert ExperimentReport.model_validate_json(result.stdout).swaps == 99
    assert (experiment / "report" / "report.html").is_file()
    with pytest.raises(UserError, match="already exists"):
        CliRunner().invoke(app, ["report", str(experiment)], catch_exceptions=False)


def test_too_few_swaps_to_show_anything_are_told(tmp_path):
    arms = (REAL, MIX, COPIES)
    worlds = {task: World((9, 6)) for task in ("dynasty", "glaze", "kiln")}
    write_folder(tmp_path / "e", made_up(worlds, arms, 7), arms, seeds=7, folds=3)
    few = AnalysisSettings(draws=100, swaps=99)
    report = report_experiment([tmp_path / "e"], tmp_path / "out", few)
    assert any("99 swaps are too few for 6 comparisons" in note for note in report.notes)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("Before you trust these numbers") == 1


def test_too_few_runs_to_show_anything_are_told(tmp_path):
    write_folder(
        tmp_path / "e",
        made_up({"type": World((9, 6))}, (REAL, MIX), 2, 2),
        (REAL, MIX),
        seeds=2,
        folds=2,
    )
    report = report_experiment([tmp_path / "e"], tmp_path / "out", QUICK)
    assert any("4 training runs can be swapped in 8 ways" in note for note in report.notes)


def test_a_folder_that_is_no_experiment_is_a_clear_error(tmp_path):
    with pytest.raises(DatasetError, match=r"has no experiment\.json"):
        CliRunner().invoke(
            app, ["report", str(tmp_path), "--out", str(tmp_path / "r")], catch_exceptions=False
        )


def test_ratio_curves_need_two_ratios(written):
    report = written[1]
    chart = ratio_chart(report.tasks["type"])
    assert [curve.kind for curve in chart.curves] == ["mix", "oversample", "untuned"]
    assert [point.ratio for point in chart.curves[0].points] == [5.0, 10.0]
    single = report.tasks["type"].model_copy(
        update={"arms": [a for a in report.tasks["type"].arms if a.arm != "mix-95-5"]}
    )
    assert ratio_chart(single) is None


def test_rare_classes_stand_left_of_common_ones(written):
    chart = size_chart(written[1].tasks["type"].classes, "mix-90-10")
    places = [point.x for point in chart.points]
    assert places == sorted(places)
    assert chart.points[0].gain.rare
    assert not chart.points[-1].gain.rare


def test_axes_hold_nought_and_every_interval():
    wide = Measure(value=0.03, low=-0.012, high=0.08, standard_error=0.02, degrees=5.0)
    axis = scale([wide], 0.0, 100.0)
    assert axis.low <= -0.012
    assert axis.high >= 0.08
    assert 0.0 in axis.ticks
    assert axis.at(axis.low) == 0.0
    assert axis.at(9.9) == 100.0


def test_numbers_for_people():
    assert p_value(0.0004) == "< 0.001"
    assert p_value(0.0312) == "0.031"
    assert p_value(0.5) == "0.50"
    assert p_value(None) == "–"
    assert [tick(v) for v in (-0.05, 0.0, 0.005)] == ["−5", "0", "+0.5"]


def test_reports_need_no_torch():
    code = (
        "import sys, training.experiment.commands, training.experiment.report.report;"
        "import training.experiment.statistics.power;"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_commands_import_fast():
    code = (
        "import sys, training.experiment.commands;"
        "sys.exit(any(m in sys.modules for m in ('scipy', 'pyarrow', 'jinja2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
