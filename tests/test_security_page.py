"""SECURITY.md names only files, settings, limits and scenarios that there are."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.stress import SCENARIOS
from services.classifier.settings import ClassifierSettings
from services.generator.settings import GeneratorSettings
from services.settings import PREFIX
from services.studio.settings import StudioSettings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`]+)`", PAGE)


def test_every_file_is_there() -> None:
    files = [
        one.split()[0] for one in QUOTED if re.match(r"(tests|benchmarks|services|k8s|nginx)/", one)
    ]
    assert len(files) > 15
    assert [one for one in files if not (ROOT / one).exists()] == []


def test_every_setting_is_read() -> None:
    named = set(re.findall(rf"\b{PREFIX}\w+", PAGE))
    kinds = (ClassifierSettings, GeneratorSettings, StudioSettings)
    assert named
    assert named <= {PREFIX + field.upper() for kind in kinds for field in kind.model_fields}


def test_every_scenario_is_one() -> None:
    command = "benchmarks/stress.py "
    named = {one.removeprefix(command) for one in QUOTED if one.startswith(command)}
    assert named
    assert named <= set(SCENARIOS)


def test_limits_are_those_of_the_services() -> None:
    for kind in (ClassifierSettings, GeneratorSettings):
        assert f"a body {kind.model_fields['upload_seconds'].default:g} s" in PAGE
