"""One sentence per task: what to use, by how much it helps, or that there is no evidence."""

from __future__ import annotations

from collections.abc import Sequence

from training.experiment.arms import OVERSAMPLE, REAL
from training.experiment.records import Arm
from training.experiment.statistics.results import (
    Comparison,
    Measure,
    Recommendation,
    Verdict,
)

_DESCRIPTIONS = {
    "mix": "synthetic pictures",
    "oversample": "extra copies of rare real pictures",
    "untuned": "pictures of the untuned base",
    "unfiltered": "unfiltered synthetic pictures",
    "routed": "synthetic pictures where validation chose them",
}


def recommend(task: str, comparisons: Sequence[Comparison], arms: Sequence[Arm]) -> Recommendation:
    """What the comparisons of one task say, p-values corrected before.

    An arm is recommended where its gain over `real` was shown (`Comparison.shown`); among several
    the one with the largest gain. Where copies of real pictures were shown to help too and the
    synthetic ones were not shown to be ahead of them, copies are recommended: they are cheaper.
    """
    against_real = [c for c in comparisons if c.family == "real"]
    names = {arm.name: arm for arm in arms}
    if not against_real or all(c.p_holm is None for c in against_real):
        return _advise(
            task, "not measured", REAL, "use real only; fewer than two whole seeds show nothing"
        )
    helping = [c for c in against_real if c.shown and c.f1_macro.value > 0]
    if not helping:
        return _without_gain(task, against_real, names)
    best = max(helping, key=lambda c: c.f1_macro.value)
    copies = [c for c in helping if names[c.arm].kind == OVERSAMPLE]
    duel = _against_copies(best, comparisons, names)
    if copies and names[best.arm].kind != OVERSAMPLE and not (duel and duel.shown):
        cheaper = max(copies, key=lambda c: c.f1_macro.value)
        tail = f"; {describe(names[best.arm])}, {points(best.f1_macro)}, not shown to be better"
        return _use(task, cheaper, names, tail)
    tail = ""
    if duel is not None:
        verb = "ahead of" if duel.shown and duel.f1_macro.value > 0 else "not shown to be ahead of"
        tail = f"; {verb} extra copies of real pictures ({points(duel.f1_macro)})"
    return _use(task, best, names, tail)


def describe(arm: Arm) -> str:
    """An arm for people, such as `90:10 synthetic pictures`."""
    what = _DESCRIPTIONS.get(arm.kind, arm.kind)
    return f"{100 - arm.ratio:g}:{arm.ratio:g} {what}" if arm.ratio else what


def points(measure: Measure) -> str:
    """A difference in points with its interval, such as `+4.1 points [1.9, 6.2]`."""
    text = f"{signed_points(measure.value)} points"
    if measure.low is None or measure.high is None:
        return text
    return f"{text} [{plain_points(measure.low)}, {plain_points(measure.high)}]"


def _use(task: str, comparison: Comparison, names: dict[str, Arm], tail: str) -> Recommendation:
    advice = f"use {describe(names[comparison.arm])}, {points(comparison.f1_macro)}{tail}"
    return _advise(task, "use", comparison.arm, advice)


def _without_gain(
    task: str, against_real: Sequence[Comparison], names: dict[str, Arm]
) -> Recommendation:
    harming = [c for c in against_real if c.shown and c.f1_macro.value < 0]
    best = max(against_real, key=lambda c: c.f1_macro.value)
    tried = f"{describe(names[best.arm])}, {points(best.f1_macro)}"
    if len(harming) == len(against_real):
        advice = f"use real only; all that was added was shown to cost (least: {tried})"
        return _advise(task, "harm", REAL, advice)
    if (best.f1_macro.low or 0.0) > 0.0:
        advice = (
            "use real only; no evidence of a gain after correction for all comparisons "
            f"(best: {tried}, corrected p {best.p_holm:.2f})"
        )
    else:
        advice = f"use real only; no evidence of a gain (best: {tried})"
    if harming:
        worst = min(harming, key=lambda c: c.f1_macro.value)
        advice += f"; {describe(names[worst.arm])} cost: {points(worst.f1_macro)}"
    return _advise(task, "harm" if harming else "no evidence", REAL, advice)


def _advise(task: str, verdict: Verdict, arm: str, advice: str) -> Recommendation:
    return Recommendation(
        verdict=verdict, arm=arm, advice=f"{advice}.", sentence=f"{task}: {advice}."
    )


def _against_copies(
    comparison: Comparison, comparisons: Sequence[Comparison], names: dict[str, Arm]
) -> Comparison | None:
    """The same arm against copies; the hardest where there are several."""
    duels = [
        c
        for c in comparisons
        if c.family == "control"
        and c.arm == comparison.arm
        and names[c.reference].kind == OVERSAMPLE
    ]
    return min(duels, key=lambda c: c.f1_macro.value, default=None)


def signed_points(value: float) -> str:
    """A difference in points with its sign, such as `+4.1`."""
    return ("+" if round(100 * value, 1) > 0 else "") + plain_points(value)


def plain_points(value: float) -> str:
    """A difference in points, such as `4.1`."""
    rounded = round(100 * value, 1)
    return f"{0.0 if rounded == 0 else rounded:.1f}".replace("-", "−")
