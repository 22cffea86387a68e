"""`porcelain experiment report` and `power`; `training.experiment.commands` adds them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from porcelain.cli.console import Stages, console, done
from porcelain.cli.options import build_settings
from porcelain.errors import UserError

if TYPE_CHECKING:
    from training.experiment.statistics.power import TaskPower

REPORT_EXAMPLES = """
[bold]What an experiment shows, so far or at its end:[/]

porcelain experiment report runs/experiment

[bold]Shards that did not share a folder, together:[/]

porcelain experiment report shards/0 shards/1 shards/2 --out runs/report

[bold]For a script:[/] porcelain experiment report runs/experiment --json
"""

POWER_EXAMPLES = """
[bold]What can 3, 5, 10 or 20 seeds find on these photographs, with three arms beside real?[/]

porcelain experiment power --data PHOTOS --seeds 3,5,10,20 --arms 3

[bold]Better, from an experiment of a few seeds that was already run:[/]

porcelain experiment power --pilot runs/pilot --seeds 10,20 --arms 3
"""

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="The experiment's folder; with more, its other shards.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; `report` in the first one if not given.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the dataset folder is, if not where it was.")
    ] = None,
    draws: Annotated[int | None, typer.Option(help="Bootstrap draws of the objects; 2000.")] = None,
    swaps: Annotated[
        int | None,
        typer.Option(
            help="Of the permutation test, with more than 20 training runs (seeds times folds) of "
            "an arm; 100000. With fewer every pattern is tried."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of draws and swaps.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is at --out.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what an experiment shows, task by task, and what to use.

    Leaves one self-contained page (report.html), the same as Markdown, and all
    numbers as JSON. Arms are compared by F1-macro, paired by seed, fold and
    object, with intervals over seeds and objects and corrected p-values.
    """
    from training.experiment.report.report import HTML_FILE, report_experiment
    from training.experiment.statistics.analysis import AnalysisSettings

    settings = build_settings(AnalysisSettings, draws=draws, swaps=swaps, seed=seed)
    target = out or folders[0] / "report"
    with Stages() as stages:
        result = report_experiment(
            folders,
            target,
            settings,
            data=data,
            overwrite=overwrite,
            on_progress=lambda count, total, task: stages.report("Comparing", count, total, task),
        )
    if json:
        print(result.model_dump_json(indent=2))
    for task in result.tasks.values():
        console().print(task.recommendation.sentence, markup=False, soft_wrap=True)
    for note in result.notes:
        console().print(f"Note: {note}", markup=False, soft_wrap=True)
    following = None
    if result.missing:
        following = f"porcelain experiment run (for the {result.missing} trainings not done yet)"
    done(f"Report for people: {target / HTML_FILE}", following)


def power(
    data: Annotated[
        Path | None, typer.Option(help="Dataset folder whose class counts decide.")
    ] = None,
    pilot: Annotated[
        Path | None,
        typer.Option(help="Experiment of at least two seeds and two arms; its variance decides."),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="N,N,…", help="Numbers of seeds to compare.")
    ] = "3,5,10,20",
    folds: Annotated[int, typer.Option(min=2, help="Folds of each seed.")] = 5,
    fixed_folds: Annotated[
        bool,
        typer.Option(
            "--fixed-folds",
            help="All seeds have the same folds, as with `experiment run --splits`; with --data.",
        ),
    ] = False,
    arms: Annotated[
        int, typer.Option(min=1, help="Arms beside `real`; p-values are corrected for them.")
    ] = 3,
    json: Json = False,
) -> None:
    """Say how small a gain an experiment can find, before it is run.

    The smallest difference of F1-macro that four of five experiments would show
    (80 % power), as the only comparison and after Holm's correction for all
    arms and tasks. Without a pilot, classifiers are assumed to vary as this
    project's own do on a thousand museum photographs.
    """
    from porcelain.dataset import load_dataset
    from training.experiment.records import read_results
    from training.experiment.statistics.power import (
        TaskPower,
        objects_per_class,
        pilot_variance,
        plan,
        simulated_variance,
    )

    numbers = _numbers(seeds)
    if (data is None) == (pilot is None):
        raise UserError("Give either --data DIR or --pilot DIR.")
    if pilot is not None and fixed_folds:
        raise UserError("--fixed-folds is simulated, which takes --data DIR in place of --pilot.")
    if pilot is not None:
        variances = pilot_variance(read_results(pilot))
    elif data is not None:
        counts = objects_per_class(load_dataset(data))
        if not counts:
            raise UserError(f"No photograph of {data} has a label.")
        with Stages() as stages:
            variances = {}
            for done_tasks, (task, found) in enumerate(counts.items()):
                stages.report("Simulating", done_tasks, len(counts), task)
                variance = simulated_variance(found, folds, fixed_folds=fixed_folds)
                variances[task] = (found, variance)
    planned = plan(variances, numbers, arms)
    if json:
        from pydantic import TypeAdapter

        print(TypeAdapter(list[TaskPower]).dump_json(planned, indent=2).decode())
        return
    _print_power(planned, arms)
    done(
        "Points of F1-macro: above as the only comparison, below corrected for all arms and tasks.",
        f"porcelain experiment run --data {data or 'PHOTOS'} --synthetic DIR --out DIR",
    )


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 2:
        raise UserError(f"--seeds {text}: give whole numbers from 2 on, such as 3,5,10.")
    return numbers


def _print_power(planned: list[TaskPower], arms: int) -> None:
    from rich.table import Table

    seeds = [each.seeds for each in planned[0].detectable]
    table = Table(
        "task",
        "objects",
        "rarest",
        *(f"{number} seeds" for number in seeds),
        "∞",
        title=f"Smallest gain found in 4 of 5 experiments, {arms} arms",
    )
    for task in planned:
        table.add_row(
            task.task,
            str(task.objects),
            str(task.smallest),
            *(f"{100 * d.alone:.1f}\n{100 * d.corrected:.1f}" for d in task.detectable),
            f"\n{100 * task.floor:.1f}",
        )
    console().print(table)
