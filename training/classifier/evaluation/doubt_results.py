"""What an evaluation says of the bundle's own doubt."""

from __future__ import annotations

from training.classifier.evaluation.result import Bounds, Result


class SetsOfClass(Result):
    """How often the sets of one class's pictures hold it.

    Attributes:
        support: Its pictures.
        coverage: Share of them whose set holds the class.
        own_limit: Whether the class had calibration pictures enough for a promise of its own.
    """

    support: int
    coverage: float
    own_limit: bool


class LabelSetResult(Result):
    """The label sets of one task, over all pictures with a known label.

    Attributes:
        stated: The share of sets that are to hold the true label.
        support: Pictures with a label.
        coverage: The share that does.
        coverage_interval: Its 95 % interval.
        mean_size: Labels in a set.
        single: Share of sets with one label.
        classes: By true label, those that occur.
    """

    stated: float
    support: int
    coverage: float
    coverage_interval: Bounds | None
    mean_size: float
    single: float
    classes: dict[str, SetsOfClass]


class LikenessResult(Result):
    """How many pictures are called like those of training.

    Attributes:
        threshold: The bundle's, on the likeness score.
        stated: The share of such pictures that it was set to keep.
        in_domain: The share of these.
        in_domain_interval: Its 95 % interval.
    """

    threshold: float
    stated: float
    in_domain: float
    in_domain_interval: Bounds | None


class Doubt(Result):
    """What the bundle says of its own doubt, judged.

    Attributes:
        label_sets: By task; empty where the bundle was not calibrated for them.
        likeness: Null where the bundle has no likeness score for the graph that was judged.
    """

    label_sets: dict[str, LabelSetResult]
    likeness: LikenessResult | None
