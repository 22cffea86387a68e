"""What an evaluation says, in writing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from porcelain.bundle import SamplingDefaults
from training.generator.evaluation.metrics import KernelDistance
from training.generator.synthesis.results import ModelName


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measures(_Frozen):
    """How one set of pictures compares with the photographs of the training part.

    Attributes:
        pictures: In the set.
        against: Photographs that they are compared with.
        kid: None for too few pictures, as with all that follow.
        precision: Share of the pictures within some photograph's radius; see `metrics.Manifold`.
        recall: Share of photographs within some picture's radius.
        density: Photographs' radii that a picture is within, over the neighbours counted.
        coverage: Share of photographs with a picture within their radius.
        diversity: Mean distance of two pictures of the set.
        agreement: Per task, the share whose label the classifier reads; None without pictures of
            a label that it was taught.
        copies: Pictures that copy a training photograph; None for photographs among themselves.
    """

    pictures: int
    against: int
    kid: KernelDistance | None
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    diversity: float | None
    agreement: dict[str, float | None]
    copies: int | None


class GroupResult(_Frozen):
    """One group of pictures.

    Attributes:
        name: `all`, `rare`, or task and label.
        task: Task of the class that the group is; None for a group of several.
        label: Label of that class.
        rare: Whether the class has few photographs.
        photographs: Photographs of the group in the training part.
        diversity: Mean distance of two of them.
        variants: Measures per set of pictures.
    """

    name: str
    task: str | None
    label: str | None
    rare: bool
    photographs: int
    diversity: float | None
    variants: dict[str, Measures]


class Copy(_Frozen):
    """A picture and the training photograph that it copies."""

    picture: str
    photograph: str
    bits: float
    detail: float
    features: float | None


class GeneratorEvaluation(_Frozen):
    """Saved as `evaluation.json`.

    Attributes:
        generator: The bundle.
        base: Reference of the generator's base model.
        space: The feature space that distances are measured in.
        classifier: What read the labels; None where nothing did.
        data_digest: Digest of the photographs.
        longest_side: To which photographs were brought first; None where they were not.
        sampling: How pictures were sampled.
        seed: Seed of the pictures and of every draw.
        variants: The sets of pictures, with what each is.
        rare: Per task, the classes that count as rare.
        groups: All, the rare, and every class.
        copies: Per variant.
        warnings: What a reader must know.
    """

    generator: ModelName
    base: str
    space: str
    classifier: ModelName | None
    data_digest: str
    longest_side: int | None
    sampling: SamplingDefaults
    seed: int
    variants: dict[str, str]
    rare: dict[str, list[str]]
    groups: list[GroupResult]
    copies: dict[str, list[Copy]]
    warnings: list[str]

    def group(self, name: str) -> GroupResult:
        """The group of this name.

        Raises:
            KeyError: There is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)
