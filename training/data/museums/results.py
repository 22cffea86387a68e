"""What an import did: counts for people, and every record's fate for programs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from porcelain.vocabulary import TASKS
from training.data.museums.labels import Catalogued
from training.data.museums.museum import Museum
from training.data.museums.reading import Reading
from training.data.museums.settings import ImportSettings


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(_Result):
    """One task of one record: the label, or why it is blank, and the words that decided."""

    label: str | None
    why: str
    words: str

    @classmethod
    def of(cls, reading: Reading) -> Answer:
        """The answer that a rule gave."""
        return cls(label=reading.label, why=reading.why, words=reading.evidence)


class NoPicture(_Result):
    """An address that gave no picture, or no record, and why."""

    url: str
    why: str


class Entry(_Result):
    """One record's fate.

    Attributes:
        record: The museum's id.
        object_id: What the parts of one object share.
        title: As the museum spells it.
        page: For people.
        fate: `imported`, or why not.
        answers: Per task; empty where the record is no Chinese ceramic.
        pictures: Files in the dataset folder.
        failures: Addresses that gave no picture.
    """

    record: str
    object_id: str
    title: str
    page: str
    fate: str
    answers: dict[str, Answer]
    pictures: list[str]
    failures: list[NoPicture]


class TaskCount(_Result):
    """One task over the imported records: how many have each label, and why others are blank.

    Attributes:
        labels: Records per label.
        blank: Records per reason.
        words: The commonest words behind blanks: what the table of phrases does not decide.
    """

    labels: dict[str, int]
    blank: dict[str, int]
    words: dict[str, list[str]]


class ImportReport(_Result):
    """What an import did.

    Attributes:
        museum: Its name.
        terms: What it allows.
        settings: What was asked.
        records: Records read.
        ceramics: Chinese ceramics among them.
        imported: Records with at least one picture in the folder.
        objects: Objects that these are parts of.
        pictures: Pictures in the folder.
        fates: Records per fate.
        licenses: Pictures per licence.
        tasks: Labels per task over imported records.
        failures: Addresses without a picture, per reason.
        unanswered: Addresses of records that the museum lists and did not give, and why; where it
            refused (status 403, a web page), the same command may get them another day.
        replaced: Pictures that the museum changed since they were last fetched.
        requests: What was asked of the museum.
        entries: Every Chinese ceramic, and why others were left out.
    """

    museum: str
    terms: str
    settings: ImportSettings
    records: int
    ceramics: int
    imported: int
    objects: int
    pictures: int
    fates: dict[str, int]
    licenses: dict[str, int]
    tasks: dict[str, TaskCount]
    failures: dict[str, int]
    unanswered: list[NoPicture] = []
    replaced: list[str]
    requests: dict[str, int]
    entries: list[Entry]


IMPORTED = "imported"
_MOST_WORDS = 12


def entry_of(
    catalogued: Catalogued,
    fate: str,
    pictures: Iterable[str] = (),
    failures: Iterable[NoPicture] = (),
) -> Entry:
    """The fate of one record."""
    record = catalogued.record
    answers = catalogued.readings if catalogued.choice.kept else {}
    return Entry(
        record=record.id,
        object_id=f"{record.museum}:{record.object}",
        title=record.title,
        page=record.page,
        fate=fate,
        answers={task: Answer.of(reading) for task, reading in answers.items()},
        pictures=list(pictures),
        failures=list(failures),
    )


def summarise(
    museum: Museum,
    settings: ImportSettings,
    entries: list[Entry],
    licenses: Counter[str],
    replaced: list[str],
    requests: dict[str, int],
) -> ImportReport:
    """Counts over every record's fate."""
    imported = [entry for entry in entries if entry.fate == IMPORTED]
    reasons = Counter(_kind(failed.why) for entry in entries for failed in entry.failures)
    return ImportReport(
        museum=museum.name,
        terms=museum.terms.strip(),
        settings=settings,
        records=len(entries),
        ceramics=sum(bool(entry.answers) for entry in entries),
        imported=len(imported),
        objects=len({entry.object_id for entry in imported}),
        pictures=sum(len(entry.pictures) for entry in imported),
        fates=dict(Counter(_kind(entry.fate) for entry in entries).most_common()),
        licenses=dict(licenses.most_common()),
        tasks={task: _count(task, imported) for task in TASKS},
        failures=dict(reasons.most_common()),
        replaced=replaced,
        requests=requests,
        entries=entries,
    )


def reasons_of(unanswered: Iterable[NoPicture]) -> dict[str, int]:
    """How many records were not given, per reason."""
    return dict(Counter(_kind(one.why) for one in unanswered).most_common())


def _kind(reason: str) -> str:
    """A reason without what differs from record to record."""
    return reason.partition(":")[0]


def _count(task: str, imported: list[Entry]) -> TaskCount:
    answers = [entry.answers[task] for entry in imported]
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        if answer.label is None and answer.words:
            words[answer.why][answer.words] += 1
    return TaskCount(
        labels=dict(Counter(a.label for a in answers if a.label is not None).most_common()),
        blank=dict(Counter(a.why for a in answers if a.label is None).most_common()),
        words={
            why: [f"{said} ({n})" for said, n in counts.most_common(_MOST_WORDS)]
            for why, counts in words.items()
        },
    )
