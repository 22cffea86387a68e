"""`porcelain data`: make, import, check, split, mix, audit and correct dataset folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from porcelain.cli.console import ProgressReporter, done, progress
from training.data.import_commands import app as import_app
from training.data.ratio import Rule

app = typer.Typer(
    help="Make, import, check, split, mix, audit and correct dataset folders.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Dataset folder: pictures and metadata.csv.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="How many run at once; all cores if not given.")
]

RENDER_EXAMPLES = """
[bold]A small world to try everything on:[/]

porcelain data render --out data/rendered --count 600

[bold]A larger one, other objects, larger pictures:[/]

porcelain data render --out data/world --count 5000 --seed 7 --size 384 --workers 8

[bold]Three photographs of every object:[/]

porcelain data render --out data/views --count 600 --views 3

[bold]Pictures to mix into a collection's photographs, with none but its labels:[/]

porcelain data render --out data/rendered --count 1500 --size 256 --like photographs

porcelain data mix --real photographs --synthetic data/rendered --ratio 70:30 --out data/mix
"""

CHECK_EXAMPLES = """
[bold]Look over a folder; copies between the parts of its split.json count as errors:[/]

porcelain data check photographs

[bold]With another split, and for a program:[/]

porcelain data check photographs --split runs/split.json --json > report.json

[bold]Write a corrected copy, with a log of every change, and check that:[/]

porcelain data check photographs --fix corrected

Ends with status 0 where the folder can be trained on, 1 where that would mislead, 2 where the \
folder or the command cannot be read.
"""

SPLIT_EXAMPLES = """
[bold]80 % to train on, 10 % to choose by, 10 % to judge by; written to photographs/split.json:[/]

porcelain data split photographs

[bold]Other shares, another place:[/]

porcelain data split photographs --validation 0.15 --test 0.2 --seed 3 --out runs/split.json
"""

MIX_EXAMPLES = """
[bold]5 % of the training pictures synthetic, most of them of the rarest classes:[/]

porcelain data mix --real photographs --synthetic generated --ratio 95:5 --out data/mix-95-5

[bold]10 %, every kind alike; or rarity measured by vessel type alone:[/]

porcelain data mix --real photographs --synthetic generated --ratio 90:10 \
--rule uniform --out data/mix-90-10

porcelain data mix --real photographs --synthetic generated --ratio 90:10 --task type \
--out data/mix-type
"""

AUDIT_EXAMPLES = """
[bold]Judge every label; nothing in the folder is changed:[/]

porcelain data audit photographs --out runs/audit

[bold]Without the hub; with a bundle, which knows its own test part best:[/]

porcelain data audit photographs --out runs/audit --backbone tf_mobilenetv3_small_075 \
--pretrained weights.safetensors --bundle runs/classifier
"""

MERGE_EXAMPLES = """
[bold]What was decided in an audit's table, into a new folder:[/]

porcelain data merge photographs --corrections runs/audit/labels.csv --out data/corrected

[bold]Several tables, in place:[/]

porcelain data merge photographs --corrections labels.csv --corrections blanks.csv \
--who "L. Chen" --out photographs --overwrite
"""


@app.callback()
def data() -> None:
    """Make, import, check, split, mix, audit and correct dataset folders."""


app.add_typer(import_app, name="import")


@app.command(epilog=RENDER_EXAMPLES)
def render(
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures to render.")] = 600,
    seed: Seed = 0,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side in pixels.")] = 224,
    views: Annotated[
        int | None,
        typer.Option(min=1, help="Pictures of each object; if not given one, sometimes two."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Dataset folder that the pictures are to be mixed into: only labels that it has.",
        ),
    ] = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Render vessels with known labels, so that everything runs without photographs.

    Run the same command again after an interruption and it goes on where it stopped.
    """
    from porcelain.dataset import load_dataset
    from training.data.rendering.history import known_labels
    from training.data.rendering.render import World, render_dataset

    known = None if like is None else known_labels(load_dataset(like))
    with _pictures("Rendering") as rendering:
        summary = render_dataset(
            out,
            World(seed, size, views, known),
            count,
            workers=workers,
            overwrite=overwrite,
            on_progress=lambda ready: rendering(ready, count),
        )
    if as_json:
        _print_json(
            {
                "out": str(summary.out),
                "count": summary.count,
                "rendered": summary.rendered,
                "objects": summary.objects,
                "classes": summary.classes,
            }
        )
    classes = ", ".join(f"{n} {task}" for task, n in summary.classes.items())
    done(
        f"Rendered {summary.count} pictures of {summary.objects} objects ({classes}) to {out}.",
        f"porcelain data split {out}"
        if like is None
        else f"porcelain data mix --real {like} --synthetic {out} --ratio 70:30 --out data/mix",
    )


