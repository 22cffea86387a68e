"""Everything that decides a synthesis: one frozen object, saved resolved beside the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from porcelain.bundle import SamplingDefaults
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS
from training.data.ratio import Ratio, Rule
from training.generator.synthesis.checks import DefectLimits
from training.generator.synthesis.controls import ControlKind
from training.generator.synthesis.copies import QUANTILE

Share = Annotated[float, Field(ge=0, le=1)]

AGREEMENT = 0.5
"""Least probability of a planned label: the classifier thinks it likelier than all others."""


class SynthesisSettings(BaseModel):
    """Settings of `porcelain generator synthesize`.

    Attributes:
        ratio: Real and synthetic shares that the training part is to have, such as `90:10`.
        count: Pictures to make; None takes as many as the ratio asks for. Of each kind, where
            kinds are named.
        rule: How kinds share them.
        tasks: Tasks by whose labels rarity is measured.
        allow_unseen: Make combinations of labels that no photograph shows.
        variation: In place of noise, begin at training photographs of the kind and change them by
            this much, above 0 to 1; None makes pictures from nothing.
        control: What of a rendered vessel of the kind pictures follow: its `canny` edges, its
            `depth`, or none of it.
        control_model: ControlNet that was trained on these, by hub id (for Stable Diffusion 1.5
            lllyasviel/sd-controlnet-canny or -depth) or folder.
        attempts: Most pictures sampled for each one planned of a kind.
        steps: Denoising steps; None takes the bundle's.
        guidance_scale: Scale of classifier-free guidance; None takes the bundle's.
        width: Width in pixels; None takes the bundle's.
        height: Height in pixels; None takes the bundle's.
        agreement: Per task, the least probability of the planned label; 0 passes any.
        copy_quantile: Share of photographs that are as near to one of another object as a copy
            is to its original.
        defects: Where a picture counts as blank, noise or burnt.
        batch_size: Pictures denoised at once.
        seed: Number from which every picture's own seed is derived.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: str = "90:10"
    count: Annotated[int | None, Field(ge=1)] = None
    rule: Rule = Rule.RARITY
    tasks: tuple[str, ...] = TASKS
    allow_unseen: bool = False
    variation: Annotated[float | None, Field(gt=0, le=1)] = None
    control: ControlKind = "none"
    control_model: str | None = None
    attempts: Annotated[int, Field(ge=1)] = 6
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    guidance_scale: Annotated[float | None, Field(ge=0, le=50)] = None
    width: Annotated[int | None, Field(ge=8)] = None
    height: Annotated[int | None, Field(ge=8)] = None
    agreement: dict[str, Share] = dict.fromkeys(TASKS, AGREEMENT)
    copy_quantile: Share = QUANTILE
    defects: DefectLimits = DefectLimits()
    batch_size: Annotated[int, Field(ge=1)] = 8
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks or len(set(tasks)) < len(tasks) or set(tasks) - set(TASKS):
            raise ValueError(f"must be one or more of {', '.join(TASKS)}, each once")
        return tasks

    @field_validator("agreement")
    @classmethod
    def _every_task(cls, agreement: dict[str, float]) -> dict[str, float]:
        if set(agreement) - set(TASKS):
            raise ValueError(f"the tasks are {', '.join(TASKS)}")
        return {task: agreement.get(task, AGREEMENT) for task in TASKS}

    @field_validator("ratio")
    @classmethod
    def _readable_ratio(cls, ratio: str) -> str:
        Ratio.parse(ratio)
        return ratio

    def resolved(self, defaults: SamplingDefaults) -> Self:
        """These settings with the bundle's values where none is given."""
        missing = {
            name: value
            for name, value in defaults.model_dump().items()
            if getattr(self, name) is None
        }
        return self.model_copy(update=missing)

    @property
    def sampling(self) -> SamplingDefaults:
        """How pictures are sampled, of resolved settings."""
        return SamplingDefaults.model_validate(
            {name: getattr(self, name) for name in SamplingDefaults.model_fields}
        )

    def identity(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one that was interrupted."""
        return self.model_dump(mode="json", exclude={"batch_size"})


def parse_agreement(texts: Sequence[str]) -> dict[str, float] | None:
    """Read thresholds: `0.6` for every task, `glaze=0.4` for one, later ones overrule earlier.

    Returns:
        None where nothing is given.

    Raises:
        UserError: Neither a number nor a task with one.
    """
    thresholds: dict[str, float] = {}
    for text in texts:
        task, equals, value = text.rpartition("=")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1 or (equals and task not in TASKS):
            raise UserError(
                f"--agreement {text!r} must be a probability from 0 to 1, or one of "
                f"{', '.join(TASKS)} with it, such as glaze=0.4."
            )
        thresholds |= dict.fromkeys((task,) if equals else TASKS, share)
    return thresholds or None
