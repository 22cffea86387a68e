"""Label combinations, and a plan of how many pictures of each are to be made."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from porcelain.bundle import GeneratorInfo
from porcelain.dataset import Record
from porcelain.errors import UserError
from porcelain.files import write_text
from porcelain.tables import read_csv
from porcelain.vocabulary import CATCH_ALL, TASKS
from training.data.allotment import Kind, allot, share_out
from training.data.ratio import Rule

FORM: Final = "type"
"""The task that an outline shows."""

KindCounts = Mapping[Kind, int]
"""Training photographs per kind."""


def kind_of(labels: Mapping[str, str | None]) -> Kind:
    """The kind that shows these labels, in the order of `TASKS`."""
    return tuple(labels.get(task) or None for task in TASKS)


def labels_of(kind: Kind) -> dict[str, str]:
    """The labels of a kind that are known."""
    return {task: label for task, label in zip(TASKS, kind, strict=True) if label is not None}


def parse_kind(text: str) -> Kind:
    """Read `glaze=celadon,type=vase`; a task that is not named stays open.

    Raises:
        UserError: Not of this form, or a task that does not exist or is named twice.
    """
    labels: dict[str, str | None] = {}
    for part in text.split(","):
        task, equals, label = (piece.strip() for piece in part.partition("="))
        if not equals or not label or task not in TASKS or task in labels:
            raise UserError(
                f"--labels {text!r}: {part.strip()!r} is not one of {', '.join(TASKS)} with a "
                "label, each once, such as glaze=celadon,type=vase."
            )
        labels[task] = label
    return kind_of(labels)


def count_records(records: Iterable[Record]) -> KindCounts:
    """Pictures per kind; those without any label teach no kind and are left out."""
    counts = Counter(kind_of(record.labels) for record in records)
    return {kind: count for kind, count in counts.items() if any(kind)}


def count_bundle(info: GeneratorInfo) -> KindCounts:
    """What the generator has seen, as its bundle tells."""
    counts: Counter[Kind] = Counter()
    for combination in info.combinations:
        counts[kind_of(combination.labels)] += combination.count
    return {kind: count for kind, count in counts.items() if any(kind)}


def task_counts(known: KindCounts) -> dict[str, Counter[str]]:
    """Training photographs per task and label."""
    result: dict[str, Counter[str]] = {task: Counter() for task in TASKS}
    for kind, count in known.items():
        for task, label in labels_of(kind).items():
            result[task][label] += count
    return result


def photographs_of(kind: Kind, known: KindCounts) -> int:
    """Training photographs that show every known label of `kind`, and perhaps more."""
    return sum(count for other, count in known.items() if shows(other, kind))


def shows(shown: Kind, wanted: Kind) -> bool:
    """Whether what is shown has every known label of what is wanted, and perhaps more."""
    return all(label is None or label == its for label, its in zip(wanted, shown, strict=True))


def describe(kind: Kind) -> str:
    """The kind's labels for people, such as `song celadon longquan bowl`."""
    return " ".join(label for label in kind if label is not None)


PLAN_FILE: Final = "plan.csv"


@dataclass(frozen=True)
class PlannedKind:
    """Pictures of one kind.

    Attributes:
        kind: The labels, in the order of `TASKS`; None where unknown.
        count: Pictures to make.
        photographs: Training photographs that show these labels.
    """

    kind: Kind
    count: int
    photographs: int


@dataclass(frozen=True)
class Plan:
    """Every kind of which something is to be made, the rarest first."""

    kinds: tuple[PlannedKind, ...]

    @property
    def total(self) -> int:
        """Pictures to make in all."""
        return sum(planned.count for planned in self.kinds)


