"""What a comparison of two bundles says, as JSON for machines and a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from rich.console import Console
from rich.table import Table

from training.classifier.evaluation.result import Bounds, Result

MEASURES: Final = {"f1_macro": "F1-macro", "accuracy": "accuracy", "log_loss": "log loss"}
_LOWER_IS_BETTER: Final = frozenset({"log_loss"})


class Paired(Result):
    """One measure of both bundles.

    Attributes:
        a: Of the first.
        b: Of the second.
        difference: b - a.
        interval: The difference's 95 % interval, objects drawn with replacement.
    """

    a: float
    b: float
    difference: float
    interval: Bounds | None


class Turned(Result):
    """A picture that one bundle has right and the other wrong."""

    file_name: str
    label: str
    a: str
    a_probability: float
    b: str
    b_probability: float
    better: Literal["a", "b"]


class TaskComparison(Result):
    """One task, over the pictures with a label.

    Attributes:
        support: Pictures with a label.
        objects: What they show, the unit of the bootstrap.
        f1_macro: Mean F1 over every label that occurs or was predicted.
        accuracy: Share of right answers.
        log_loss: Mean of -ln p(label) over the pictures whose label both bundles know.
        ece_a: Expected calibration error of the first.
        ece_b: Of the second.
        turned: Pictures that one has right and the other wrong.
        verdict: One sentence.
    """

    support: int
    objects: int
    f1_macro: Paired | None
    accuracy: Paired | None
    log_loss: Paired | None
    ece_a: float | None
    ece_b: float | None
    turned: list[Turned]
    verdict: str

    @classmethod
    def unmeasured(cls, task: str) -> TaskComparison:
        """Of a task that no picture has a label of."""
        return cls(
            support=0,
            objects=0,
            f1_macro=None,
            accuracy=None,
            log_loss=None,
            ece_a=None,
            ece_b=None,
            turned=[],
            verdict=f"{task}: no picture has a label, so nothing was measured.",
        )


class ComparedBundle(Result):
    """Which model took part.

    Attributes:
        path: The bundle's folder.
        name: Its name.
        version: Its version.
        digest: One name for exactly its files.
        graph: `served`, or `held-out`, its twin that learned from the training part alone, where
            pictures of the bundle's own test part are judged.
    """

    path: str
    name: str
    version: str
    digest: str
    graph: Literal["served", "held-out"]


class Comparison(Result):
    """The whole result: the content of `comparison.json`."""

    a: ComparedBundle
    b: ComparedBundle
    data: str
    pictures: int
    objects: int
    left_out: dict[str, int]
    unreadable: int
    resamples: int
    seed: int
    tasks: dict[str, TaskComparison]

    def print_summary(self, console: Console) -> None:
        """Print every task's measures, and a sentence on each."""
        table = Table(
            "task", "measure", "A", "B", "B - A, 95 % interval",
            title=f"A {self.a.name} {self.a.version} ({self.a.graph}), B {self.b.name} "
            f"{self.b.version} ({self.b.graph}): {self.pictures} pictures of {self.objects} "
            "objects that neither has learned from",
        )  # fmt: skip
        for task, result in self.tasks.items():
            for key, name in MEASURES.items():
                paired: Paired | None = getattr(result, key)
                if paired is not None:
                    table.add_row(
                        task if key == "f1_macro" else "",
                        name,
                        f"{paired.a:.3f}",
                        f"{paired.b:.3f}",
                        f"{paired.difference:+.3f}{_bounds(paired)}",
                    )
            if result.ece_a is not None and result.ece_b is not None:
                change = f"{result.ece_b - result.ece_a:+.3f}"
                table.add_row(
                    "",
                    "calibration error",
                    f"{result.ece_a:.3f}",
                    f"{result.ece_b:.3f}",
                    change,
                    end_section=True,
                )
        console.print(table)
        for result in self.tasks.values():
            turned = f" {len(result.turned)} picture(s) turned." if result.support else ""
            console.print(result.verdict + turned, markup=False, soft_wrap=True)
        for reason, count in self.left_out.items():
            console.print(f"Left out: {count} picture(s), {reason}.", markup=False, soft_wrap=True)


def verdict(task: str, measures: Mapping[str, Paired | None], support: int) -> str:
    """One sentence on one task: which bundle is better, by what, and how sure that is."""
    better: dict[str, list[str]] = {"A": [], "B": []}
    for key, paired in measures.items():
        if paired is None or paired.interval is None:
            continue
        low, high = paired.interval
        if low <= 0 <= high:
            continue
        rises = paired.difference > 0
        winner = "B" if rises != (key in _LOWER_IS_BETTER) else "A"
        better[winner].append(f"{MEASURES[key]} {paired.difference:+.3f}{_bounds(paired)}")
    if better["A"] and better["B"]:
        return (
            f"{task}: neither is better in all: A in {', '.join(better['A'])}; B in "
            f"{', '.join(better['B'])}, on {support} pictures."
        )
    for name, won in better.items():
        if won:
            return f"{task}: {name} is better, by {', '.join(won)} (B - A), on {support} pictures."
    return f"{task}: no difference that {support} pictures can show."


def _bounds(paired: Paired) -> str:
    if paired.interval is None:
        return ""
    return f" ({paired.interval[0]:+.3f} to {paired.interval[1]:+.3f})"
