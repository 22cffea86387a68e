"""From a request to the pictures that answer it: labels checked, prompt and seeds chosen."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from porcelain.bundle import Bundle, GeneratorInfo
from porcelain.prompts import prompt_for
from porcelain.synthetic_picture import PictureFormat
from porcelain.vocabulary import TASKS, load_taxonomy
from services.generator.schemas import LARGEST_SEED, GenerateRequest
from services.generator.settings import GeneratorSettings
from services.problems import Problem, unusable

RANDOM_SEEDS = 2**32
NEAREST = 3  # combinations that a refusal names


@dataclass(frozen=True, slots=True)
class Order:
    """What one request asks for.

    Attributes:
        labels: Slug per task; None where not asked for.
        seeds: One per picture.
        format: As asked for; None leaves it to the Accept header.
    """

    labels: dict[str, str | None]
    prompt: str
    seeds: tuple[int, ...]
    steps: int
    guidance_scale: float
    format: PictureFormat | None


class Planner:
    """Checks requests against a bundle and the service's limits."""

    def __init__(self, bundle: Bundle, settings: GeneratorSettings) -> None:
        self._info: GeneratorInfo = bundle.generator
        self._taxonomy = load_taxonomy(bundle.path)
        self._settings = settings
        self.tasks = tuple(dict.fromkeys((*TASKS, *self._info.labels)))
        self._seen = [frozenset(one.labels.items()) for one in self._info.combinations]

    def plan(self, request: GenerateRequest) -> Order:
        """What a request asks for.

        Raises:
            Problem: 422 out of bounds, an unknown field or an unknown label; 409 a combination
                that training never saw.
        """
        self._check_bounds(request)
        self._check_fields(request.__pydantic_extra__)
        labels = {
            task: self._label(task, request.__pydantic_extra__.get(task)) for task in self.tasks
        }
        if not request.allow_unseen:
            self._check_seen(labels)
        defaults = self._info.sampling
        guidance = request.guidance_scale
        first = secrets.randbelow(RANDOM_SEEDS) if request.seed is None else request.seed
        return Order(
            labels=labels,
            prompt=prompt_for(labels, self._taxonomy, self._info.prompt_template),
            seeds=tuple(range(first, first + request.count)),
            steps=request.steps or defaults.steps,
            guidance_scale=defaults.guidance_scale if guidance is None else guidance,
            format=request.format,
        )

    def _check_bounds(self, request: GenerateRequest) -> None:
        settings = self._settings
        for name, most in (
            ("count", settings.count_limit),
            ("steps", settings.max_steps),
            ("guidance_scale", settings.max_guidance_scale),
        ):
            value = getattr(request, name)
            if value is not None and value > most:
                raise unusable(f"{name!r} is {value}; this service gives at most {most}.")
        if request.seed is not None and request.seed + request.count - 1 > LARGEST_SEED:
            raise unusable(f"'seed' would count up beyond {LARGEST_SEED}; choose a smaller one.")

    def _check_fields(self, others: Mapping[str, object]) -> None:
        unknown = sorted(others.keys() - set(self.tasks))
        if unknown:
            fields = ", ".join([*self.tasks, *GenerateRequest.model_fields])
            raise unusable(f"There is no field {unknown[0][:50]!a}; there are {fields}.")

    def _label(self, task: str, value: object) -> str | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        known = self._info.labels.get(task, [])
        if not isinstance(value, str) or value not in known:
            raise unusable(
                f"{task!r} has no label {ascii(value)[:100]}; there are "
                f"{', '.join(known) or 'none'}.",
                reason="unknown_label",
            )
        return value

    def _check_seen(self, labels: Mapping[str, str | None]) -> None:
        asked = frozenset((task, label) for task, label in labels.items() if label is not None)
        if not asked or any(asked <= seen for seen in self._seen):
            return
        near = sorted(self._seen, key=lambda seen: -len(seen & asked))[:NEAREST]
        raise Problem(
            HTTPStatus.CONFLICT,
            "unseen_combination",
            f"Training never saw {_words(asked)} together; leave a label out, set 'allow_unseen' "
            f"to true, or ask for what it saw, such as {' or '.join(map(_words, near))}.",
        )


def _words(labels: frozenset[tuple[str, str]]) -> str:
    return " + ".join(f"{task} {label}" for task, label in sorted(labels))
