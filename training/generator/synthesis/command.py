"""`porcelain generator synthesize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from porcelain.cli.console import Stages, done
from porcelain.cli.options import Certificate, CertificateKey, DemoCertificate, build_settings
from training.data.ratio import Rule
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

[bold]Forms from rendered pictures, their look from the photographs:[/]

porcelain generator synthesize --bundle runs/generator --data photographs --vary 0.6 \
--vary-from data/rendered --classifier runs/classifier --out data/variations

Ends with status 1 where not one picture passed the filter.
"""


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
    vary_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Dataset folder to begin at in place of training photographs, such as rendered "
            "pictures, whose forms a collection may lack.",
        ),
    ] = None,
    control: Annotated[
        str,
        typer.Option(
            metavar="canny|depth|none",
            help="Follow the edges or the depth of a "
            "rendered vessel of the kind; the renderer knows forms, the generator looks.",
        ),
    ] = "none",
    control_model: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="ControlNet for it: a folder, or a hub id such as lllyasviel/sd-controlnet-canny.",
        ),
    ] = None,
    agreement: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TASK=]SHARE",
            help="Least probability of the planned label, for all tasks or one; 0.5 if not given, "
            "0 passes any.",
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
    from training.generator.synthesis.plan import parse_kind, plan_text
    from training.generator.synthesis.results import outcome_view, plan_view
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
        control=control,
        control_model=control_model,
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
    inputs = Inputs(bundle, data, split, classifier, base, device, plan, kinds, signing, vary_from)
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
