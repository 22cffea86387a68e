r"""How often the experiment's intervals hold, and how often it finds what is not there.

Experiments are made up (`training.experiment.statistics.simulation`), so that the truth is known,
with the long-tailed classes of real collections. Printed are, per world: the share of 95 %
intervals of the difference that hold its mean over all experiments, the same for one arm's own
F1-macro, and the share of p-values up to 0.05. Then the whole procedure, Holm's correction and
recommendation included: the share of experiments in which it recommends anything where nothing
helps. Beside them the design that intervals do not see: two folds that are the same in all seeds,
where a quarter to three quarters of what runs differ by comes from their training sets.

    python -m benchmarks.experiment_statistics --experiments 400
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from training.experiment.records import Arm
from training.experiment.statistics.analysis import AnalysisSettings, compare
from training.experiment.statistics.recommendation import recommend
from training.experiment.statistics.results import Comparison, Measure
from training.experiment.statistics.scoring import measure
from training.experiment.statistics.simulation import World, simulate

FOLDS: Final = 5
ARMS: Final = (
    Arm(kind="real"),
    Arm(kind="mix", ratio=5),
    Arm(kind="mix", ratio=10),
    Arm(kind="oversample", ratio=5),
    Arm(kind="oversample", ratio=10),
)
COLLECTIONS: Final = {
    "2 to 200": (2, 4, 6, 11, 30, 200),
    "glaze": (373, 214, 203, 86, 40, 39, 23, 11, 10, 10, 9, 6, 4, 2),
    "type": (416, 206, 163, 56, 43, 35, 34, 18, 16, 14, 11, 9, 9),
    "dynasty": (213, 209, 208, 176, 171, 53),
}
WORLDS: Final = {
    "nothing changes": World(()),
    "nought on average, objects differ": World((), redrawn=0.1),
    "one lucky seed": World((), lucky_seed=6.0),
    "rare classes gain": World((), rare_effect=3.0, redrawn=0.05),
    "all gain": World((), effect=2.0, redrawn=0.05),
}


@dataclass(frozen=True)
class Trial:
    """One made-up experiment of one task: a comparison, and the reference's own score."""

    comparison: Comparison
    own: Measure


def trials(
    world: World, seeds: int, experiments: int, settings: AnalysisSettings, folds: int = FOLDS
) -> list[Trial]:
    """Make up experiments and compare their two arms."""
    rng = np.random.default_rng(seeds)
    found = []
    for _ in range(experiments):
        answers = simulate(world, seeds, folds, rng)
        arms = [Arm(kind="real"), Arm(kind="mix", ratio=10)]
        scored, compared = compare({"type": answers}, arms, settings)
        own = measure(scored["type"].mean("real", scored["type"].macro))
        found.append(Trial(compared["type"][0], own))
    return found


def coverage(measures: list[Measure]) -> float:
    """Share of the intervals that hold the mean of all values."""
    truth = float(np.mean([m.value for m in measures]))
    return float(np.mean([(m.low or 0.0) <= truth <= (m.high or 0.0) for m in measures]))


def rejections(found: list[Trial]) -> float:
    """Share of p-values up to 0.05."""
    return float(np.mean([(t.comparison.p or 1.0) <= 0.05 for t in found]))


def recommended(
    world: World,
    seeds: int,
    experiments: int,
    settings: AnalysisSettings,
    collections: Mapping[str, Sequence[int]] = COLLECTIONS,
) -> Iterator[int]:
    """For how many tasks anything is recommended, per experiment of five arms."""
    rng = np.random.default_rng(1000 + seeds)
    names = tuple(arm.name for arm in ARMS)
    for _ in range(experiments):
        answers = {
            task: simulate(replace(world, counts=counts, arms=names), seeds, FOLDS, rng, task)
            for task, counts in collections.items()
        }
        _, compared = compare(answers, ARMS, settings)
        yield sum(recommend(task, compared[task], ARMS).verdict == "use" for task in answers)


def main(
    experiments: Annotated[int, typer.Option(min=20, help="Made-up experiments per row.")] = 400,
    draws: Annotated[int, typer.Option(help="Of the objects.")] = 400,
    swaps: Annotated[int, typer.Option(help="Of more than 20 runs.")] = 999,
    procedure: Annotated[bool, typer.Option(help="Also the whole procedure; slow.")] = True,
) -> None:
    """Measure coverage and false positives."""
    settings = AnalysisSettings(draws=draws, swaps=swaps)
    table = Table(
        "world", "classes", "seeds", "difference", "holds it", "holds F1-macro", "p ≤ 0.05"
    )
    for name, world in WORLDS.items():
        for collection, counts in COLLECTIONS.items():
            for seeds in (3, 5, 10):
                found = trials(replace(world, counts=counts), seeds, experiments, settings)
                differences = [t.comparison.f1_macro for t in found]
                table.add_row(
                    name,
                    collection,
                    str(seeds),
                    f"{100 * np.mean([m.value for m in differences]):+.2f}",
                    f"{100 * coverage(differences):.1f} %",
                    f"{100 * coverage([t.own for t in found]):.1f} %",
                    f"{100 * rejections(found):.1f} %",
                )
    Console().print(table)
    Console().print(fixed_folds_table(experiments, settings))
    if not procedure:
        return
    table = Table("world", "seeds", "experiments in which anything is recommended")
    for name in ("nothing changes", "nought on average, objects differ", "one lucky seed"):
        for seeds in (5, 10):
            hits = list(recommended(WORLDS[name], seeds, experiments, settings.model_copy()))
            share = np.mean([count > 0 for count in hits])
            table.add_row(name, str(seeds), f"{100 * share:.1f} % of {len(hits)}")
    Console().print(table)


def fixed_folds_table(experiments: int, settings: AnalysisSettings) -> Table:
    """Coverage and false positives where two training sets serve all seeds, and drawn anew."""
    table = Table("classes", "from training sets", "seeds", "holds it", "p ≤ 0.05", "drawn anew")
    for collection, counts in COLLECTIONS.items():
        for share in (0.25, 0.5, 0.75):
            for seeds in (3, 10):
                world = World(counts, fixed_folds=True, training_set=share)
                fixed = trials(world, seeds, experiments, settings, folds=2)
                anew = trials(replace(world, fixed_folds=False), seeds, experiments, settings, 2)
                table.add_row(
                    collection,
                    f"{share:.0%}",
                    str(seeds),
                    f"{100 * coverage([t.comparison.f1_macro for t in fixed]):.1f} %",
                    f"{100 * rejections(fixed):.1f} %",
                    f"{100 * coverage([t.comparison.f1_macro for t in anew]):.1f} %",
                )
    return table


if __name__ == "__main__":
    typer.run(main)
