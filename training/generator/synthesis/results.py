"""What a synthesis leaves in writing: a row per picture, and the counts of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict

from porcelain.bundle import Bundle, SamplingDefaults
from training.generator.synthesis.filtering import Reason, Verdict
from training.generator.synthesis.plan import Plan, labels_of
from training.generator.synthesis.settings import SynthesisSettings


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelName(_Frozen):
    """Exactly one bundle."""

    name: str
    version: str
    digest: str

    @classmethod
    def of(cls, bundle: Bundle) -> ModelName:
        """The name of a bundle."""
        manifest = bundle.manifest
        return cls(name=manifest.name, version=manifest.version, digest=manifest.digest())


class ManifestRow(_Frozen):
    """One sampled picture, kept or not.

    Attributes:
        file_name: Below the dataset folder; None for what was dropped.
        labels: What it was to show.
        prompt: With `seed`, `steps` and the rest, enough to make it again.
        generator: The digest of the generator's bundle.
        original: The photograph that it is a variation of, if it is one.
        kept: Whether it is in the dataset.
        reasons: Why not.
        misread: The tasks that the classifier reads otherwise.
        repeated: The kept picture that it repeats.
        scores: What the rules measured: `readings` per task, `nearest` photographs, `tones`.
    """

    file_name: str | None
    labels: dict[str, str]
    attempt: int
    prompt: str
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int
    generator: str
    original: str | None = None
    kept: bool
    reasons: list[Reason]
    misread: list[str]
    repeated: str | None
    scores: dict[str, Any]

    @classmethod
    def of(
        cls, verdict: Verdict, file_name: str | None, sampling: SamplingDefaults, generator: str
    ) -> ManifestRow:
        """The row of one candidate."""
        candidate = verdict.candidate
        return cls(
            file_name=file_name,
            labels=labels_of(candidate.kind),
            attempt=candidate.attempt,
            prompt=candidate.prompt,
            seed=candidate.seed,
            **sampling.model_dump(),
            original=candidate.original,
            generator=generator,
            kept=verdict.kept,
            reasons=list(verdict.reasons),
            misread=list(verdict.misread),
            repeated=verdict.repeated,
            scores={
                "readings": {task: asdict(item) for task, item in verdict.readings.items()},
                "nearest": None if verdict.nearest is None else asdict(verdict.nearest),
                "tones": asdict(verdict.tones),
            },
        )


class RuleCount(_Frozen):
    """Pictures that a rule drops, and those that no other rule would have dropped."""

    dropped: int
    alone: int


class KindCount(_Frozen):
    """One line of the plan and what became of it."""

    labels: dict[str, str]
    photographs: int
    planned: int
    sampled: int
    kept: int

    @property
    def shortfall(self) -> int:
        """Pictures that are missing although every attempt was used up."""
        return self.planned - self.kept


class CopyLimits(_Frozen):
    """From where a picture counts as a copy; see `synthesis.copies.CopyThresholds`."""

    bits: float
    features: float | None
    detail: float


class SynthesisReport(_Frozen):
    """Saved as `synthesis.json`.

    Attributes:
        generator: What made the pictures.
        classifier: What read them; None where there was none.
        classifier_graph: The graph of it that did.
        data_digest: Of the photographs; None where none were given.
        settings: Resolved.
        planned: Pictures wanted.
        sampled: Pictures made.
        kept: Pictures in the dataset.
        kinds: The plan, line by line.
        rules: Per reason, how many it dropped.
        misread: Per task, how many pictures the classifier read otherwise.
        photographs_passed: The share of photographs of validation and test whose labels the
            classifier reads by the same thresholds: what a perfect generator's pictures would
            pass by. None without such photographs or a classifier.
        copy_limits: From where a picture counts as a copy.
        warnings: What a reader must know, such as rules that could not be applied.
    """

    generator: ModelName
    classifier: ModelName | None
    classifier_graph: str | None
    data_digest: str | None
    settings: SynthesisSettings
    planned: int
    sampled: int
    kept: int
    kinds: list[KindCount]
    rules: dict[Reason, RuleCount]
    misread: dict[str, int]
    photographs_passed: float | None
    copy_limits: CopyLimits
    warnings: list[str]

    @property
    def shortfalls(self) -> list[KindCount]:
        """The lines of the plan that were not met."""
        return [kind for kind in self.kinds if kind.shortfall]


def count_rules(verdicts: Iterable[Verdict]) -> dict[Reason, RuleCount]:
    """Per reason the pictures that it drops, alone or with others."""
    dropped, alone = Counter[Reason](), Counter[Reason]()
    for verdict in verdicts:
        dropped.update(verdict.reasons)
        if len(verdict.reasons) == 1:
            alone.update(verdict.reasons)
    return {reason: RuleCount(dropped=dropped[reason], alone=alone[reason]) for reason in Reason}


def count_kinds(plan: Plan, verdicts: Sequence[Verdict]) -> list[KindCount]:
    """What became of every line of the plan."""
    sampled = Counter(verdict.candidate.kind for verdict in verdicts)
    kept = Counter(verdict.candidate.kind for verdict in verdicts if verdict.kept)
    return [
        KindCount(
            labels=labels_of(planned.kind),
            photographs=planned.photographs,
            planned=planned.count,
            sampled=sampled[planned.kind],
            kept=kept[planned.kind],
        )
        for planned in plan.kinds
    ]