@app.command(epilog=CHECK_EXAMPLES)
def check(
    folder: Folder,
    split: Annotated[
        Path | None,
        typer.Option(help="Split file; if not given, split.json in the folder where there is one."),
    ] = None,
    minimum: Annotated[
        int, typer.Option(min=1, help="Real pictures under which a class is reported as rare.")
    ] = 5,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Write a corrected copy there, with corrections.csv, and check that instead.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Report what in a dataset folder would break training or mislead it.

    The table: column names that are nearly right, labels that look like
    blanks, several spellings of one label, quotes that swallow rows, paths.
    The pictures: unreadable, truncated and empty files; exact and near
    copies, above all across the parts of a split; names that belie the
    content; pictures that carry the mark of a generated picture and are not
    declared synthetic. The labels: missing, contradicting, rare.

    With --fix the folder itself stays as it is.
    """
    from training.data.check import check_dataset
    from training.data.corrections import LOG_FILE, write_corrected

    changes = []
    with _pictures("Reading pictures", "comparing") as reading:
        if fix is not None:
            changes = write_corrected(folder, fix, overwrite=overwrite)
        checked = fix or folder
        report = check_dataset(checked, None if fix else split, minimum, workers, reading)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        from training.data.presentation import check_view, corrections_view

        if fix is not None:
            _print(corrections_view(changes))
        _print(check_view(report))
    warnings = len(report.findings) - len(report.errors)
    made = f"Wrote {fix}: {len(changes)} change(s), each in {fix / LOG_FILE}. " if fix else ""
    verdict = f"{made}{checked}: {len(report.errors)} kind(s) of error, {warnings} of warning."
    if not report.errors:
        done(verdict, f"porcelain data split {checked}")
    elif fix is None:
        done(
            verdict + " Training on it would mislead.",
            f"porcelain data check {folder} --fix {folder.resolve().name}-corrected",
        )
    else:
        done(verdict + " What is left needs your eyes.", f"porcelain data check {fix} --json")
    raise typer.Exit(report.exit_status)


@app.command(epilog=SPLIT_EXAMPLES)
def split(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="File to write; split.json in the folder if not given.")
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the real pictures to choose models by.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the real pictures to judge models by.")
    ] = 0.1,
    seed: Seed = 0,
    workers: Workers = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Divide a dataset into train, validation and test, and write the division to a file.

    Photographs of one object, exact copies and near copies stay together;
    the four tasks' classes are spread evenly, the rarest first; synthetic
    pictures are only ever trained on.
    """
    from porcelain.bundle import SPLIT_FILE
    from porcelain.dataset import load_dataset
    from porcelain.errors import UserError
    from training.data import findings
    from training.data.duplicates import duplicate_groups
    from training.data.split import make_split, write_split

    path = out or folder / SPLIT_FILE
    if path.is_dir():
        raise UserError(f"{path} is a folder; give --out a file to write.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} already exists; choose another --out or add --overwrite.")
    if validation + test >= 1:
        raise UserError(
            f"--validation {validation:g} and --test {test:g} leave nothing to train on; "
            "together they must stay under 1."
        )
    dataset = load_dataset(folder)
    with _pictures("Looking for copies", "comparing") as reading:
        groups = duplicate_groups(dataset, workers, lambda ready: reading(ready, len(dataset)))
    fractions = (1 - validation - test, validation, test)
    result = make_split(dataset, fractions, seed, groups)
    faults = list(findings.parts(result.real_sizes(dataset), result.shares()))
    if empty := next((fault for fault in faults if fault.severity == "error"), None):
        raise UserError(f"{folder}: {empty.message} No split was written.")
    write_split(path, result)
    if as_json:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
    else:
        from training.data.presentation import split_view

        _print(split_view(dataset, result))
    sizes = ", ".join(f"{len(names)} {part}" for part, names in result.names.items())
    copies = f"; {len(groups)} group(s) of copies kept together" if groups else ""
    warned = "".join(f"\nWarning: {fault.message}" for fault in faults)
    done(
        f"Wrote {path}: {sizes}{copies}.{warned}",
        f"porcelain classifier train --data {folder} --out runs/classifier",
    )


@app.command(epilog=MIX_EXAMPLES)
def mix(
    real: Annotated[Path, typer.Option(help="Dataset folder of photographs.")],
    synthetic: Annotated[Path, typer.Option(help="Dataset folder of generated pictures.")],
    ratio: Annotated[
        str,
        typer.Option(
            metavar="REAL:SYNTHETIC",
            help="95:5: 5 % of the training pictures are synthetic, of real + synthetic.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    rule: Annotated[
        Rule,
        typer.Option(
            help="Which classes receive them: [bold]rarity[/], inversely to their real training "
            "pictures; [bold]uniform[/], every combination of labels alike; "
            "[bold]proportional[/], as the real ones are (a control).",
        ),
    ] = Rule.RARITY,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task to measure rarity by; repeat for several. All four if not given."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="Split of the real folder; its split.json, or a new one, if not given."),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Add a share of synthetic pictures to the training part of a real dataset.

    Validation and test stay as they are, real. Synthetic pictures that copy
    a training photograph or each other are left out; one that copies a
    validation or test photograph is refused.
    """
    from porcelain.vocabulary import TASKS
    from training.data.mix import mix_datasets

    with _pictures("Reading pictures", "comparing") as reading:
        report = mix_datasets(
            real, synthetic, out, ratio, rule, task or TASKS, split, seed, overwrite, reading
        )
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        from training.data.presentation import mix_view

        _print(mix_view(report))
    done(
        f"Wrote {out}: {report.real_train} real and {report.synthetic_train} synthetic pictures to "
        f"train on ({report.synthetic_share:.2%} synthetic), {report.validation} validation and "
        f"{report.test} test pictures, all real.",
        f"porcelain classifier train --data {out} --out runs/classifier",
    )


@app.command(epilog=AUDIT_EXAMPLES)
def audit(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder for the tables and the contact sheet.")],
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Classifier bundle, which answers for the pictures that it has not learned from."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="timm model that sees the pictures; it does not learn.")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(help="auto (timm's weights from the hub), none, or a safetensors file."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Parts that are judged by what the others teach; 5.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="Share of filled blanks that are to be right; 0.95.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find labels that are probably wrong, and blanks that could be filled.

    Every picture is judged by models that have not learned from it, together
    with the piece's other labels. Writes labels.csv (most suspicious first),
    blanks.csv, combinations.csv (labels that occur together once), audit.json
    and a contact sheet, audit.html. The dataset folder stays as it is: what
    you decide, write into the tables, and merge them.
    """
    from porcelain.cli.console import Stages
    from porcelain.cli.options import build_settings
    from training.audit.audit import AuditSettings, audit_dataset

    settings = build_settings(
        AuditSettings,
        backbone=backbone,
        pretrained=pretrained,
        folds=folds,
        precision=precision,
        seed=seed,
    )
    with Stages() as stages:
        found = audit_dataset(
            folder, out, settings, bundle=bundle, overwrite=overwrite, on_progress=stages.report
        )
    if as_json:
        _print_json(found.summary)
    wrong = sum(one.probably_wrong for one in found.judgements)
    filled = sum(found.summary["blanks_to_fill"].values())
    done(
        f"Wrote {out}: {len(found.judgements)} labels judged, {wrong} probably wrong; "
        f"{filled} of {len(found.blanks)} blanks could be filled; look at {out / 'audit.html'}.",
        f"porcelain data merge {folder} --corrections {out / 'labels.csv'} --out data/corrected",
    )


@app.command(epilog=MERGE_EXAMPLES)
def merge(
    folder: Folder,
    corrections: Annotated[
        list[Path],
        typer.Option(help="CSV of reviewed corrections; repeat for several, the last one wins."),
    ],
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    who: Annotated[
        str | None, typer.Option(help="Who decided, for rows whose column who is blank.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Take reviewed corrections into a dataset folder, and keep who changed what.

    A table has the columns file_name, task, old_label, new_label, who, when
    and why; rows with a blank new_label were not decided and are passed
    over, and - makes a label unknown. A row whose old_label is no longer the
    label stops the merge. The log of all of them, label-corrections.csv, grows
    in the folder, and the columns corrected_by, corrected_at and
    corrected_from say it of each picture. With --out the folder itself and
    --overwrite, only its tables are replaced.
    """
    from training.data.merge import merge_corrections

    report = merge_corrections(folder, corrections, out, who=who, overwrite=overwrite)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    changes = ", ".join(f"{count} {task}" for task, count in report.changed.items()) or "no label"
    done(
        f"Wrote {out}: {changes} corrected in {report.pictures} pictures; {report.confirmed} "
        f"confirmed, {report.undecided} undecided.",
        f"porcelain data check {out}",
    )


@contextmanager
def _pictures(description: str, then: str = "") -> Iterator[Callable[[int, int], None]]:
    """A bar that appears with the first picture, so that a mistake leaves one line and no bar."""
    with ExitStack() as stack:
        bars: list[ProgressReporter] = []

        def report(ready: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress(description, total)))
            bars[0].completed(ready, then if ready == total else "")

        yield report


def _print(view: object) -> None:
    from rich.console import Console

    Console(highlight=False).print(view)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
