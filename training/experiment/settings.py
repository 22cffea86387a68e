"""Everything that decides an experiment: one frozen object, saved resolved in `experiment.json`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from porcelain.vocabulary import TASKS
from training.classifier.settings import TrainSettings
from training.data.ratio import Rule

DEFAULT_EPOCHS: Final = 12
MAX_RATIO: Final = 90.0


class ExperimentSettings(BaseModel):
    """Settings of `porcelain experiment run`.

    Attributes:
        ratios: Added pictures in percent of the training part; 0 is real pictures alone.
        seeds: Repetitions, each with folds, weights and order of its own.
        first_seed: The number of the first one.
        folds: Of the cross-validation.
        validation: Share of the real pictures kept from each fold's training to choose by.
        rule: Which kinds receive synthetic pictures.
        plan_tasks: Tasks by whose labels rarity is measured.
        weight: What an added picture's loss counts in the arm `weighted`.
        pretraining: Share of the steps that the arm `pretrain` spends on added pictures alone.
        routing_margin: How many standard errors better than real pictures alone a ratio must be
            on validation before the arm `routed` uses it for a task.
        frozen_blocks: First stages of the backbone that keep their weights in every arm: faster,
            a little less accurate.
        training: How every arm trains. Stopping early and keeping the best epoch are not used:
            every arm is measured at the end of the same steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratios: tuple[float, ...] = (0.0, 5.0, 10.0)
    seeds: Annotated[int, Field(ge=1)] = 5
    first_seed: Annotated[int, Field(ge=0)] = 0
    folds: Annotated[int, Field(ge=2)] = 5
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    rule: Rule = Rule.RARITY
    plan_tasks: tuple[str, ...] = TASKS
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    pretraining: Annotated[float, Field(gt=0, lt=1)] = 0.3
    routing_margin: Annotated[float, Field(ge=0)] = 0.0
    frozen_blocks: Annotated[int, Field(ge=0)] = 0
    training: TrainSettings = TrainSettings(epochs=DEFAULT_EPOCHS)

    @field_validator("ratios")
    @classmethod
    def _possible(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        if not ratios or not all(0 <= ratio <= MAX_RATIO for ratio in ratios):
            raise ValueError(f"percentages from 0 to {MAX_RATIO:g}, such as 0,5,10")
        return tuple(sorted(set(ratios)))

    @field_validator("plan_tasks")
    @classmethod
    def _known_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks or len(set(tasks)) < len(tasks) or set(tasks) - set(TASKS):
            raise ValueError(f"must be one or more of {', '.join(TASKS)}, each once")
        return tasks

    @model_validator(mode="after")
    def _pairable(self) -> Self:
        if self.training.mixup > 0:
            raise ValueError("mixup blends real pictures with added ones, which unpairs the arms")
        if (self.training.members or 1) > 1:
            raise ValueError("an arm is one model; its seeds are what repeats it")
        return self

    def seed_numbers(self) -> list[int]:
        """The repetitions' numbers."""
        return list(range(self.first_seed, self.first_seed + self.seeds))

    def design(self) -> dict[str, Any]:
        """What decides a unit's result beside its training settings and pictures.

        Seeds and arms are left out: more of them leave the other units as they are.
        """
        return self.model_dump(
            mode="json", exclude={"training", "ratios", "seeds", "first_seed", "folds"}
        )
