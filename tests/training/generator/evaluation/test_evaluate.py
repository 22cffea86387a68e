"""The whole evaluation, on painters that are good, bad and copying, and on a real pipeline."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from porcelain.dataset import load_dataset
from porcelain.errors import DatasetError, UserError
from tests.training.generator.conftest import COLOURS, Painter, paint
from training.generator.commands import app
from training.generator.evaluation.comparison import BASE, FOLDER, HALVES, HELD_OUT, LORA
from training.generator.evaluation.context import EvaluationInputs, EvaluationSettings
from training.generator.evaluation.evaluate import EvaluationReporter, evaluate_generator
from training.generator.evaluation.results import GeneratorEvaluation
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.synthesize import Inputs, synthesize

SETTINGS = EvaluationSettings(count=30, base_too=True)


class Faithful(Painter):
    """Paints what it is asked for, each time anew."""

    def _paint(self, request, width, height):
        colour = next(c for c in COLOURS if f"kiln {c}" in request.prompt)
        image = paint(colour, 10_000 + request.seed % 100_000)
        return np.asarray(image.resize((width, height)))


class Deaf(Painter):
    """Paints everything green."""

    def _paint(self, request, width, height):
        image = paint("green", 10_000 + request.seed % 100_000)
        return np.asarray(image.resize((width, height)))


class Copying(Painter):
    """Paints one photograph of each colour."""

    def _paint(self, request, width, height):
        number = next(i for i, c in enumerate(COLOURS) if f"kiln {c}" in request.prompt)
        return np.asarray(paint(COLOURS[number], number).resize((width, height)))


@pytest.fixture
def inputs(generator, photographs, classifier) -> EvaluationInputs:
    return EvaluationInputs(generator, photographs, classifier=classifier)


@pytest.fixture
def paint_with(monkeypatch):
    """Let painters stand in for the tuned and the untuned generator."""

    def use(tuned, untuned=None):
        monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: tuned)
        monkeypatch.setattr(
            "sampling.generator.Generator.from_pipeline", lambda *_, **__: untuned or tuned
        )

    return use


def test_a_better_generator_measures_better_and_photographs_are_the_floor(inputs, paint_with):
    paint_with(Faithful(), Deaf())
    evaluation = evaluate_generator(inputs, SETTINGS)
    assert list(evaluation.variants) == [HALVES, HELD_OUT, BASE, LORA]
    for name in ("all", "rare"):
        variants = evaluation.group(name).variants
        assert variants[LORA].kid.value < variants[BASE].kid.value / 2
        assert all(share == 1 for share in variants[LORA].agreement.values())
        assert all(share < 0.5 for share in variants[BASE].agreement.values())
    everything = evaluation.group("all").variants
    assert everything[LORA].coverage > everything[BASE].coverage
    assert everything[LORA].recall > everything[BASE].recall
    assert abs(everything[HALVES].kid.value) < everything[BASE].kid.value / 10
    assert everything[HALVES].copies is None
    assert everything[LORA].pictures == SETTINGS.count
    green, blue = evaluation.group("glaze verdant"), evaluation.group("glaze azure")
    assert green.variants[BASE].agreement["glaze"] == 1
    assert blue.variants[BASE].agreement["glaze"] == 0
    assert blue.rare
    # Rare classes are judged by the further pictures drawn of them too.
    assert blue.variants[LORA].pictures > SETTINGS.count
    assert evaluation.space.startswith("classifier colours ")


def test_copies_are_found_and_named(inputs, paint_with, photographs):
    paint_with(Copying())
    evaluation = evaluate_generator(inputs, SETTINGS.model_copy(update={"base_too": False}))
    measures = evaluation.group("all").variants[LORA]
    copied = {copy.photograph for copy in evaluation.copies[LORA]}
    assert copied <= {f"images/{colour}-00.jpg" for colour in COLOURS}
    assert copied
    assert measures.copies > 0
    # Pictures that are all alike have no diversity of their own.
    green = evaluation.group("glaze verdant")
    assert green.variants[LORA].diversity < green.diversity / 10


def test_interrupted_it_goes_on_and_ends_the_same(inputs, paint_with, tmp_path):
    few = EvaluationSettings(count=8, base_too=True, batch_size=4)
    paint_with(Faithful(), Deaf())
    whole = evaluate_generator(inputs, few, out=tmp_path / "whole")
    stopped = tmp_path / "stopped"

    def impatient(what, done, total, note):
        if what == f"Sampling ({BASE})" and done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_generator(
            inputs, few, out=stopped, reporter=EvaluationReporter(progress=impatient)
        )
    painters = Faithful(), Deaf()
    paint_with(*painters)
    assert evaluate_generator(inputs, few, out=stopped) == whole
    assert not painters[0].batches
    assert sum(painters[1].batches) == 2 * few.count - 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]


def test_the_report_shows_pictures_and_refers_to_nothing_outside(inputs, paint_with, tmp_path):
    paint_with(Faithful(), Deaf())
    evaluation = evaluate_generator(inputs, SETTINGS, out=tmp_path / "report")
    written = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert GeneratorEvaluation.model_validate(written) == evaluation
    page = (tmp_path / "report" / "report.html").read_text()
    assert "http" not in page
    for variant in ("photographs", BASE, LORA):
        assert f'alt="{variant}: azure"' in page
    assert evaluation.space in page


def test_a_folder_that_a_synthesis_left_is_judged(inputs, paint_with, tmp_path):
    paint_with(Painter())
    settings = SynthesisSettings(count=24, agreement={"type": 0.4}, width=160, height=120)
    kept = tmp_path / "synthetic"
    synthesize(Inputs(inputs.bundle, inputs.data, classifier=inputs.classifier), kept, settings)
    judged = EvaluationInputs(**{**vars(inputs), "synthetic": kept})
    evaluation = evaluate_generator(judged, EvaluationSettings(count=0))
    assert list(evaluation.variants) == [HALVES, HELD_OUT, FOLDER]
    measures = evaluation.group("all").variants[FOLDER]
    assert measures.pictures == len(load_dataset(kept))
    assert measures.copies == 0
    assert all(share == 1 for share in measures.agreement.values())
    real = EvaluationInputs(**{**vars(inputs), "synthetic": inputs.data})
    with pytest.raises(DatasetError, match="not declared synthetic"):
        evaluate_generator(real, EvaluationSettings(count=0))


def test_a_backbone_can_be_the_space(inputs, paint_with, tmp_path):
    paint_with(Faithful(), Deaf())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("mobilenetv3_small_050", num_classes=0)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    in_backbone = EvaluationInputs(
        **{
            **vars(inputs),
            "backbone": "mobilenetv3_small_050",
            "pretrained": tmp_path / "weights.safetensors",
        }
    )
    few = EvaluationSettings(count=12)
    evaluation = evaluate_generator(in_backbone, few)
    assert evaluation.space == "timm mobilenetv3_small_050, weights weights.safetensors"
    # Labels are still read by the classifier; without one they are not, and that is said.
    assert evaluation.group("all").variants[LORA].agreement["glaze"] == 1
    alone = EvaluationInputs(**{**vars(in_backbone), "classifier": None})
    unread = evaluate_generator(alone, few)
    assert unread.group("all").variants[LORA].agreement["glaze"] is None
    assert any("--classifier" in warning for warning in unread.warnings)
    # The space alone decides the distance.
    distances = [e.group("all").variants[LORA].kid.value for e in (evaluation, unread)]
    assert distances[0] == pytest.approx(distances[1])


def test_mistakes_are_told_in_a_sentence(inputs, paint_with):
    paint_with(Faithful())

    def refused(pattern, settings=SETTINGS, **changes):
        with pytest.raises(UserError, match=pattern):
            evaluate_generator(EvaluationInputs(**{**vars(inputs), **changes}), settings)

    refused("--count 0", EvaluationSettings(count=0))
    refused("feature space", classifier=None)
    refused("--pretrained", backbone="mobilenetv3_small_050")


def test_end_to_end_on_a_real_pipeline(inputs, tmp_path):
    """Base and LoRA in Stable Diffusion's layout, by the command."""
    options = ["--bundle", inputs.bundle, "--data", inputs.data, "--classifier", inputs.classifier]
    options += ["--count", 6, "--base-too", "--out", tmp_path / "report", "--json"]
    result = CliRunner().invoke(app, ["evaluate", *map(str, options)])
    assert result.exit_code == 0, result.output
    evaluation = GeneratorEvaluation.model_validate_json(result.stdout)
    tuned, base = (evaluation.group("all").variants[name] for name in (LORA, BASE))
    assert tuned.kid.value != base.kid.value  # the LoRA does change the pictures
    assert tuned.pictures == base.pictures == 6
    assert "Report: " in result.stderr
    # For people, in tables.
    result = CliRunner().invoke(
        app, ["evaluate", *map(str, [*options[:6], "--count", 4])], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0, result.output
    assert "Rare kinds" in result.stderr
    assert "azure *" in result.stderr
