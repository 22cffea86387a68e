"""What is made from code is in the repository as the code makes it, and names what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.__main__ import ROOT, generated
from monitoring.objectives import SERVICES, Objectives
from monitoring.panels import Panel, classifier_rows, generator_rows
from monitoring.registries import KINDS, metrics
from monitoring.rules import rule_groups

ROWS = {"classifier": classifier_rows(), "generator": generator_rows()}
PANELS = [panel for rows in ROWS.values() for panels in rows.values() for panel in panels]
ELSEWHERE = {"up", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED"}  # Prometheus, DCGM's exporter


def rules() -> list[dict[str, Any]]:
    return [rule for group in rule_groups()["groups"] for rule in group["rules"]]


def names_in(query: str) -> set[str]:
    """Metric names of a query: words before a selector or a range, and recorded names."""
    bare = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"\b((?:porcelain_|job[_a-z]*:|DCGM_)[\w:]+|up)\b(?=[{\[ )]|$)", bare))


@pytest.mark.parametrize("path", generated(), ids=str)
def test_the_repository_has_what_the_code_makes(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == generated()[path], "run `make monitoring`"


def test_no_dashboard_is_left_over() -> None:
    folder = Path("k8s/monitoring/dashboards")
    found = {path.relative_to(ROOT) for path in (ROOT / folder).iterdir()}
    assert found == {path for path in generated() if path.parent == folder}


@pytest.mark.parametrize(
    "query",
    [rule["expr"] for rule in rules()] + [q for p in PANELS for q in p.queries.values()],
)
def test_queries_name_series_that_exist(query: str) -> None:
    series = {name for kind in KINDS for metric in metrics(kind) for name in metric.series}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    found = names_in(query)
    assert found
    assert found <= series | recorded | ELSEWHERE


def test_every_metric_is_on_a_dashboard() -> None:
    queries = " ".join(q for p in PANELS for q in p.queries.values())
    queries += " ".join(rule["expr"] for rule in rules())
    for kind in KINDS:
        for metric in metrics(kind):
            if metric.name != "porcelain_model_info":
                assert metric.series & names_in(queries), metric.name


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.kind)
def test_objectives_are_about_what_is_measured(service: Objectives) -> None:
    (duration,) = (
        m for m in metrics(service.kind) if m.name == "porcelain_http_request_duration_seconds"
    )
    assert service.seconds in duration.buckets
    source = Path(f"services/{service.kind}/service.py").read_text()
    assert f'@app.post(\n        "{service.route}"' in source


def test_every_alert_says_what_and_why_and_how_urgent() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) > 20
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"].endswith(".")


def test_dashboards_have_every_panel_and_a_row_for_each_part() -> None:
    import json

    for kind, rows in ROWS.items():
        path = Path(f"k8s/monitoring/dashboards/porcelain-{kind}.json")
        built = json.loads(generated()[path])
        titles = [panel["title"] for panel in built["panels"] if panel["type"] != "row"]
        wanted: list[Panel] = [panel for panels in rows.values() for panel in panels]
        assert titles == [panel.title for panel in wanted]
        assert [p["title"] for p in built["panels"] if p["type"] == "row"] == list(rows)
        for panel in built["panels"]:
            grid = panel["gridPos"]
            assert grid["x"] + grid["w"] <= 24


def test_promtool_finds_no_fault(promtool: str) -> None:
    subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", "k8s/monitoring/rules.yaml"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def test_rules_do_what_their_unit_tests_say(promtool: str) -> None:
    file = Path(__file__).with_name("rules_test.yaml")
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    tested = {
        expected["alertname"]
        for test in yaml.safe_load(file.read_text())["tests"]
        for expected in test.get("alert_rule_test", [])
        if expected.get("exp_alerts")
    }
    assert tested == alerts
    result = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
