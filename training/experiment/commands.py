"""`porcelain experiment`: run controlled comparisons, and report what they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from porcelain.cli.console import Stages, done
from porcelain.cli.options import build_settings
from porcelain.errors import UserError
from training.data.ratio import Rule
from training.experiment.report import commands as reporting

if TYPE_CHECKING:
    from training.experiment.preparation import Prepared
    from training.experiment.runner import Outcome

app = typer.Typer(
    help="Measure whether synthetic pictures help, task by task.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Loss = Literal["cross-entropy", "logit-adjusted", "class-balanced"]
Data = Annotated[Path, typer.Option(help="Dataset folder: photographs and metadata.csv.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]

RUN_EXAMPLES = """
[bold]Is 5 or 10 % of synthetic pictures worth it, and more so than copies of rare photographs?[/]

porcelain experiment run --data PHOTOS --synthetic data/synthetic --ratios 0,5,10 --seeds 10
--out runs/experiment

[bold]From a generator: its pictures are made first, filtered, unfiltered and without its LoRA:[/]

porcelain experiment run --data PHOTOS --generator runs/generator --classifier runs/classifier
--out runs/experiment

[bold]A generator for each fold, so that every photograph is tested:[/]

porcelain experiment split --data PHOTOS --folds 5 --out runs/folds

porcelain experiment run --data PHOTOS --splits runs/folds --synthetic 'data/synthetic-{fold}'
--out runs/experiment

[bold]One of eight pods of an Indexed Job, all writing into one folder:[/]

porcelain experiment run --data PHOTOS --synthetic data/synthetic --shard auto/8
--out shared/experiment
"""

SPLIT_EXAMPLES = """
[bold]A generator and a filter inside each fold's training part:[/]

porcelain experiment split --data PHOTOS --folds 5 --out runs/folds

