"""`porcelain generator pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from porcelain.cli.console import Stages, done
from porcelain.cli.options import build_settings
from training.generator.options import Overwrite, Seed

EXAMPLES = """
[bold]For as long as two cores take to learn forms and glazes:[/]

porcelain data render --out data/rendered --count 6000 --size 128

porcelain generator pretrain --data data/rendered --out models/mine --autoencoder-hours 1.5
--hours 4

[bold]Finish an interrupted run at once:[/] the same command with --steps 1.

[bold]On photographs, from what rendered pictures have taught:[/]

porcelain generator pretrain --data PHOTOS --out runs/base --base models/porcelain-small
--hours 0.5
"""


def pretrain(
    data: Annotated[Path, typer.Option(help="Dataset folder; its training part is learned.")],
    out: Annotated[Path, typer.Option(help="Where to leave the pipeline folder.")],
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels; 128.")] = None,
    autoencoder_steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of the autoencoder.")
    ] = None,
    autoencoder_hours: Annotated[
        float | None, typer.Option(help="End the autoencoder's training after so many hours.")
    ] = None,
    autoencoder_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures per step of the autoencoder.")
    ] = None,
    decoder_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps of its decoder alone after that, or with --base in its place; 1500.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Optimiser steps of text encoder and UNet; 0 keeps those of --base."
        ),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="End their training after so many hours.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures per step of text encoder and UNet.")
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(
            help="Features the autoencoder is held to beside structure: auto (timm's weights from "
            "the hub), none, a safetensors file, or a classifier bundle."
        ),
    ] = None,
    perceptual_backbone: Annotated[
        str | None, typer.Option(help="timm's name of the model in a safetensors file.")
    ] = None,
    judge: Annotated[
        str,
        typer.Option(help="Features to measure reconstruction in; named like --perceptual."),
    ] = "none",
    base: Annotated[
        Path | None,
        typer.Option(help="Go on from a base that this command has left, on other pictures."),
    ] = None,
    autoencoder: Annotated[
        Path | None,
        typer.Option(help="Pipeline folder whose autoencoder to use, in place of training one."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="split.json; by default the dataset's own, or made from the seed."),
    ] = None,
    precision: Annotated[
        Literal["auto", "bf16", "fp32"] | None,
        typer.Option(help="auto: bfloat16 where the processor computes it natively."),
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile first; needs a C++ compiler on a CPU.")
    ] = False,
    preview_minutes: Annotated[
        float | None, typer.Option(help="Between sample grids on the way; 30.")
    ] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for TensorBoard.")] = None,
    name: Annotated[str, typer.Option(help="The base's name.")] = "porcelain-small",
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train a small Stable Diffusion, from scratch or an earlier one, as a base to fine-tune.

    Autoencoder first, its decoder once more against a discriminator, then text
    encoder and UNet together. The folder loads as a StableDiffusionPipeline and
    holds a model card, a grid of samples and the measures. Interrupted, the same
    command goes on from the last checkpoint; steps and hours may change in between.
    """
    from training.generator.pretraining.pipeline import Presentation, pretrain
    from training.generator.pretraining.settings import (
        AutoencoderSettings,
        DecoderSettings,
        DiffusionSettings,
        PretrainSettings,
        RuntimeSettings,
    )

    first = build_settings(
        AutoencoderSettings,
        steps=autoencoder_steps,
        hours=autoencoder_hours,
        batch_size=autoencoder_batch_size,
        perceptual=perceptual,
        perceptual_backbone=perceptual_backbone,
    )
    decoder = build_settings(DecoderSettings, steps=decoder_steps)
    second = build_settings(DiffusionSettings, steps=steps, hours=hours, batch_size=batch_size)
    runtime = build_settings(
        RuntimeSettings, precision=precision, compile=compile, preview_minutes=preview_minutes
    )
    settings = build_settings(
        PretrainSettings,
        size=size,
        seed=seed,
        autoencoder=first,
        decoder=decoder,
        diffusion=second,
        runtime=runtime,
    )
    with Stages() as stages:
        measures = pretrain(
            data,
            out,
            settings,
            split=split,
            base=base,
            autoencoder=autoencoder,
            judge=judge,
            logs=logs,
            name=name,
            overwrite=overwrite,
            reporter=Presentation(stages).reporter(),
        )
    millions = measures["parameters"]["total"] / 1e6
    done(
        f"Wrote {out}: {millions:.1f} M parameters, {measures['bytes'] / 2**20:.1f} MiB; "
        f"look at {out / 'grid.png'}.",
        f"porcelain generator train --data {data} --base {out} --out runs/generator",
    )
