"""Geometry of the report's charts; the templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.experiment.arms import OVERSAMPLE, REAL, UNFILTERED, UNTUNED
from training.experiment.statistics.results import ClassGain, Measure, TaskResult

_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MAX_DIFFERENCE = 0.5

COLOURS = {
    "mix": "#1f4e8c",
    "routed": "#2f7d5b",
    OVERSAMPLE: "#b23a2a",
    UNTUNED: "#8a6fae",
    UNFILTERED: "#c08a1e",
}
OTHER_COLOUR = "#66707c"


@dataclass(frozen=True)
class Scale:
    """An axis of differences, drawn from `start` to `end`.

    Attributes:
        low: Difference at the start.
        high: Difference at the end.
        ticks: Differences with a line; 0 is one.
        start: Coordinate of `low`.
        end: Coordinate of `high`.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of a difference; what is beyond the axis lies on its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def scale(measures: Iterable[Measure], start: float, end: float, ticks: int = 6) -> Scale:
    """An axis that holds 0 and all intervals, up to 50 points."""
    ends = [0.01, -0.01]
    for measure in measures:
        ends += [v for v in (measure.value, measure.low, measure.high) if v is not None]
    low, high = max(min(ends), -_MAX_DIFFERENCE), min(max(ends), _MAX_DIFFERENCE)
    step = next((s for s in _STEPS if (high - low) / s <= ticks), _STEPS[-1])
    first, last = math.floor(low / step), math.ceil(high / step)
    return Scale(
        first * step,
        last * step,
        tuple(i * step for i in range(first, last + 1)),
        start,
        end,
    )


@dataclass(frozen=True)
class RatioPoint:
    """Difference to `real` at one ratio."""

    ratio: float
    x: float
    measure: Measure
    shown: bool


@dataclass(frozen=True)
class RatioCurve:
    """One kind of added pictures over growing ratios."""

    kind: str
    colour: str
    points: list[RatioPoint]


@dataclass(frozen=True)
class RatioChart:
    """All curves of one task, and the ratios on the horizontal axis with their coordinates."""

    curves: list[RatioCurve]
    ratios: list[tuple[float, float]]
    vertical: Scale


def ratio_chart(task: TaskResult) -> RatioChart | None:
    """Gain against the share of added pictures; None without two ratios of one kind."""
    arms = {arm.arm: arm for arm in task.arms}
    against = [c for c in task.comparisons if c.reference == REAL and c.arm in arms]
    ratios = sorted({arms[c.arm].ratio or 0.0 for c in against if arms[c.arm].ratio} | {0.0})
    kinds = list(dict.fromkeys(arms[c.arm].kind for c in against if arms[c.arm].ratio))
    by_kind = {kind: [c for c in against if arms[c.arm].kind == kind] for kind in kinds}
    if not any(len(found) > 1 for found in by_kind.values()):
        return None
    places = {ratio: 64.0 + 370.0 * ratio / ratios[-1] for ratio in ratios}
    curves = []
    for number, (kind, found) in enumerate(by_kind.items()):
        # Kinds at one ratio stand side by side.
        shift = 7.0 * (number - (len(by_kind) - 1) / 2.0)
        points = [
            RatioPoint(ratio, round(places[ratio] + shift, 1), c.f1_macro, c.shown)
            for ratio, c in sorted(
                ((arms[c.arm].ratio or 0.0, c) for c in found), key=lambda pair: pair[0]
            )
        ]
        curves.append(RatioCurve(kind, COLOURS.get(kind, OTHER_COLOUR), points))
    return RatioChart(
        curves,
        list(places.items()),
        scale((c.f1_macro for c in against if arms[c.arm].ratio), 230.0, 14.0),
    )


@dataclass(frozen=True)
class SizePoint:
    """A class by its size, and what an arm changes of its F1."""

    gain: ClassGain
    x: float
    measure: Measure


@dataclass(frozen=True)
class SizeChart:
    """Gain per class against class size, on a logarithmic axis."""

    points: list[SizePoint]
    sizes: list[tuple[int, float]]
    vertical: Scale


def size_chart(classes: Sequence[ClassGain], arm: str) -> SizeChart | None:
    """Do the rare kinds gain? None where the arm was not compared."""
    shown = [gain for gain in classes if arm in gain.gains]
    if len(shown) < 2:
        return None
    low, high = math.log(1.0), math.log(1.3 * max(gain.pictures for gain in shown))

    def place(size: float) -> float:
        return round(52.0 + 400.0 * (math.log(size) - low) / (high - low), 1)

    sizes = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
    return SizeChart(
        [SizePoint(gain, place(gain.pictures), gain.gains[arm]) for gain in shown],
        [(size, place(size)) for size in sizes if math.log(size) <= high],
        scale((gain.gains[arm] for gain in shown), 230.0, 14.0),
    )
