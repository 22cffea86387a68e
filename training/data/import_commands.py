"""`porcelain data import`: tables, folders, exports and museums' records as dataset folders."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from porcelain.cli.console import Stages, done
from training.data.museums.commands import EXAMPLES as MUSEUM_EXAMPLES
from training.data.museums.commands import import_ as import_museum

if TYPE_CHECKING:
    from training.data.tables import Table, TableOptions


class _ImportGroup(TyperGroup):
    """Subcommands, and the names of museums, which stood in their place at first."""

    def get_command(self, context: Any, name: str) -> Any:  # noqa: ANN401 - click's, which typer hides
        return super().get_command(context, name) or super().get_command(context, "museum")

    def resolve_command(self, context: Any, args: list[str]) -> Any:  # noqa: ANN401
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            return "museum", self.commands["museum"], args  # `import met` is `import museum met`
        return super().resolve_command(context, args)


app = typer.Typer(
    help="Bring in what you have: a table, folders, an export, a museum's records.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    cls=_ImportGroup,
)

Out = Annotated[Path, typer.Option(help="Dataset folder to write.")]
Images = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder, or zip, of the pictures.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="COLUMN=MEANING",
        help="What a column means, such as [bold]Period=dynasty[/]; repeat for several.",
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option("--mapping", metavar="FILE", help="An edited mapping.yaml of an earlier run."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")]

TABLE_EXAMPLES = """
[bold]A catalogue from Excel and the folder of its pictures:[/]

porcelain data import table catalogue.xlsx --images photos --out dataset

[bold]Look at dataset/import.html, edit dataset/mapping.yaml, and run again:[/]

porcelain data import table catalogue.xlsx --images photos --out dataset \\
--mapping dataset/mapping.yaml --overwrite

[bold]Columns with names of your own; a sheet; a zip of table and pictures:[/]

porcelain data import table list.csv --images photos --out dataset \\
--map "Epoque=dynasty" --map "Cote=object_id"

porcelain data import table catalogue.xlsx --sheet Ceramics --images photos --out dataset

porcelain data import table everything.zip --out dataset
"""

FOLDERS_EXAMPLES = """
[bold]photos/ming/bowl/1.jpg: a level for the dynasty, one for the type:[/]

porcelain data import folders photos --out dataset --levels dynasty,type

[bold]Levels found out by the folders' names; object numbers as folders:[/]

porcelain data import folders photos --out dataset

porcelain data import folders photos.zip --out dataset --levels kiln,-,object_id
"""

STUDIO_EXAMPLES = """
porcelain data import label-studio export.json --images photos --out dataset
"""

HUGGINGFACE_EXAMPLES = """
porcelain data import huggingface downloaded/porcelain --out dataset
"""


@app.callback()
def import_group() -> None:
    """Bring in what you have: a table, folders, an export, a museum's records.

    Each writes a dataset folder with copies of the pictures, import.html
    (what was read, what was left blank and why, doubtful first) and, but for
    museums, mapping.yaml to edit and run again.
    """


@app.command(epilog=TABLE_EXAMPLES)
def table(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An .xlsx, .csv or .tsv file, or a zip with one.")
    ],
    out: Out,
    images: Images = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    sheet: Annotated[
        str | None, typer.Option(help="Sheet of a workbook; the one with the best header else.")
    ] = None,
    header: Annotated[
        int | None, typer.Option(min=1, help="Row of the header; found out if not given.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a text, such as gb18030; found out if not given.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Bring in a table and the pictures that it names.

    Columns are found by their names in English and Chinese; labels are read
    from names, slugs and free text ("Qing dynasty, Kangxi reign", 明宣德).
    Pictures are found by file name or by the object's number. Other columns
    are carried along. Any usual encoding and separator is read.
    """
    from training.data.mapping import count_known
    from training.data.sources import RECORDS, is_zip, records_table, table_in
    from training.data.tables import TableOptions, read_table

    options: TableOptions = TableOptions(sheet, encoding, header)

    def read(place: Path) -> Table:
        if place.is_dir():
            return table_in(place, options)
        if place.suffix.lower() in RECORDS:
            return records_table(place)
        return read_table(place, count_known, options)

    beside = None if is_zip(file) else file.parent
    _run(file, read, images or beside, out, columns, mapping, overwrite, as_json)


