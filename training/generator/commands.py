"""`porcelain generator`: pretrain, train, synthesize and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from porcelain.cli.console import Stages, done
from porcelain.cli.options import (
    Certificate,
    CertificateKey,
    DemoCertificate,
    build_settings,
)
from training.data.ratio import Rule

app = typer.Typer(
    help="Fine-tune Stable Diffusion and synthesise rare kinds.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

PRETRAIN_EXAMPLES = """
[bold]For as long as two cores take to learn forms and glazes:[/]

porcelain data render --out data/rendered --count 6000 --size 128

porcelain generator pretrain --data data/rendered --out models/mine --autoencoder-hours 1.5
--hours 4

[bold]Finish an interrupted run at once:[/] the same command with --steps 1.

[bold]On photographs, from what rendered pictures have taught:[/]

porcelain generator pretrain --data PHOTOS --out runs/base --base models/porcelain-small
--hours 0.5
"""

TRAIN_EXAMPLES = """
[bold]Examples[/]

porcelain generator train --data PHOTOS --out runs/generator

porcelain generator train --data PHOTOS --base stable-diffusion-v1-5/stable-diffusion-v1-5
--out runs/generator --gradient-checkpointing --accumulation 2 --logs runs/logs

accelerate launch -m porcelain generator train --data PHOTOS --out runs/generator

[bold]Which pictures are seen how often:[/] a label that n training pictures carry asks for the
weight n^-power (--rarity-power, 0.5), and a picture has the largest weight that any of its labels
asks for.
"""

SYNTHESIZE_EXAMPLES = """
[bold]As many as make the training part 10 % synthetic, the rarest classes most, filtered:[/]

porcelain generator synthesize --bundle runs/generator --data photographs \
--classifier runs/classifier --out data/synthetic

[bold]Look at the plan first, change it, and follow it:[/]

porcelain generator synthesize --bundle runs/generator --out data/synthetic --dry-run > plan.csv

porcelain generator synthesize --bundle runs/generator --out data/synthetic --plan plan.csv

[bold]Twenty of one kind:[/]

porcelain generator synthesize --bundle runs/generator --out data/vases --count 20 \
--labels glaze=celadon,kiln=longquan,type=vase

[bold]Variations of the rare photographs, in place of pictures from nothing:[/]

porcelain generator synthesize --bundle runs/generator --data photographs --vary 0.6 \
--classifier runs/classifier --out data/variations

