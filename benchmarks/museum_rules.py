"""How well the rules of the museum imports read catalogue records, against labels by hand.

    python -m benchmarks.museum_rules --records ../shared/museum-records

The labels (tests/training/data/museums/labels.csv) were written before the rules, and half of them
is held out: the rules were made while looking at the other half only. The second sample
(labels_second.csv) was labelled after the rules, blind to what they answered; once it had been
measured it was looked at too, so that only the held-out half still says how the rules do on what
nobody looked at.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from benchmarks.museum_records import raw_records
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS
from training.data.museums.labels import Catalogued, catalogue
from training.data.museums.museum import museum
from training.data.museums.record import read_record

LABELS = Path(__file__).parents[1] / "tests" / "training" / "data" / "museums"
HALVES = ("development", "held out")
SECOND = "second sample"
PRECISION_AIM, RECALL_AIM = 0.97, 0.90


@dataclass(frozen=True)
class Truth:
    """A record as labelled by hand; labels are None where blank or not kept."""

    museum: str
    record: str
    half: str
    kept: bool
    labels: dict[str, str | None]


@dataclass
class Score:
    """Counts of one task: right labels, wrong ones (also where blank is right), and missed ones."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Of the labels given, how many are right."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Of the labels that are to be given, how many are; a wrong one is a missed one too."""
        return self.right / max(1, self.right + self.missed)


def read_truth() -> list[Truth]:
    """The labels by hand, of all three parts."""
    truths = []
    for name in ("labels.csv", "labels_second.csv"):
        with (LABELS / name).open(encoding="utf-8") as file:
            truths += [
                Truth(
                    row["museum"],
                    row["record"],
                    half_of(row["museum"], row["object"]) if name == "labels.csv" else SECOND,
                    row["kept"] == "yes",
                    {task: row[task] or None for task in TASKS},
                )
                for row in csv.DictReader(file)
            ]
    return truths


def half_of(name: str, object_: str) -> str:
    """Which half an object belongs to, by a hash that knows nothing of the record."""
    return HALVES[hashlib.sha256(f"{name}:{object_}".encode()).digest()[0] % 2]


def readings(folder: Path) -> dict[tuple[str, str], Catalogued]:
    """Every shared record as the rules read it, by museum and id."""
    found = {}
    for name, raw in raw_records(folder):
        record = read_record(name, museum(name), raw)
        if record is not None:
            found[name, record.id] = catalogue(record, museum(name))
    return found


def score(truths: list[Truth], read: dict[tuple[str, str], Catalogued]) -> dict[str, Score]:
    """Counts per task over the records that both keep, and `kept` for the choice itself."""
    scores = {name: Score() for name in ("kept", *TASKS)}
    for truth in truths:
        entry = read[truth.museum, truth.record]
        kept = entry.choice.kept
        scores["kept"].right += kept and truth.kept
        scores["kept"].wrong += kept and not truth.kept
        scores["kept"].missed += truth.kept and not kept
        for task in TASKS:
            given = entry.labels[task] if kept else None
            expected = truth.labels[task]
            scores[task].right += given is not None and given == expected
            scores[task].wrong += given is not None and given != expected
            scores[task].missed += expected is not None and given != expected
    return scores


def main(
    records: Annotated[Path, typer.Option(help="Folder of the twelve museums' records.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    disagreements: Annotated[
        bool, typer.Option(help="List where rules and hand differ, but not on the held-out half.")
    ] = False,
) -> None:
    """Precision and recall of the rules per task, on both halves and on the second sample."""
    read = readings(records)
    truths = read_truth()
    missing = [t for t in truths if (t.museum, t.record) not in read]
    if missing:
        raise UserError(f"{records} lacks {missing[0].museum} {missing[0].record}.")
    result: dict[str, Any] = {}
    for half in (*HALVES, SECOND):
        part = [truth for truth in truths if truth.half == half]
        scores = score(part, read)
        result[half] = {
            task: {**vars(s), "precision": s.precision, "recall": s.recall}
            for task, s in scores.items()
        }
        if not as_json:
            Console().print(_view(half, part, scores))
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    if disagreements:
        _list(truths, read)


def _view(half: str, part: list[Truth], scores: dict[str, Score]) -> Table:
    kept = Counter(truth.kept for truth in part)
    table = Table(title=f"{half}: {len(part)} records, {kept[True]} of them Chinese ceramics")
    columns = ("task", "precision", "95 %", "recall", "95 %", "right", "wrong", "missed")
    for column in columns:
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, s in scores.items():
        cells = []
        for value, aim, failed in (
            (s.precision, PRECISION_AIM, s.wrong),
            (s.recall, RECALL_AIM, s.missed),
        ):
            shown = f"{value:.1%}"
            cells += [shown if value >= aim else f"[red]{shown}[/]", _interval(s.right, failed)]
        table.add_row(task, *cells, str(s.right), str(s.wrong), str(s.missed))
    return table


def _interval(right: int, failed: int) -> str:
    """Wilson's 95 % interval of a share."""
    if not right + failed:
        return ""
    bounds = binomtest(right, right + failed).proportion_ci(method="wilson")
    return f"{100 * bounds.low:.0f}–{100 * bounds.high:.0f}"


def _list(truths: list[Truth], read: dict[tuple[str, str], Catalogued]) -> None:
    for truth in truths:
        entry = read[truth.museum, truth.record]
        if truth.half == "held out":
            continue
        if entry.choice.kept != truth.kept:
            print(f"{truth.museum} {truth.record}: kept {truth.kept}, {entry.choice.why or 'kept'}")
        for task in TASKS if truth.kept and entry.choice.kept else ():
            reading = entry.readings[task]
            if reading.label != truth.labels[task]:
                print(
                    f"{truth.museum} {truth.record} {task}: {truth.labels[task]}, not "
                    f"{reading.label} ({reading.why}: {reading.evidence})  "
                    f"[{entry.record.title} | {entry.record.say('material', 'date')}]"
                )


if __name__ == "__main__":
    typer.run(main)
