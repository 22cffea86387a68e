"""`porcelain generator evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from porcelain.cli.console import Stages, done
from porcelain.cli.options import build_settings
from training.generator.options import (
    Base,
    BatchSize,
    Device,
    GeneratorBundle,
    Json,
    Overwrite,
    Seed,
    Split,
)

EXAMPLES = """
[bold]Before and after the LoRA, with real photographs as the floor:[/]

porcelain generator evaluate --bundle runs/generator --data photographs \\
--classifier runs/classifier --base-too --out runs/generator-report

[bold]In a space that knows nothing of porcelain:[/]

porcelain generator evaluate --bundle runs/generator --data photographs \\
--classifier runs/classifier --backbone tf_mobilenetv3_small_075 --pretrained weights.safetensors

[bold]What the filter kept, read by a classifier that did not filter it:[/]

porcelain generator evaluate --bundle runs/generator --data photographs --count 0 \\
--synthetic data/synthetic --classifier runs/other-classifier
"""


def evaluate(
    bundle: GeneratorBundle,
    data: Annotated[Path, typer.Option(help="The real photographs that it learned from.")],
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="Classifier bundle trained on the same training part: reads labels, and gives "
            "the feature space unless --backbone does."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="timm model whose features are the space.")
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Safetensors file with the weights of --backbone.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=0, help="Pictures of all kinds, and as many again of rare ones; 200."),
    ] = None,
    base_too: Annotated[
        bool, typer.Option("--base-too", help="Also judge the base model without the LoRA.")
    ] = False,
    synthetic: Annotated[
        Path | None, typer.Option(help="Dataset folder of generated pictures to judge too.")
    ] = None,
    match_size: Annotated[
        bool,
        typer.Option(help="Bring photographs to the generator's size before comparing."),
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and evaluation.json.")
    ] = None,
    batch_size: BatchSize = None,
    split: Split = None,
    base: Base = None,
    device: Device = "auto",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure a generator's pictures against the photographs that it learned from.

    Per class, for rare kinds and for all: KID, precision, recall, density and
    coverage, diversity, labels read as planned, copies found. Beside them the
    same measures of photographs: one half of the training part against the
    other, and those of validation and test. With --out an interrupted run goes
    on from the last batch.
    """
    from training.generator.evaluation.context import EvaluationInputs, EvaluationSettings
    from training.generator.evaluation.evaluate import (
        EvaluationReporter,
        evaluate_generator,
        evaluation_view,
    )

    settings = build_settings(
        EvaluationSettings,
        count=count,
        base_too=base_too,
        match_size=match_size,
        batch_size=batch_size,
        seed=seed,
    )
    inputs = EvaluationInputs(
        bundle, data, split, classifier, backbone, pretrained, synthetic, base, device
    )
    with Stages() as stages:
        evaluation = evaluate_generator(
            inputs,
            settings,
            out=out,
            overwrite=overwrite,
            reporter=EvaluationReporter(message=stages.say, progress=stages.report),
        )
        if not as_json:
            stages.say(evaluation_view(evaluation))
    if as_json:
        typer.echo(evaluation.model_dump_json(indent=2))
    if out is not None:
        done(f"Report: {out / 'report.html'}")