Ends with status 1 where not one picture passed the filter.
"""

GeneratorBundle = Annotated[Path, typer.Option(help="Generator bundle.")]
Base = Annotated[
    str | None,
    typer.Option(help="Where its base model is, if not where the bundle says; digests must match."),
]
Device = Annotated[str, typer.Option(help="auto (CUDA where there is one), cpu or cuda.")]
Split = Annotated[
    Path | None,
    typer.Option(help="Split of --data; its split.json, or the bundle's, if not given."),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Pictures denoised at once.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@app.callback()
def generator() -> None:
    """Fine-tune Stable Diffusion and synthesise rare kinds."""


@app.command(epilog=PRETRAIN_EXAMPLES)
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
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of text encoder and UNet.")
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

    Autoencoder first, then text encoder and UNet together. The folder loads as
    a StableDiffusionPipeline and holds a model card, a grid of samples and the
    measures. Interrupted, the same command goes on from the last checkpoint;
    steps and hours may change in between.
    """
    from training.generator.pretraining.pipeline import pretrain
    from training.generator.pretraining.presentation import Presentation
    from training.generator.pretraining.settings import (
        AutoencoderSettings,
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
    second = build_settings(DiffusionSettings, steps=steps, hours=hours, batch_size=batch_size)
    runtime = build_settings(
        RuntimeSettings, precision=precision, compile=compile, preview_minutes=preview_minutes
    )
    settings = build_settings(
        PretrainSettings, size=size, seed=seed, autoencoder=first, diffusion=second, runtime=runtime
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


@app.command(epilog=TRAIN_EXAMPLES)
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
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate; 0.0001.")] = None,
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
    from training.generator.lora.pipeline import Reporter, train_generator
    from training.generator.lora.settings import LoraSettings

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


@app.command(epilog=SYNTHESIZE_EXAMPLES)
def synthesize(
    bundle: GeneratorBundle,
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="The real photographs: what rarity is counted by and what none may copy. "
            "If not given, the bundle's own counts."
        ),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(help="Classifier bundle that must read the planned labels."),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            metavar="REAL:SYNTHETIC",
            help="As many as give the training part these shares; 90:10 if not given.",
        ),
    ] = None,
    rule: Annotated[
        Rule,
        typer.Option(
            help="Which classes receive them: [bold]rarity[/], inversely to their photographs; "
            "[bold]uniform[/], every combination of labels alike; [bold]proportional[/], as the "
            "photographs are (a control).",
        ),
    ] = Rule.RARITY,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task to measure rarity by; repeat for several. All four if not given."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Pictures in all, in place of a ratio; with --labels, of each."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=LABEL,…", help="Make this kind alone; repeat for several."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="CSV with dynasty,glaze,kiln,type,count to follow to the letter."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan as CSV and stop.")
    ] = False,
    allow_unseen: Annotated[
        bool,
        typer.Option("--allow-unseen", help="Also join labels that no photograph shows together."),
    ] = False,
    vary: Annotated[
        float | None,
        typer.Option(
            metavar="STRENGTH",
            help="Begin at training photographs of the kind, not at noise, and change them by "
            "this much: 0.3 keeps the form, 0.8 little more than colours.",
        ),
    ] = None,
    agreement: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TASK=]SHARE",
            help="Least probability of the planned label, for all tasks or one; 0.5 if not given.",
        ),
    ] = None,
    attempts: Annotated[
        int | None, typer.Option(min=1, help="Most pictures sampled for each one planned; 6.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the sampler; the bundle's.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, help="How strictly prompts are followed; the bundle's.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=8, help="In pixels; the bundle's.")] = None,
    height: Annotated[int | None, typer.Option(min=8, help="In pixels; the bundle's.")] = None,
    batch_size: BatchSize = None,
    split: Split = None,
    base: Base = None,
    device: Device = "auto",
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    demo_certificate: DemoCertificate = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make pictures of rare kinds, throw away what is wrong, and leave a dataset folder.

    A plan says how many of which kind and is shown first; combinations that
    no photograph shows are not made. What the classifier reads otherwise,
    what copies a photograph or another picture, and what is blank, noisy or
    burnt is dropped and sampled again, until the plan is met or the attempts
    are used up. The folder says why, in manifest.jsonl and report.html.
    Interrupted, the same command goes on from the last batch.
    """
    from porcelain.content_credentials import load_signing
    from training.generator.synthesis.kinds import parse_kind
    from training.generator.synthesis.plan import plan_text
    from training.generator.synthesis.presentation import outcome_view, plan_view
    from training.generator.synthesis.settings import SynthesisSettings, parse_agreement
    from training.generator.synthesis.synthesize import (
        Inputs,
        Reporter,
        plan_synthesis,
        synthesize,
    )

    settings = build_settings(
        SynthesisSettings,
        ratio=ratio,
        count=count,
        rule=rule,
        tasks=None if task is None else tuple(task),
        allow_unseen=allow_unseen,
        variation=vary,
        attempts=attempts,
        steps=steps,
        guidance_scale=guidance_scale,
        width=width,
        height=height,
        agreement=parse_agreement(agreement or []),
        batch_size=batch_size,
        seed=seed,
    )
    kinds = tuple(parse_kind(text) for text in labels or [])
    signing = load_signing(certificate, certificate_key, demo_certificate)
    inputs = Inputs(bundle, data, split, classifier, base, device, plan, kinds, signing)
    if dry_run:
        typer.echo(plan_text(plan_synthesis(inputs, settings)), nl=False)
        return
    with Stages() as stages:
        report = synthesize(
            inputs,
            out,
            settings,
            overwrite=overwrite,
            reporter=Reporter(
                message=stages.say,
                planned=lambda plan: stages.say(plan_view(plan)),
                reading=lambda ready, total: stages.report(
                    "Reading photographs", ready, total, "comparing" if ready == total else ""
                ),
                sampling=lambda kept, total, note: stages.report("Sampling", kept, total, note),
            ),
        )
        stages.say(outcome_view(report))
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    made = f"{report.kept} of {report.planned} planned pictures (of {report.sampled} sampled)"
    if report.kept == 0:
        done(f"Not one picture passed the filter; see {out / 'report.html'} for the reasons.")
        raise typer.Exit(1)
    done(
        f"Wrote {out}: {made}; look at {out / 'report.html'}.",
        f"porcelain data mix --real {data or 'PHOTOS'} --synthetic {out} "
        f"--ratio {settings.ratio} --out data/mix",
    )


EVALUATE_EXAMPLES = """
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


@app.command(epilog=EVALUATE_EXAMPLES)
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
    from training.generator.evaluation.evaluate import EvaluationReporter, evaluate_generator
    from training.generator.evaluation.presentation import evaluation_view
    from training.generator.evaluation.ruler import EvaluationInputs
    from training.generator.evaluation.settings import EvaluationSettings

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
