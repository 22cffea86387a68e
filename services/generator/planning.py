"""From a request to the pictures that answer it: labels checked, prompt and seeds chosen."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import ValidationError

from porcelain.bundle import Bundle, GeneratorInfo
from porcelain.prompts import prompt_for
from porcelain.synthetic_picture import PictureFormat
from porcelain.vocabulary import TASKS, load_taxonomy
from services.generator.schemas import LARGEST_SEED, GenerateRequest
from services.generator.settings import GeneratorSettings
from services.problems import Problem, bad_request, unusable

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
        self._seen = [frozenset(one.labels.items()) for one in self._info.combinations]

    def plan(self, body: bytes) -> Order:
        """What a request's body asks for.

        Raises:
            Problem: 400 not JSON; 422 wrong type, out of bounds or an unknown label; 409 a
                combination that training never saw.
        """
        request = parse(body)
        self._check_bounds(request)
        labels = {task: self._label(task, getattr(request, task)) for task in TASKS}
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

    def _label(self, task: str, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        known = self._info.labels.get(task, [])
        if value not in known:
            raise unusable(
                f"{task!r} has no label {value!r}; there are {', '.join(known) or 'none'}.",
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


def parse(body: bytes) -> GenerateRequest:
    """Read a request's JSON.

    Raises:
        Problem: 400 not JSON; 422 fields that are unknown or of a wrong type or value.
    """
    try:
        return GenerateRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        raise bad_request("json", f"The body is not JSON: {_sentence(first['msg'])}")
    field = ".".join(str(part) for part in first["loc"])[:50]
    if first["type"] == "extra_forbidden":
        fields = ", ".join(GenerateRequest.model_fields)
        raise unusable(f"There is no field {json.dumps(field)}; there are {fields}.")
    if not field:
        raise unusable('The body must be a JSON object, such as {"type": "vase"}.')
    raise unusable(f"{field!r} cannot be used: {_sentence(first['msg'])}")


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".") + "."


def _words(labels: frozenset[tuple[str, str]]) -> str:
    return " + ".join(f"{task} {dict(labels)[task]}" for task in TASKS if task in dict(labels))
