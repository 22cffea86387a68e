"""What a request's body means, asked without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from porcelain.bundle import (
    BaseModelReference,
    Bundle,
    Combination,
    GeneratorInfo,
    Manifest,
    SamplingDefaults,
)
from porcelain.prompts import DEFAULT_TEMPLATE
from services.generator.planning import Order, Planner
from services.generator.schemas import LARGEST_SEED, GenerateRequest
from services.generator.settings import GeneratorSettings
from services.problems import Problem, problem_of_fields

LABELS = {"dynasty": ["ming", "song"], "glaze": ["celadon"], "type": ["bowl", "vase"]}
SEEN = [
    {"dynasty": "ming", "type": "vase"},
    {"dynasty": "song", "glaze": "celadon", "type": "bowl"},
]


@pytest.fixture(scope="module")
def planner() -> Planner:
    info = GeneratorInfo(
        base=BaseModelReference(reference="base", digest="0"),
        prompt_template=DEFAULT_TEMPLATE,
        labels=LABELS,
        combinations=[Combination(labels=labels, count=1) for labels in SEEN],
        rank=4,
        alpha=4,
        sampling=SamplingDefaults(steps=20, guidance_scale=6.0, width=64, height=64),
    )
    manifest = Manifest(
        kind="generator",
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
        code_version="0",
        dataset_digest="0",
        files={},
        generator=info,
    )
    settings = GeneratorSettings(bundle=Path("nowhere"), max_count=8, max_waiting=4)
    return Planner(Bundle(path=Path("nowhere"), manifest=manifest), settings)


def planned(planner: Planner, body: bytes) -> Order:
    """As FastAPI does it: JSON, then the model, then the plan."""
    try:
        wanted = GenerateRequest.model_validate(json.loads(body))
    except ValidationError as error:
        names = list(GenerateRequest.model_fields)
        raise problem_of_fields(error.errors(), names, 422) from error
    return planner.plan(wanted)


def plan(planner: Planner, **fields: Any) -> Order:
    return planned(planner, json.dumps(fields).encode())


def refusal(planner: Planner, body: bytes) -> Problem:
    with pytest.raises(Problem) as refused:
        planned(planner, body)
    problem = refused.value
    assert problem.detail.endswith(".")
    assert "\n" not in problem.detail
    return problem


def test_what_is_left_out_is_the_bundles(planner: Planner) -> None:
    order = plan(planner)
    assert order.labels == {"dynasty": None, "glaze": None, "kiln": None, "type": None}
    assert (order.steps, order.guidance_scale, order.format) == (20, 6.0, None)
    assert len(order.seeds) == 1
    assert plan(planner).seeds != order.seeds
    blank = plan(planner, dynasty="", glaze=None, type=" ", seed=1)
    assert blank == plan(planner, seed=1)


def test_labels_become_a_prompt_and_seeds_count_up(planner: Planner) -> None:
    order = plan(planner, dynasty="ming", type="vase", count=3, seed=7, steps=1, guidance_scale=0)
    assert order.seeds == (7, 8, 9)
    assert (order.steps, order.guidance_scale) == (1, 0.0)
    assert order.labels == {"dynasty": "ming", "glaze": None, "kiln": None, "type": "vase"}
    assert "vase" in order.prompt
    assert "Ming" in order.prompt
    assert plan(planner, seed=LARGEST_SEED).seeds == (LARGEST_SEED,)
    assert len(plan(planner, count=3.0).seeds) == 3  # JSON Schema calls 3.0 an integer


@pytest.mark.parametrize(
    ("labels", "seen"),
    [
        ({}, True),
        ({"glaze": "celadon"}, True),
        ({"glaze": "celadon", "type": "bowl"}, True),
        ({"dynasty": "song", "glaze": "celadon", "type": "bowl"}, True),
        ({"dynasty": "ming", "glaze": "celadon"}, False),
        ({"dynasty": "song", "type": "vase"}, False),
    ],
)
def test_only_combinations_that_training_saw_are_made_unasked(
    planner: Planner, labels: dict[str, str], seen: bool
) -> None:
    if seen:
        plan(planner, **labels)
        return
    problem = refusal(planner, json.dumps(labels).encode())
    assert problem.status_code == 409
    assert "allow_unseen" in problem.detail
    assert "type vase" in problem.detail
    assert plan(planner, **labels, allow_unseen=True).labels.items() >= labels.items()


WRONG: dict[bytes, tuple[int, str]] = {
    b"[]": (422, "object"),
    b'"vase"': (422, "object"),
    b'{"colour": "red"}': (422, "dynasty, glaze, kiln, type, count"),
    b'{"type": "vse"}': (422, "bowl, vase"),
    b'{"kiln": "longquan"}': (422, "none"),
    b'{"type": 3}': (422, "'type'"),
    b'{"type": ["vase"]}': (422, "'type'"),
    b'{"type": "%s"}' % (b"x" * 101): (422, "'type'"),
    b'{"count": 8.5}': (422, "'count'"),
    b'{"count": 0}': (422, "'count'"),
    b'{"count": -1}': (422, "'count'"),
    b'{"count": 5}': (422, "at most 4"),
    b'{"count": 1e400}': (422, "'count'"),
    b'{"count": 99999999999999999999999999}': (422, "at most 4"),
    b'{"count": "2"}': (422, "'count'"),
    b'{"count": 1.5}': (422, "'count'"),
    b'{"count": true}': (422, "'count'"),
    b'{"count": null}': (422, "'count'"),
    b'{"seed": -1}': (422, "'seed'"),
    b'{"seed": 9007199254740992}': (422, "'seed'"),
    b'{"seed": 9007199254740991, "count": 2}': (422, "'seed'"),
    b'{"steps": 0}': (422, "'steps'"),
    b'{"steps": 101}': (422, "at most 100"),
    b'{"guidance_scale": -0.1}': (422, "'guidance_scale'"),
    b'{"guidance_scale": 20.1}': (422, "at most 20"),
    b'{"guidance_scale": NaN}': (422, "'guidance_scale'"),
    b'{"guidance_scale": Infinity}': (422, "'guidance_scale'"),
    b'{"format": "gif"}': (422, "'format'"),
    b'{"allow_unseen": "yes"}': (422, "'allow_unseen'"),
    b'{"allow_unseen": 1}': (422, "'allow_unseen'"),
}


@pytest.mark.parametrize("body", WRONG, ids=lambda body: body.decode("latin-1")[:40])
def test_wrong_bodies_are_refused_with_what_to_do(planner: Planner, body: bytes) -> None:
    status, said = WRONG[body]
    problem = refusal(planner, body)
    assert problem.status_code == status
    assert said in problem.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
fields = st.sampled_from(["type", "dynasty", "count", "seed", "steps", "format", "allow_unseen"])


@given(st.dictionaries(fields, json_values).map(json.dumps))
def test_no_body_is_a_fault_of_ours(planner: Planner, body: str) -> None:
    status = 200
    try:
        planned(planner, body.encode())
    except Problem as problem:
        status = problem.status_code
    assert status in (200, 400, 409, 422)
