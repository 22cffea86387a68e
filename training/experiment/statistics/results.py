"""What `porcelain experiment report` finds: the content of `report.json`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from training.experiment.arms import Family

LEVEL: Final = 0.05
"""Of significance, corrected."""

Verdict = Literal["use", "harm", "no evidence", "not measured"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measure(_Frozen):
    """A mean over seeds, 0 to 1 or a difference of such, with its 95 % interval.

    Attributes:
        value: The mean.
        low: Lower end of the interval over seeds and objects; None with a single seed.
        high: Upper end.
        standard_error: Over seeds and objects.
        degrees: Of freedom of the t quantile.
    """

    value: float
    low: float | None
    high: float | None
    standard_error: float | None
    degrees: float | None


class ArmResult(_Frozen):
    """One arm's scores in one task.

    Attributes:
        arm: Its name.
        kind: What was added.
        ratio: Added pictures in percent; None where chosen per task.
        seeds: Whole repetitions.
        f1_macro: Folds pooled before it is taken, mean over seeds.
        per_seed: The same of every seed, ascending.
        accuracy: Mean over seeds.
        calibration: Expected calibration error, 15 bins.
    """

    arm: str
    kind: str
    ratio: float | None
    seeds: int
    f1_macro: Measure
    per_seed: list[float]
    accuracy: float
    calibration: Measure


class Comparison(_Frozen):
    """One arm against another, paired by seed, fold and object.

    Attributes:
        arm: The arm.
        reference: What it is compared with.
        family: In which p-values are corrected together, over all tasks.
        seeds: Repetitions that both have.
        f1_macro: The difference.
        per_seed: The same of every seed.
        p: Permutation p-value; None with a single seed.
        p_holm: Corrected over the family.
        calibration: Difference of the expected calibration errors.
    """

    arm: str
    reference: str
    family: Family
    seeds: int
    f1_macro: Measure
    per_seed: list[float]
    p: float | None
    p_holm: float | None = None
    calibration: Measure

    @property
    def shown(self) -> bool:
        """Whether a difference was shown: corrected p below 0.05 and an interval without 0."""
        measure = self.f1_macro
        if self.p_holm is None or measure.low is None or measure.high is None:
            return False
        return self.p_holm < LEVEL and not measure.low <= 0.0 <= measure.high


class ClassGain(_Frozen):
    """F1 of one class, and what an arm changes of it.

    Attributes:
        label: The class.
        pictures: Tested pictures.
        objects: Tested objects.
        rare: Fewer pictures than half an even share.
        real: F1 with real pictures alone, mean over seeds.
        gains: Difference to it, by arm. Intervals are not corrected for their number.
    """

    label: str
    pictures: int
    objects: int
    rare: bool
    real: float
    gains: dict[str, Measure]


class GroupGain(_Frozen):
    """Mean F1 over the rare or the other classes, and what an arm changes of it."""

    name: Literal["rare", "other"]
    classes: int
    pictures: int
    real: Measure
    gains: dict[str, Measure]


class ChangedPicture(_Frozen):
    """A picture that an arm answers right more often, or less often, than real pictures alone do.

    Attributes:
        file_name: Of the picture.
        truth: Its label.
        real_answer: The most frequent answer of `real`.
        arm_answer: The most frequent answer of the arm.
        real_right: Share of seeds in which `real` is right.
        arm_right: Share of seeds in which the arm is right.
    """

    file_name: str
    truth: str
    real_answer: str
    arm_answer: str
    real_right: float
    arm_right: float


class Changes(_Frozen):
    """The pictures that one arm turned.

    Attributes:
        arm: The arm.
        gained: Pictures right in at least half of the seeds more than with `real`.
        lost: Pictures right in at least half of the seeds less.
        expected: How many to expect each way if runs had their arms' names by chance.
        better: Those that gained a quarter of the seeds or more, most first.
        worse: Those that lost as many.
    """

    arm: str
    gained: int
    lost: int
    expected: float
    better: list[ChangedPicture]
    worse: list[ChangedPicture]


class Recommendation(_Frozen):
    """What to do for one task.

    Attributes:
        verdict: `use` an arm; `harm`: added pictures were shown to cost; `no evidence`: neither;
            `not measured`: too little was run to say.
        arm: What to use: `real` unless the verdict is `use`.
        advice: For people.
        sentence: The same, after the task's name.
    """

    verdict: Verdict
    arm: str
    advice: str
    sentence: str


class PaperFigure(_Frozen):
    """A gain that the paper reports at 90:10, and ours.

    Attributes:
        task: The task.
        low: Points of F1-macro, from the paper; None where it names no figure.
        high: The same, where the paper gives a range.
        says: The paper's finding in words.
        ours: The difference of `mix-90-10` to `real`; None where it was not run.
    """

    task: str
    low: float | None
    high: float | None
    says: str
    ours: Measure | None


class TaskResult(_Frozen):
    """Everything about one task."""

    task: str
    pictures: int
    objects: int
    arms: list[ArmResult]
    comparisons: list[Comparison]
    classes: list[ClassGain]
    groups: list[GroupGain]
    changes: list[Changes]
    recommendation: Recommendation


class ExperimentReport(_Frozen):
    """The whole report.

    Attributes:
        data: The dataset folder as it was named.
        digest: Of the dataset.
        created_by: Version of the code that ran the experiment.
        backbone: Of the classifier, where the settings name it.
        seeds: Planned repetitions.
        folds: Of the cross-validation.
        units: Trainings done.
        missing: Trainings not done yet.
        pictures: Tested pictures.
        untested: Pictures that always train, because a generator or filter has seen them.
        draws: Of the bootstrap over objects.
        swaps: Of the permutation test, where an arm has more runs than are all tried.
        comparisons: How many p-values were corrected together, by family.
        tasks: By name.
        paper: The paper's figures beside ours.
        notes: What a reader must know.
    """

    data: str
    digest: str
    created_by: str
    backbone: str | None
    seeds: int
    folds: int
    units: int
    missing: int
    pictures: int
    untested: int
    draws: int
    swaps: int
    comparisons: dict[Family, int]
    tasks: dict[str, TaskResult]
    paper: list[PaperFigure]
    notes: list[str]