porcelain generator train --data PHOTOS --split runs/folds/fold-0.json --out runs/generator-0
"""


@app.callback()
def experiment() -> None:
    """Measure whether synthetic pictures help, task by task."""


app.command(epilog=reporting.REPORT_EXAMPLES)(reporting.report)
app.command(epilog=reporting.POWER_EXAMPLES)(reporting.power)


@app.command(epilog=RUN_EXAMPLES)
def run(
    data: Data,
    out: Annotated[Path, typer.Option(help="The experiment's folder.")],
    synthetic: Annotated[
        str | None,
        typer.Option(help="Folder of filtered synthetic pictures; {fold} stands for the fold."),
    ] = None,
    generator: Annotated[
        Path | None, typer.Option(help="Generator bundle that makes the folders, in their place.")
    ] = None,
    classifier: Annotated[
        Path | None, typer.Option(help="Classifier bundle that filters what --generator makes.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Where the generator's base model is, if not where its bundle says."),
    ] = None,
    untuned: Annotated[
        str | None, typer.Option(help="Folder of pictures from the base without LoRA: an arm.")
    ] = None,
    unfiltered: Annotated[
        str | None, typer.Option(help="Folder of pictures that no filter has seen: an arm.")
    ] = None,
    folder: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A further folder and arm; repeat for several."),
    ] = None,
    ratios: Annotated[
        str | None, typer.Option(help="Added pictures in percent of the training part; 0,5,10.")
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Some of real, mix, oversample, routed, weighted, pretrain and the folders' "
            "names, at every ratio, or such as mix-90-10 at one; all but weighted and pretrain "
            "if not given."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Repetitions, each with folds of its own; 5.")
    ] = None,
    first_seed: Annotated[int | None, typer.Option(min=0, help="Number of the first; 0.")] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Of the cross-validation; as many as --splits holds, or 5."),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Folder of fixed folds, from `experiment split`, for folders made inside them; "
            "where no folder has learned from a photograph each seed has folds of its own."
        ),
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the photographs to choose by; 0.1.")
    ] = None,
    learned: Annotated[
        str | None,
        typer.Option(
            help="For folders without learned.json: the split.json by which the generator was "
            "trained, or none where no photograph has taught it, as with rendered pictures."
        ),
    ] = None,
    base_learned: Annotated[
        str | None,
        typer.Option(
            help="For a base that does not say what it has learned from, such as one from the hub: "
            "none, where it has seen no photograph of --data, or a split.json whose training part "
            "it has seen. The arm untuned needs it."
        ),
    ] = None,
    rule: Annotated[
        Rule | None, typer.Option(help="Which kinds receive synthetic pictures; rarity.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task to measure rarity by; repeat for several. All four if not given."),
    ] = None,
    weight: Annotated[
        float | None, typer.Option(help="Of an added picture's loss in the arm weighted; 0.5.")
    ] = None,
    pretraining: Annotated[
        float | None, typer.Option(help="Share of the steps for it in the arm pretrain; 0.3.")
    ] = None,
    routing_margin: Annotated[
        float | None,
        typer.Option(help="Standard errors by which a ratio must win to be routed to; 0."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Any convolutional timm model; mobilenetv3_large_100.")
    ] = None,
    pretrained: Annotated[
        str, typer.Option(help="auto (timm's weights from the hub), none, or a safetensors file.")
    ] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the real pictures; 12.")
    ] = None,
    frozen_blocks: Annotated[
        int | None,
        typer.Option(min=0, help="First stages of the backbone that do not learn: faster; 0."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Real pictures per step; 32.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate of the heads.")] = None,
    loss: Annotated[Loss | None, typer.Option(help="How imbalance is met.")] = None,
    prior_correction: Annotated[
        float | None, typer.Option(help="How far predictions move towards rare classes; 0.5.")
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(min=32, help="Side of the model's input in pixels; 224.")
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="This machine's share, from 0/N; auto/N in a Job.")
    ] = "0/1",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings side by side; as many as cores.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto (GPUs in turn, where there are some), cpu, cuda or cuda:1.")
    ] = "auto",
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
) -> None:
    """Train every arm in every fold of every seed, and leave records.

    Within a seed all arms share folds, initial weights, the real pictures'
    order and views, and the number of steps, so that they differ in the added
    pictures alone. Validation and test are real; photographs that a generator
    or its filter has learned from are never tested. Interrupted, the same
    command goes on with the trainings that are missing; with more seeds or
    arms, it adds them.
    """
    from training.classifier.settings import TrainSettings
    from training.experiment.commands import parse_names, parse_ratios, summary
    from training.experiment.experiment import Running, Shard, run_experiment
    from training.experiment.folders import GeneratorInputs
    from training.experiment.folds import count_folds
    from training.experiment.preparation import Inputs, Reporter
    from training.experiment.settings import DEFAULT_EPOCHS, ExperimentSettings
    from training.experiment.sources import parse_folders

    training = build_settings(
        TrainSettings,
        backbone=backbone,
        pretrained=pretrained,
        epochs=epochs or DEFAULT_EPOCHS,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=loss,
        prior_correction=prior_correction,
        input_size=input_size,
        cached_size=None if input_size is None else round(input_size * 8 / 7),
    )
    settings = build_settings(
        ExperimentSettings,
        ratios=parse_ratios(ratios),
        seeds=seeds,
        first_seed=first_seed,
        folds=folds or count_folds(splits),
        validation=validation,
        rule=rule,
        plan_tasks=None if task is None else tuple(task),
        weight=weight,
        pretraining=pretraining,
        routing_margin=routing_margin,
        frozen_blocks=frozen_blocks,
        training=training,
    )
    share = Shard.parse(shard)
    given = {"synthetic": synthetic, "untuned": untuned, "unfiltered": unfiltered}
    folders = {role: path for role, path in given.items() if path is not None}
    folders |= parse_folders(folder or [])
    made = None
    if generator is not None:
        made = GeneratorInputs(
            generator, classifier, base, device, base_declared=base_learned is not None
        )
        if share.count > 1:
            raise UserError(
                "--shard shares out trainings, and --generator makes pictures first; run "
                "`porcelain generator synthesize` once and give --synthetic."
            )
    with Stages() as stages:
        reporter = Reporter(
            message=stages.say,
            reading=lambda n, total: stages.report("Reading photographs", n, total),
            decoding=lambda n, total: stages.report("Decoding pictures", n, total),
            sampling=lambda n, total, note: stages.report("Sampling pictures", n, total, note),
            units=lambda n, total, note: stages.report("Training", n, total, note),
        )
        prepared, outcome = run_experiment(
            Inputs(data, folders, learned, base_learned, splits),
            out,
            settings,
            arms=parse_names(arms),
            generator=made,
            running=Running(share, workers, device),
            overwrite=overwrite,
            reporter=reporter,
        )
    if as_json:
        typer.echo(summary(out, prepared, outcome))
    done(
        f"Experiment: {out}, {outcome.done} trainings ({outcome.trained} of them now, "
        f"{outcome.seconds:.0f} s).",
        f"porcelain experiment report {out}",
    )


@app.command(epilog=SPLIT_EXAMPLES)
def split(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for fold-0.json and on.")],
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5,
    validation: Annotated[
        float, typer.Option(help="Share of the photographs for validation in each fold.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same folds.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write the folds of a cross-validation, to train a generator inside each.

    By object and duplicate group, stratified over the four tasks. Train the
    generator and its filter with --split on each file, synthesise a folder
    for each, and give both to `porcelain experiment run`.
    """
    from porcelain.dataset import load_dataset
    from porcelain.files import atomic_folder, check_free
    from training.data.split import make_folds, write_split
    from training.experiment.folds import fold_name

    check_free(out, overwrite, (data,))
    parts = make_folds(load_dataset(data), folds, seed, validation=validation)
    with atomic_folder(out, overwrite=overwrite) as work:
        for fold, part in enumerate(parts):
            write_split(work / fold_name(fold), part)
    done(
        f"Wrote {folds} folds to {out}.",
        f"porcelain generator train --data {data} --split {out / fold_name(0)} "
        "--out runs/generator-0",
    )


def parse_ratios(text: str | None) -> tuple[float, ...] | None:
    """Read `0,5,10`; None stays None.

    Raises:
        UserError: Not numbers.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--ratios {text!r} must be percentages, such as 0,5,10.") from error


def parse_names(text: str | None) -> list[str] | None:
    """Read `real,mix,routed`; None stays None.

    Raises:
        UserError: One is empty.
    """
    if text is None:
        return None
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UserError(f"--arms {text!r} must be names with commas between, such as real,mix.")
    return names


def summary(root: Path, prepared: Prepared, outcome: Outcome) -> str:
    """The result for programs."""
    return json.dumps(
        {
            "experiment": str(root),
            "arms": [arm.name for arm in prepared.arms],
            "seeds": list(prepared.seeds),
            "folds": prepared.experiment.folds,
            "photographs": len(prepared.experiment.pictures),
            "tested": sum(picture.tested for picture in prepared.experiment.pictures),
            "units": outcome.done,
            "trained": outcome.trained,
            "seconds": round(outcome.seconds, 1),
            "notes": prepared.experiment.notes,
        },
        indent=2,
    )