@app.command(epilog=FOLDERS_EXAMPLES)
def folders(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folders of pictures, or a zip.")],
    out: Out,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="TASK,TASK",
            help="What each level of folders means, from the top: a task, object_id, or - for "
            "nothing; found out by the folders' names if not given.",
        ),
    ] = None,
    mapping: MappingFile = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Bring in a tree of folders whose names are labels."""
    from porcelain.vocabulary import default_taxonomy
    from training.data.labels import LabelNames
    from training.data.sources import folders_table

    def read(place: Path) -> Table:
        given = None if levels is None else levels.split(",")
        return folders_table(place, given, LabelNames(default_taxonomy()))

    _run(folder, read, None, out, None, mapping, overwrite, as_json)


@app.command("label-studio", epilog=STUDIO_EXAMPLES)
def label_studio(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON export, or a zip of it and the pictures.")
    ],
    out: Out,
    images: Images = None,
    columns: Columns = None,
    mapping: MappingFile = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Bring in an export of Label Studio (JSON or JSON-MIN).

    Controls are columns here: each that is named as a task, or whose choices
    are its labels, is read. Annotators who differ leave a blank.
    """
    from porcelain.errors import UserError
    from training.data.sources import is_zip, label_studio_table

    def read(place: Path) -> Table:
        if place.is_dir():
            found = sorted(place.rglob("*.json"))
            if len(found) != 1:
                raise UserError(f"{file} holds {len(found)} .json files; one export is expected.")
            place = found[0]
        return label_studio_table(place)

    beside = None if is_zip(file) else file.parent
    _run(file, read, images or beside, out, columns, mapping, overwrite, as_json)


@app.command(epilog=HUGGINGFACE_EXAMPLES)
def huggingface(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="An imagefolder of Hugging Face, or a zip of one.")
    ],
    out: Out,
    columns: Columns = None,
    mapping: MappingFile = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Bring in an imagefolder: metadata.jsonl, .csv or .parquet, split folders.

    Without such a file the folders' names are read as labels. What the
    folders train, validation and test hold is kept in a column split.
    """
    from porcelain.vocabulary import default_taxonomy
    from training.data.labels import LabelNames
    from training.data.sources import huggingface_table

    def read(place: Path) -> Table:
        return huggingface_table(place, LabelNames(default_taxonomy()))

    _run(folder, read, None, out, columns, mapping, overwrite, as_json)


app.command("museum", epilog=MUSEUM_EXAMPLES)(import_museum)


def _run(
    source: Path,
    read: Callable[[Path], Table],
    images: Path | None,
    out: Path,
    columns: list[str] | None,
    mapping: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Read, import, and say what was made; `images` of None lie in the source itself."""
    from porcelain.errors import UserError
    from porcelain.files import check_free
    from porcelain.vocabulary import default_taxonomy
    from training.data.import_report import report_view
    from training.data.imports import import_table
    from training.data.mapping import Mapping, load_mapping
    from training.data.sources import unpacked

    if not source.exists():
        raise UserError(f"There is no {source}.")
    given = Mapping() if mapping is None else load_mapping(mapping)
    named = dict(given.columns)
    for item in columns or []:
        name, separator, meaning = item.rpartition("=")
        if not separator or not name:
            raise UserError(f"--map {item!r} must be COLUMN=MEANING, such as Period=dynasty.")
        named[name.strip()] = meaning.strip()
    check_free(out, overwrite, [path for path in (source, images) if path])
    with ExitStack() as stack:
        place = stack.enter_context(unpacked(source, out))
        pictures = stack.enter_context(unpacked(images, out)) if images else place
        table = read(place)
        with Stages() as stages:
            report = import_table(
                table,
                pictures,
                out,
                taxonomy=default_taxonomy(),
                given=Mapping(named, given.values),
                source=str(source),
                overwrite=overwrite,
                on_progress=stages.report,
            )
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        from rich.console import Console

        Console(highlight=False).print(report_view(report))
    done(
        f"Wrote {out}: {report.pictures} pictures from {report.rows_with_pictures} of "
        f"{report.rows} rows; {len(report.rows_left_out)} row(s) and "
        f"{len(report.pictures_left_out)} file(s) not matched. Look at {out / 'import.html'}; "
        f"what it says can be changed in {out / 'mapping.yaml'}.",
        f"porcelain data check {out}",
    )
