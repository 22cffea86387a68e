"""Two bundles judged on folders where it is known which is right."""

import json

import numpy as np
import pytest
from onnx import numpy_helper

from porcelain.errors import UserError
from tests.services.conftest import colour_model
from tests.training.classifier.evaluation.conftest import TASKS
from training.classifier.evaluation.compare import compare_bundles


def contrary_model():
    """Names the weakest colour."""
    model = colour_model()
    for constant in model.graph.initializer:
        if constant.name == "sharpness":
            constant.CopyFrom(numpy_helper.from_array(np.float32(-12.0), "sharpness"))
    return model


@pytest.fixture
def bundles(make_bundle, photographs):
    """Two bundles made from the first five pictures, with the rest as their test part."""
    paths = [photographs.root / record.file_name for record in photographs.records]
    parts = {"train": paths[:4], "validation": paths[4:5], "test": paths[5:]}
    good = make_bundle(parts, held_out=colour_model(), name="good")
    bad = make_bundle(parts, held_out=contrary_model(), name="bad")
    return good, bad


def test_the_better_is_named_with_what_it_is_better_by(bundles, photographs, tmp_path):
    good, bad = bundles
    result = compare_bundles(bad, good, photographs.root, resamples=200, out=tmp_path / "out")
    assert result.pictures == 25
    assert result.left_out == {"one has learned from its object": 5}
    assert (result.a.graph, result.b.graph) == ("held-out", "held-out")
    assert list(result.tasks) == list(TASKS)
    for task, one in result.tasks.items():
        assert one.f1_macro.b == 1
        assert one.f1_macro.interval[0] > 0
        assert one.log_loss.difference < 0
        assert one.verdict.startswith(f"{task}: B is better, by F1-macro +1.000")
        assert len(one.turned) == 25
        assert {turned.better for turned in one.turned} == {"b"}
    content = json.loads((tmp_path / "out/comparison.json").read_text())
    assert content == json.loads(result.model_dump_json())
    page = (tmp_path / "out/comparison.html").read_text()
    assert "B is better" in page
    assert page.count("data:image/jpeg") == 24 * len(TASKS)
    assert "http" not in page
    other = compare_bundles(good, bad, photographs.root, resamples=200)
    assert other.tasks["kiln"].verdict.startswith("kiln: A is better, by F1-macro -1.000")


def test_a_bundle_does_not_differ_from_itself(bundles, photographs):
    good, _ = bundles
    result = compare_bundles(good, good, photographs.root, resamples=100)
    for task, one in result.tasks.items():
        assert one.verdict == f"{task}: no difference that 25 pictures can show."
        assert (one.f1_macro.difference, one.f1_macro.interval) == (0, (0, 0))
        assert one.turned == []


def test_what_one_has_learned_from_judges_neither(make_bundle, photographs):
    # Photographs of one object: one learned from makes all of them known.
    for number in range(3):
        photographs.add("red", object_id=f"pot {number}")
        photographs.add("red", object_id=f"pot {number}")
    photographs.add("green", synthetic=True)
    paths = [photographs.root / record.file_name for record in photographs.records]
    one = make_bundle({"train": paths[:5], "validation": [], "test": []}, name="one")
    other = make_bundle({"train": [paths[30]], "validation": [paths[32]], "test": []}, name="two")
    result = compare_bundles(one, other, photographs.root, resamples=100)
    assert result.pictures == 25 + 2
    assert result.objects == 25 + 1
    assert result.left_out == {"one has learned from its object": 9, "synthetic": 1}
    assert result.a.graph == "served"
    everything = {"train": paths[:20], "validation": [], "test": []}
    greedy = make_bundle(everything, name="greedy")
    rest = make_bundle({"train": paths[20:], "validation": [], "test": []}, name="rest")
    with pytest.raises(UserError, match="what one has seen would flatter it"):
        compare_bundles(greedy, rest, photographs.root)


def test_a_bundle_that_does_not_say_what_it_learned_from_is_refused(make_bundle, photographs):
    with pytest.raises(UserError, match="nobody can tell what it learned from"):
        compare_bundles(make_bundle(name="a"), make_bundle(name="b"), photographs.root)


def test_blanks_are_left_out_and_labels_that_one_lacks_are_errors(bundles, photographs):
    good, bad = bundles
    photographs.add("red", kiln=None, dynasty="liao")
    result = compare_bundles(bad, good, photographs.root, resamples=100)
    assert result.tasks["kiln"].support == 25
    assert result.tasks["dynasty"].support == 26
    assert result.tasks["dynasty"].accuracy.b == pytest.approx(25 / 26)
