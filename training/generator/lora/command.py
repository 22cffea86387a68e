"""`porcelain generator train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from porcelain.cli.console import Stages, done
from porcelain.cli.options import build_settings
from training.generator.options import Overwrite, Seed

EXAMPLES = """
[bold]Examples[/]

porcelain generator train --data PHOTOS --out runs/generator

porcelain generator train --data PHOTOS --base stable-diffusion-v1-5/stable-diffusion-v1-5
--out runs/generator --gradient-checkpointing --accumulation 2 --logs runs/logs

accelerate launch -m porcelain generator train --data PHOTOS --out runs/generator

[bold]Which pictures are seen how often:[/] a label that n training pictures carry asks for the
weight n^-power (--rarity-power, 0.5), and a picture has the largest weight that any of its labels
asks for.
"""


def train(
    data: Annotated[Path, typer.Option(help="Dataset folder: pictures and metadata.csv.")],
    out: Annotated[Path, typer.Option(help="Where to leave the bundle.")],
    base: Annotated[
        str | None,
        typer.Option(
            help="Stable Diffusion 1.x or 2.x: a hub id, a folder, or a base that ships "
            "(porcelain-small, if not given)."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; 1500 if not given.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="In place of --steps: passes over the pictures.")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Of the adapters; 16.")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Adapters are scaled by alpha / rank; the rank.")
    ] = None,
    text_encoder: Annotated[
        bool, typer.Option("--text-encoder", help="Let the text encoder learn too.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures per step, over all devices; 8.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak rate; 0.0001, or 0.003 for a base smaller than Stable Diffusion."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, help="Side of the pictures in pixels; the base's own.")
    ] = None,
    flip: Annotated[
        bool,
        typer.Option(help="Also learn from mirror images; --no-flip where inscriptions matter."),
    ] = True,
    rarity_power: Annotated[
        float | None, typer.Option(help="How far rare kinds are favoured, 0 to 1; 0.5.")
    ] = None,
    snr_gamma: Annotated[float | None, typer.Option(help="Bound of min-SNR weighting; 5.")] = None,
    noise_offset: Annotated[float | None, typer.Option(help="Strength; 0, off.")] = None,
    prompt_dropout: Annotated[
        float | None, typer.Option(help="Share of pictures shown without a prompt; 0.1.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="How labels become a prompt.", show_default=False)
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="The bundle's default for sampling; 5.")
    ] = None,
    sampling_steps: Annotated[
        int | None, typer.Option(min=1, help="The bundle's default for sampling; 25.")
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="split.json; by default the dataset's own, or made from the seed."),
    ] = None,
    seed: Seed = 0,
    name: Annotated[str, typer.Option(help="The model's name.")] = "porcelain-generator",
    mixed_precision: Annotated[
        Literal["auto", "no", "fp16", "bf16"],
        typer.Option(help="Of all but the adapters; auto: half precision where it is native."),
    ] = "auto",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = False,
    accumulation: Annotated[
        int | None, typer.Option(min=1, help="Passes that a batch is divided into; 1.")
    ] = None,
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Compile the model first: worth it on a GPU.")
    ] = False,
    previews: Annotated[
        int | None, typer.Option(min=0, help="Sample grids while training; 5.")
    ] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for TensorBoard.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder in which encoded pictures stay for other runs.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune a Stable Diffusion model with LoRA and leave a generator bundle.

    Learns from the photographs of the training part alone, described by their labels. Each is
    encoded once and kept, rare kinds are seen more often, and the result is loaded and sampled in
    a fresh process before it is called done. Interrupted, the same command goes on.
    """
    from training.generator.lora.pipeline import train_generator
    from training.generator.lora.settings import LoraSettings
    from training.generator.lora.trainer import Reporter

    settings = build_settings(
        LoraSettings,
        base=base,
        steps=steps,
        epochs=epochs,
        rank=rank,
        alpha=alpha,
        text_encoder=text_encoder,
        batch_size=batch_size,
        learning_rate=learning_rate,
        size=size,
        flip=flip,
        rarity_power=rarity_power,
        snr_gamma=snr_gamma,
        noise_offset=noise_offset,
        prompt_dropout=prompt_dropout,
        template=template,
        guidance_scale=guidance_scale,
        sampling_steps=sampling_steps,
        seed=seed,
        mixed_precision=mixed_precision,
        gradient_checkpointing=gradient_checkpointing,
        accumulation=accumulation,
        compile=compile_model,
        previews=previews,
    )
    with Stages() as stages:
        train_generator(
            data,
            out,
            settings,
            split=split,
            logs=logs,
            cache=cache,
            name=name,
            overwrite=overwrite,
            reporter=Reporter(
                stages.say,
                lambda count, total: stages.report("Encoding pictures", count, total),
                lambda step, total, loss: stages.report(
                    "Training", step, total, f"loss {loss:.3f}"
                ),
                lambda file: stages.say(f"Sample grid: {file}"),
            ),
        )
    done(f"Generator bundle: {out}", f"porcelain generator synthesize --bundle {out} --dry-run")
