"""Label sets and likeness, judged on folders where it is known what they should say."""

import json

import pytest

from tests.services.conftest import LABELS, colour_model
from training.classifier.evaluation.evaluate import evaluate_bundle

# Of every colour's pictures a 0.9 was the least that calibration gave its label; blue has too few.
CALIBRATED = {
    task: {label: [0.1] * (5 if "blue" in label or label == "azure" else 20) for label in labels}
    for task, labels in LABELS.items()
}
KNOWING = {"in_domain_threshold": 0.9, "conformity": CALIBRATED}


@pytest.fixture
def mistaken(photographs):
    """Thirty pictures labelled as they will be answered, and ten reds that are called green."""
    for _ in range(10):
        photographs.add("red", **{"dynasty": "green"})
    photographs.add("red", **{"dynasty": None, "type": "strange_form"})
    return photographs


def test_coverage_is_counted_in_all_and_by_class(make_bundle, mistaken):
    bundle = make_bundle(knowing=KNOWING)
    sets = evaluate_bundle(bundle, mistaken.root, resamples=50).doubt.label_sets
    dynasty = sets["dynasty"]
    assert (dynasty.stated, dynasty.support) == (0.9, 40)
    assert dynasty.coverage == pytest.approx(30 / 40)
    low, high = dynasty.coverage_interval
    assert low < 30 / 40 < high
    assert (dynasty.mean_size, dynasty.single) == (1, 1)
    assert dynasty.classes["green"].coverage == pytest.approx(0.5)
    assert dynasty.classes["green"].own_limit
    assert not dynasty.classes["blue"].own_limit
    assert sets["kiln"].coverage == 1
    # What the bundle has no class for is in no set, and counts.
    assert sets["type"].support == 41
    assert sets["type"].coverage == pytest.approx(40 / 41)
    assert "strange_form" not in sets["type"].classes


def test_larger_limits_give_larger_sets_that_hold_more(make_bundle, mistaken):
    doubtful = {task: {k: [0.99999] * 20 for k in scores} for task, scores in CALIBRATED.items()}
    bundle = make_bundle(knowing={**KNOWING, "conformity": doubtful})
    dynasty = evaluate_bundle(bundle, mistaken.root, resamples=10).doubt.label_sets["dynasty"]
    assert dynasty.coverage > 30 / 40
    assert dynasty.mean_size > 1.5


def test_the_share_in_the_domain_is_that_of_the_graph_that_is_judged(make_bundle, photographs):
    bundle = make_bundle(knowing=KNOWING)
    likeness = evaluate_bundle(bundle, photographs.root, resamples=50).doubt.likeness
    assert likeness.in_domain == pytest.approx(10 / 30)  # it has seen reds
    assert likeness.in_domain_interval[0] < 1 / 3 < likeness.in_domain_interval[1]
    paths = [photographs.root / record.file_name for record in photographs.records]
    parts = {"train": paths[:15], "validation": [], "test": paths[15:]}
    own = make_bundle(parts, held_out=colour_model(), knowing=KNOWING, name="own")
    result = evaluate_bundle(own, photographs.root, resamples=10)
    assert result.bundle.graph == "held-out"
    assert result.doubt.likeness.in_domain == pytest.approx(5 / 15)


def test_a_bundle_without_either_says_so(make_bundle, photographs, tmp_path, capsys):
    result = evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=10)
    assert json.loads(result.model_dump_json())["doubt"] == {"label_sets": {}, "likeness": None}
    assert "label sets" not in (tmp_path / "out/report.html").read_text()


def test_the_page_shows_both(make_bundle, mistaken, tmp_path):
    evaluate_bundle(make_bundle(knowing=KNOWING), mistaken.root, out=tmp_path / "out", resamples=10)
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("Do its label sets hold the true label?") == len(LABELS)
    assert "75 %" in page
    assert "†" in page
    assert "Does it know its own kind?" in page
