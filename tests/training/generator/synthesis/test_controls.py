"""Pictures that follow the edges or the depth of rendered vessels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from porcelain.errors import UserError
from tests.sampling.tiny_pipeline import make_tiny_controlnet
from tests.training.generator.bundles import make_generator_bundle
from training.data.ratio import Rule
from training.data.split import read_split
from training.generator.synthesis.controls import canny_edges, open_controls
from training.generator.synthesis.plan import kind_of, make_plan
from training.generator.synthesis.results import ManifestRow
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.synthesize import Inputs, synthesize

VASE = kind_of({"glaze": "celadon", "kiln": "longquan", "type": "vase"})
BOWL = kind_of({"glaze": "white", "kiln": "ding", "type": "bowl"})
UNHEARD_OF = kind_of({"glaze": "made-up", "type": "vase"})


@pytest.fixture(scope="module")
def controlnet(base, tmp_path_factory):
    return make_tiny_controlnet(tmp_path_factory.mktemp("control") / "net", base)


def opened(kind, control, controlnet, folder):
    plan = make_plan({kind: 1}, {})
    return open_controls(plan, control, str(controlnet), (64, 64), folder)


@pytest.mark.parametrize("control", ["canny", "depth"])
def test_a_control_picture_shows_the_form_and_depends_on_its_seed(control, controlnet, tmp_path):
    for name in ("one", "again"):
        (tmp_path / name).mkdir()
    controls = opened(VASE, control, controlnet, tmp_path / "one")
    again = opened(VASE, control, controlnet, tmp_path / "again")
    first = controls.read("a.png", VASE, 5)
    assert first.shape == (64, 64, 3)
    assert not first[0].any()  # the ground is black
    assert first[16:48, 16:48].max() > 200
    assert np.array_equal(first, again.read("a.png", VASE, 5))
    assert not np.array_equal(first, controls.read("b.png", VASE, 6))
    assert np.array_equal(first, controls.read("a.png", VASE, 99))  # made once


def test_edges_are_where_a_picture_changes():
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    columns = np.flatnonzero(canny_edges(pixels).any(axis=(0, 2)))
    assert set(columns) <= {15, 16}
    assert len(columns)


def test_a_ware_unknown_to_history_has_its_form(controlnet, tmp_path):
    assert opened(UNHEARD_OF, "depth", controlnet, tmp_path).read("a.png", UNHEARD_OF, 1).any()
    nowhere = kind_of({"type": "made-up"})
    with pytest.raises(UserError, match="no form for"):
        opened(nowhere, "depth", controlnet, tmp_path)


def test_synthesis_keeps_what_each_picture_followed(base, photographs, controlnet, tmp_path):
    split = read_split(photographs / "split.json")
    inputs = Inputs(make_generator_bundle(tmp_path / "bundle", base, {VASE: 5, BOWL: 2}, split))
    settings = SynthesisSettings(
        count=3,
        rule=Rule.UNIFORM,
        batch_size=2,
        attempts=1,
        control="canny",
        control_model=str(controlnet),
    )
    synthesize(inputs, tmp_path / "steered", settings)
    synthesize(inputs, tmp_path / "again", settings)
    lines = (tmp_path / "steered" / "manifest.jsonl").read_text()
    assert lines == (tmp_path / "again" / "manifest.jsonl").read_text()
    rows = [ManifestRow.model_validate_json(line) for line in lines.splitlines()]
    assert rows
    for row in rows:
        one, other = (tmp_path / name / row.control for name in ("steered", "again"))
        assert one.read_bytes() == other.read_bytes()
        assert Image.open(one).size == (row.width, row.height)
    page = (tmp_path / "steered" / "report.html").read_text()
    assert page.count("The planned form") >= len(rows)
    assert page.index("What each rule dropped") > page.index("The planned form")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"control": "canny"}, "need each other"),
        ({"control_model": "nowhere"}, "need each other"),
        ({"control": "depth", "control_model": "nowhere"}, "no ControlNet"),
        ({"control": "canny", "control_model": "nowhere", "width": 128}, "square"),
    ],
)
def test_what_cannot_be_steered_is_said(generator, photographs, tmp_path, options, match):
    settings = SynthesisSettings(count=3, **options)
    with pytest.raises(UserError, match=match):
        synthesize(replace(Inputs(generator), data=photographs), tmp_path / "out", settings)