def plan_by_rule(total: int, rule: Rule, known: KindCounts, tasks: Sequence[str] = TASKS) -> Plan:
    """Share out `total` pictures among the known kinds, as a mix of the same rule will want them.

    Args:
        total: Pictures to make.
        rule: How kinds share them.
        known: Training photographs per kind; no other kind is made, and none with the label
            `CATCH_ALL`, of which a prompt can say nothing.
        tasks: Tasks by whose labels rarity is measured. Kinds that differ in other tasks alone
            share in proportion to their photographs.

    Raises:
        UserError: There is nothing to share among.
    """
    makeable = [kind for kind in known if CATCH_ALL not in kind]
    if not makeable:
        raise UserError(
            "No training photograph has labels that say what it shows, so there is no kind to "
            "synthesise."
        )
    members: dict[Kind, list[Kind]] = defaultdict(list)
    for kind in sorted(makeable, key=_order):
        members[tuple(kind[TASKS.index(task)] for task in tasks)].append(kind)
    counts = task_counts(known)
    taken = allot(total, rule, dict.fromkeys(members, total), [counts[task] for task in tasks])
    wanted: dict[Kind, int] = {}
    for seen_alike, count in taken.items():
        kinds = members[seen_alike]
        shares = share_out(count, [known[kind] for kind in kinds])
        wanted |= dict(zip(kinds, shares, strict=True))
    return make_plan(wanted, known)


def make_plan(wanted: Mapping[Kind, int], known: KindCounts) -> Plan:
    """A plan of these counts; kinds of which none is wanted are left out."""
    kinds = [
        PlannedKind(kind, count, photographs_of(kind, known))
        for kind, count in wanted.items()
        if count > 0
    ]
    return Plan(tuple(sorted(kinds, key=lambda item: (item.photographs, _order(item.kind)))))


def check_plan(plan: Plan, labels: Mapping[str, Sequence[str]], allow_unseen: bool) -> None:
    """Refuse what the generator cannot know, and what nobody has seen unless that is asked for.

    Args:
        plan: What is wanted.
        labels: Per task, the labels that the generator learned.
        allow_unseen: Whether labels may be joined that no photograph shows together.

    Raises:
        UserError: Naming the first kind at fault.
    """
    for planned in plan.kinds:
        for task, label in labels_of(planned.kind).items():
            if label not in labels.get(task, ()):
                raise UserError(
                    f"The generator has learned no {task} {label!r}; it knows "
                    f"{', '.join(labels.get(task, ())) or 'none'}."
                )
    unseen = [planned for planned in plan.kinds if planned.photographs == 0]
    if unseen and not allow_unseen:
        raise UserError(
            f"No photograph shows {describe(unseen[0].kind)}"
            + (f", nor {len(unseen) - 1} other kind(s) of the plan" if len(unseen) > 1 else "")
            + "; leave it out, or add --allow-unseen to make what history may never have made."
        )


def without_unlearned(
    known: KindCounts, labels: Mapping[str, Sequence[str]]
) -> tuple[KindCounts, list[Kind]]:
    """The kinds whose every label the generator learned, and those that it cannot make."""
    unlearned = [
        kind
        for kind in known
        if any(label not in labels.get(task, ()) for task, label in labels_of(kind).items())
    ]
    return {kind: n for kind, n in known.items() if kind not in unlearned}, unlearned


def read_plan(path: Path, known: KindCounts) -> Plan:
    """Read a CSV with the columns dynasty,glaze,kiln,type,count; blank means unknown.

    Raises:
        UserError: Missing, of another form, or a count that is not a whole number.
    """
    columns, rows = read_csv(path)
    if not {"count"} < set(columns) <= {"count", "photographs", *TASKS}:
        raise UserError(
            f"The plan {path} must be a CSV with the columns {','.join(TASKS)},count and a row "
            "per kind, as `--dry-run` prints one."
        )
    wanted: dict[Kind, int] = {}
    for row in rows:
        kind = kind_of({task: row.cells.get(task, "") for task in TASKS})
        count = row.cells["count"]
        if not count.isascii() or not count.isdigit() or not any(kind) or kind in wanted:
            raise UserError(
                f"{path} line {row.line}: a row names at least one label, no kind twice, and a "
                "count of pictures from 0."
            )
        wanted[kind] = int(count)
    if not wanted:
        raise UserError(f"The plan {path} has no rows; give it one per kind.")
    return make_plan(wanted, known)


def plan_text(plan: Plan) -> str:
    """The plan as `read_plan` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*TASKS, "count", "photographs"])
    for planned in plan.kinds:
        writer.writerow([*(x or "" for x in planned.kind), planned.count, planned.photographs])
    return text.getvalue()


def write_plan(path: Path, plan: Plan) -> None:
    """Write the plan atomically."""
    write_text(path, plan_text(plan))


def _order(kind: Kind) -> tuple[str, ...]:
    return tuple(label or "" for label in kind)
