"""The page opens by itself, shows the pictures and names things as people do."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from porcelain.bundle import load_bundle
from porcelain.dataset import write_metadata
from porcelain.predictor import Predictor
from training.classifier.evaluation.charts import confusions, coverage_curve, matrix
from training.classifier.evaluation.evaluate import evaluate_bundle
from training.classifier.evaluation.results import Confusion
from training.pages.page import percent, score

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Collects text, pictures and references, and holds tags to their nesting."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.references, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.references.append(value)
            if tag == "img" and name == "src":
                self.pictures.append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(make_bundle, photographs, tmp_path):
    photographs.add("red", **{"dynasty": "blue"})
    photographs.add("green", **{"dynasty": "red", "type": "strange_form"})
    (photographs.root / "taxonomy.yaml").write_text(
        "dynasty:\n  blue: {en: Azure Court, zh: 藍朝}\n", encoding="utf-8"
    )
    evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=20)
    return (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_the_page_refers_to_nothing_outside_itself(page):
    parsed = Page(page)
    assert parsed.references
    for reference in parsed.references:
        assert reference.startswith(("data:image/jpeg;base64,", "#"))
    for word in ("<script", "@import", "url(", "http://", "https://"):
        assert word not in page


def test_every_mistake_is_there_as_picture_and_overlay(page):
    parsed = Page(page)
    # Two wrong dynasties and one type without a class, each with its overlay.
    assert len(parsed.pictures) == 6
    shown = [
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in parsed.pictures
    ]
    red, green, blue = np.asarray(shown[0].convert("RGB")).mean(axis=(0, 1))
    assert max(red, green) > 1.5 * blue
    assert shown[0].width > shown[0].height
    assert "images/030.png" in page
    assert "images/031.png" in page


def test_names_are_those_of_the_taxonomy_in_two_scripts(page):
    text = " ".join(Page(page).text)
    assert "Azure Court" in text
    assert "藍朝" in text
    assert "strange form" in text
    assert "no such class" in text
    assert "Dynasty" in text
    assert "朝代" in text


def test_nan_and_none_never_reach_the_reader(page):
    text = " ".join(Page(page).text)
    for word in ("nan", "None", "null", "Undefined"):
        assert word not in text.split()


def test_file_names_are_escaped(make_bundle, photographs, tmp_path):
    photographs.add("red", **{"dynasty": "blue"})
    last = photographs.records[-1]
    (photographs.root / last.file_name).rename(photographs.root / "<b onload=x>.png")
    renamed = last.__class__("<b onload=x>.png", last.labels)
    write_metadata(photographs.root, [*photographs.records[:-1], renamed])
    evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=5)
    text = (tmp_path / "out/report.html").read_text()
    assert "<b onload" not in text
    assert "&lt;b onload=x&gt;.png" in text


def test_a_page_without_mistakes_or_labels_of_a_task(make_bundle, photographs, tmp_path):
    bare = [r.__class__(r.file_name, {**r.labels, "kiln": None}) for r in photographs.records]
    write_metadata(photographs.root, bare)
    evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=5)
    text = (tmp_path / "out/report.html").read_text()
    parsed = Page(text)
    assert parsed.pictures == []
    assert 'id="kiln"' not in text
    assert "No picture has a kiln label" in text


def test_the_worst_mistake_comes_first(make_bundle, photographs, tmp_path):
    from training.classifier.evaluation.mistakes import worst_mistakes
    from training.classifier.evaluation.predictions import Predictions

    folder = Predictor(load_bundle(make_bundle(), "classifier"))
    probabilities = np.array([[0.6, 0.3, 0.1], [0.9, 0.1, 0], [0.2, 0.7, 0.1], [1, 0, 0]])
    predictions = Predictions(
        records=tuple(photographs.records[:4]),
        objects=("a", "b", "c", "d"),
        classes={"type": [*folder.info.labels["type"], "strange"]},
        labels={"type": np.array([1, 3, 1, -1])},
        probabilities={"type": probabilities.astype(np.float32)},
    )
    first, second = worst_mistakes(predictions, "type")
    assert (first.label, first.predicted, first.label_probability) == ("strange", "type_red", None)
    assert first.probability == pytest.approx(0.9)
    assert (second.index, second.label_probability) == (0, pytest.approx(0.3))
    assert worst_mistakes(predictions, "type", count=1) == [first]


def test_confusion_matrix_shows_only_what_occurs():
    confusion = Confusion(
        labels=["a", "b", "c", "new"],
        matrix=[[5, 2, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0]],
    )
    shown = matrix(confusion, frozenset({"new"}))
    assert shown.rows == ["a", "b", "new"]
    assert shown.columns == ["a", "b"]
    assert [cell.count for cell in shown.cells[0]] == [5, 2]
    assert shown.cells[0][1].share == pytest.approx(2 / 7)
    assert confusions(confusion) == [("new", "a", 3), ("a", "b", 2)]


def test_coverage_curve_moves_equal_confidences_together():
    confidence = np.array([0.9, 0.8, 0.8, 0.4], dtype=np.float32)
    curve = coverage_curve(confidence, np.array([True, False, True, False]))
    assert curve.points == [(0.25, 1.0), (0.75, pytest.approx(2 / 3)), (1.0, 0.5)]
    assert curve.floor == 0.5


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (1.0, "100 %"), (0.0, "0 %"), (0.996, "99.6 %"), (0.9999, "> 99.9 %")],
)
def test_percent_never_rounds_up_to_certainty(value, text):
    assert percent(value) == text


def test_score_of_nothing_is_a_dash():
    assert (score(None), score(0.12345)) == ("–", "0.123")
