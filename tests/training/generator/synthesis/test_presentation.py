"""What people at a terminal read of a synthesis."""

from __future__ import annotations

import io

from rich.console import Console

from training.generator.synthesis.copies import CopyThresholds
from training.generator.synthesis.results import (
    MOST_SHORTFALLS,
    KindCount,
    ModelName,
    SynthesisReport,
    count_rules,
    outcome_view,
)
from training.generator.synthesis.settings import SynthesisSettings


def short_by(missing: int) -> KindCount:
    return KindCount(
        labels={"type": f"type-{missing}"}, photographs=1, planned=20, sampled=60, kept=20 - missing
    )


def test_the_worst_shortfalls_are_told_and_the_rest_counted() -> None:
    kinds = [short_by(missing) for missing in range(MOST_SHORTFALLS + 3)]  # the first is not short
    report = SynthesisReport(
        generator=ModelName(name="g", version="1", digest="d"),
        classifier=None,
        classifier_graph=None,
        data_digest=None,
        settings=SynthesisSettings(),
        planned=220,
        sampled=660,
        kept=165,
        kinds=kinds,
        rules=count_rules([]),
        misread={},
        photographs_passed=None,
        copy_limits=CopyThresholds(bits=1, features=None, detail=1),
        warnings=[],
    )
    text = io.StringIO()
    Console(file=text, width=120).print(outcome_view(report))
    told = [line for line in text.getvalue().splitlines() if line.startswith("Short by")]
    assert len(told) == MOST_SHORTFALLS
    assert told[0].startswith(f"Short by {MOST_SHORTFALLS + 2} of 20: type-{MOST_SHORTFALLS + 2} ")
    assert "… and by 3 of 2 more kinds" in text.getvalue()
