"""`porcelain classifier`: train, evaluate, compare and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from porcelain.cli.console import Stages, console, done, progress
from porcelain.cli.options import build_settings

if TYPE_CHECKING:
    from porcelain.bundle import Bundle
    from training.classifier.records import EpochRecord

app = typer.Typer(
    help="Train, evaluate, compare and export classifiers.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Loss = Literal["cross-entropy", "logit-adjusted", "class-balanced"]
Similar = Literal["none", "names", "thumbnails"]
Subset = Literal["auto", "train", "validation", "test", "all"]

TRAIN_EXAMPLES = """
[bold]Examples[/]

porcelain classifier train --data PHOTOS --out runs/classifier

porcelain classifier train --data PHOTOS --out runs/photographs --rendered none

porcelain classifier train --data PHOTOS --out runs/small --backbone tf_mobilenetv3_small_075
--pretrained weights.safetensors

accelerate launch -m porcelain classifier train --data PHOTOS --out runs/classifier
"""


@app.command(epilog=TRAIN_EXAMPLES)
def train(
    data: Annotated[Path, typer.Option(help="Dataset folder: pictures and metadata.csv.")],
    out: Annotated[Path, typer.Option(help="Where to leave the bundle.")],
    backbone: Annotated[
        str, typer.Option(help="Any convolutional timm model.")
    ] = "mobilenetv3_large_100",
    pretrained: Annotated[
        str, typer.Option(help="auto (timm's weights from the hub), none, or a safetensors file.")
    ] = "auto",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pictures.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Pictures per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate of the heads.")] = None,
    loss: Annotated[Loss | None, typer.Option(help="How imbalance is met.")] = None,
    input_size: Annotated[
        int | None, typer.Option(min=32, help="Side of the model's input in pixels.")
    ] = None,
    selective_accuracy: Annotated[
        float | None,
        typer.Option(help="Accuracy wanted of answers that are not abstained from."),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Models trained alike but for their seeds, that answer together: more accurate, "
            "and as many times the work. 3 by default, 1 without pretrained weights.",
        ),
    ] = None,
    rendered: Annotated[
        str,
        typer.Option(
            metavar="auto|none|SHARE|DIR",
            help="Rendered vessels to learn from beside photographs: auto (where the renderer is "
            "installed and knows most labels), none, their share of what a model sees such as 0.3, "
            "or a folder that `porcelain data render` has made. They teach, and are nowhere else: "
            "not in validation, test, likeness or similar pictures.",
        ),
    ] = "auto",
    split: Annotated[
        Path | None,
        typer.Option(help="split.json; by default the dataset's own, or made from the seed."),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            help="Once measured, train again on every picture; --no-refit serves the measured one."
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    name: Annotated[str, typer.Option(help="The model's name.")] = "porcelain-classifier",
    similar: Annotated[
        Similar,
        typer.Option(
            help="What the bundle keeps of its training pictures, to show the most similar: none, "
            "names (and labels, but no picture), or thumbnails, of those whose column license is "
            "public domain, CC BY or CC BY-SA."
        ),
    ] = "names",
    logs: Annotated[Path | None, typer.Option(help="Folder for TensorBoard.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is at --out.")] = False,
) -> None:
    """Train on a dataset folder and leave a classifier bundle.

    Fine-tunes a backbone with one head per task (dynasty, glaze, kiln, type), calibrates it,
    chooses abstention thresholds, measures it on the test part, exports it to ONNX and checks the
    file against torch. Once measured, it trains again on every picture for the model that is
    served, because rare kinds have none to spare. Interrupted, the same command goes on from the
    last epoch.
    """
    from training.classifier.settings import TrainSettings

    settings = build_settings(
        TrainSettings,
        backbone=backbone,
        pretrained=pretrained,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=loss,
        input_size=input_size,
        selective_accuracy=selective_accuracy,
        members=members,
        rendered=rendered,
        refit=refit,
        seed=seed,
    )
    from training.classifier.pipeline import Reporter, train_classifier

    with Stages() as stages:

        def preparing(count: int, total: int) -> None:
            stages.report("Decoding pictures", count, total)

        def rendering(count: int, total: int) -> None:
            stages.report("Rendering vessels", count, total)

        def epoch_done(record: EpochRecord) -> None:
            scores = " ".join(f"{task} {f1:.2f}" for task, f1 in record.f1_macro.items())
            note = f"loss {record.loss:.2f}  F1 {scores}"
            stages.report("Epoch", record.epoch, settings.epochs, note, every=True)

        bundle = train_classifier(
            data,
            out,
            settings,
            split=split,
            logs=logs,
            name=name,
            similar=similar,
            overwrite=overwrite,
            reporter=Reporter(stages.say, preparing, rendering, epoch_done),
        )
    print_metrics(bundle)
    done(
        f"Classifier bundle: {out}",
        f"porcelain serve classifier --bundle {out}",
    )


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    data: Annotated[Path, typer.Option(help="Dataset folder to measure on.")],
    subset: Annotated[
        Subset,
        typer.Option(help="auto: every picture that the bundle did not learn from."),
    ] = "auto",
    known: Annotated[
        str | None,
        typer.Option(
            metavar="TASK[,TASK]",
            help="Give the folder's labels of these tasks as facts and measure the others.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and evaluation.json.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace what is at --out.")] = False,
) -> None:
    """Measure a bundle on labelled pictures, with 95 % intervals.

    Prints F1-macro, balanced accuracy, accuracy and log loss per task; with --out, also writes a
    report for people: per-class results, confusion matrices, calibration and the worst mistakes
    as pictures.

    Examples:
    porcelain classifier evaluate --bundle runs/classifier --data PHOTOS --out runs/report

    porcelain classifier evaluate --bundle runs/classifier --data PHOTOS --json

    porcelain classifier evaluate --bundle runs/classifier --data PHOTOS --known dynasty,glaze
    """
    from training.classifier.evaluation.evaluate import evaluate_bundle

    with progress("Evaluating") as bar:
        result = evaluate_bundle(
            bundle,
            data,
            subset=subset,
            known=[task.strip() for task in (known or "").split(",") if task.strip()],
            out=out,
            overwrite=overwrite,
            resamples=resamples,
            seed=seed,
            on_progress=bar.report,
        )
    if json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        result.print_summary(console())
    if out is not None:
        done(f"Report: {out / 'report.html'}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Classifier bundle.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another; differences are B - A.")],
    data: Annotated[Path, typer.Option(help="Dataset folder to measure on.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for comparison.html and comparison.json.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace what is at --out.")] = False,
) -> None:
    """Say which of two bundles is better, on pictures that neither has learned from.

    Per task the differences of F1-macro, accuracy and log loss with 95 % intervals over objects,
    calibration, the pictures that turned, and one sentence. Pictures whose object either bundle
    has learned from are left out; where a bundle's own test part is judged, its held-out graph
    answers. Refuses to judge where too few pictures are left.

    Examples:
    porcelain classifier compare runs/old runs/new --data PHOTOS

    porcelain classifier compare runs/old runs/new --data PHOTOS --out runs/compared
    """
    from training.classifier.evaluation.compare import compare_bundles

    with progress("Comparing") as bar:
        result = compare_bundles(
            first,
            second,
            data,
            out=out,
            overwrite=overwrite,
            resamples=resamples,
            seed=seed,
            on_progress=bar.report,
        )
    if json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        result.print_summary(console())
    if out is not None:
        done(f"Comparison: {out / 'comparison.html'}")


@app.command()
def export(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle to export again.")],
    out: Annotated[Path, typer.Option(help="Where to leave the new bundle.")],
    overwrite: Annotated[bool, typer.Option(help="Replace what is at --out.")] = False,
) -> None:
    """Export a bundle's trained weights to ONNX again, with this version of the exporter.

    The weights (model.safetensors), labels, temperatures and thresholds stay; the graph is made
    anew, checked against torch in a fresh process and put into a new bundle.

    Example:
    porcelain classifier export --bundle runs/classifier --out runs/classifier-new
    """
    from training.classifier.bundling import export_again

    difference = export_again(bundle, out, overwrite=overwrite)
    done(
        f"Classifier bundle: {out} (differs from torch by at most {difference:.1e})",
        f"porcelain serve classifier --bundle {out}",
    )


def print_metrics(bundle: Bundle) -> None:
    """Show what the bundle says of itself on its test part."""
    from rich.table import Table

    caveats = bundle.classifier.abstention_caveats
    for caveat in dict.fromkeys(caveats.values()):
        tasks = ", ".join(task for task in caveats if caveats[task] == caveat)
        text = f"{tasks}: no accuracy is guaranteed above the abstention threshold. {caveat}"
        console().print(text, markup=False, soft_wrap=True)
    metrics = bundle.classifier.metrics
    if not metrics:
        console().print("No test pictures: nothing was measured.")
        return
    table = Table("task", "pictures", "F1-macro", "accuracy", title="On the test part (95 %)")
    for task, result in metrics.items():
        f1, accuracy = result.f1_macro, result.accuracy
        table.add_row(
            task,
            str(result.support),
            f"{f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f})",
            f"{accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})",
        )
    console().print(table)
