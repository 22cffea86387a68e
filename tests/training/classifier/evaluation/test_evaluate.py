"""A bundle judged on folders whose right answers are known."""

import json
import shutil

import numpy as np
import pytest
from onnx import numpy_helper
from rich.console import Console

from porcelain.dataset import write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.label_prior import Combination, KnownFacts
from tests.services.conftest import colour_model
from tests.training.classifier.evaluation.conftest import TASKS, truth
from training.classifier.evaluation.evaluate import evaluate_bundle


def contrary_model():
    """Names the weakest colour."""
    model = colour_model()
    for constant in model.graph.initializer:
        if constant.name == "sharpness":
            constant.CopyFrom(numpy_helper.from_array(np.float32(-12.0), "sharpness"))
    return model


def strict_json(path):
    return json.loads(
        path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} in {path.name}")
    )


def test_scores_and_shape_of_the_machine_output(make_bundle, photographs, tmp_path):
    photographs.add("red", **{"dynasty": "blue"})
    photographs.add("red", **{"kiln": None})
    result = evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=50)
    content = strict_json(tmp_path / "out/evaluation.json")
    assert content == json.loads(result.model_dump_json())
    assert content["data"]["pictures"] == 32
    dynasty, kiln, kind = (content["tasks"][task] for task in ("dynasty", "kiln", "type"))
    assert dynasty["accuracy"] == pytest.approx(31 / 32)
    # red: 11 right, 1 blue taken for it; green: all; blue: 10 of 11 found.
    assert dynasty["f1_macro"] == pytest.approx((22 / 23 + 1 + 20 / 21) / 3)
    assert dynasty["f1_macro_interval"][0] < dynasty["f1_macro"] <= dynasty["f1_macro_interval"][1]
    assert dynasty["classes"]["blue"] == {
        "precision": 1.0,
        "recall": 10 / 11,
        "f1": 20 / 21,
        "support": 11,
    }
    assert dynasty["confusion"]["labels"] == ["red", "green", "blue"]
    assert dynasty["confusion"]["matrix"] == [[11, 0, 0], [0, 10, 0], [1, 0, 10]]
    assert (kiln["support"], kiln["f1_macro"]) == (31, 1.0)
    assert (kind["support"], kind["accuracy_interval"]) == (32, [1.0, 1.0])
    # Everything right: the sharper probabilities before scaling are the nearer ones.
    assert kind["ece"] > kind["ece_uncalibrated"] > 0
    assert dynasty["abstention"]["coverage"] == 1.0
    assert 0 < kind["log_loss"] < dynasty["log_loss"]
    losses = [task["log_loss"] for task in content["tasks"].values()]
    assert content["mean"]["log_loss"] == pytest.approx(np.mean(losses))
    assert kind["classwise_calibration"]["rare"]["classes"] == 0
    assert kind["classwise_calibration"]["common"]["observed"] == 32
    mean = np.mean([task["f1_macro"] for task in content["tasks"].values()])
    assert content["mean"]["f1_macro"] == pytest.approx(mean)


def test_what_is_guaranteed_is_said_and_what_is_not(make_bundle, photographs, tmp_path, capsys):
    promised = {"selective_confidence": 0.9, "abstention_caveats": {"glaze": "Too few of them."}}
    bundle = make_bundle(knowing=promised)
    result = evaluate_bundle(bundle, photographs.root, out=tmp_path / "out", resamples=10)
    kiln, glaze = result.tasks["kiln"].abstention, result.tasks["glaze"].abstention
    assert (kiln.guaranteed, kiln.confidence, kiln.caveat) == (0.95, 0.9, None)
    assert (glaze.guaranteed, glaze.confidence, glaze.caveat) == (None, None, "Too few of them.")
    result.print_summary(Console(width=200))
    said = capsys.readouterr().out
    assert "95% guaranteed (90% confidence)" in said
    assert "glaze: no accuracy is guaranteed. Too few of them." in said
    page = (tmp_path / "out/report.html").read_text()
    assert "95 % guaranteed with 90 % confidence" in page
    assert "No accuracy is guaranteed above the threshold: Too few of them." in page
    # A bundle of version 1 states no confidence.
    first = evaluate_bundle(make_bundle(name="first"), photographs.root, resamples=10)
    assert all(task.abstention.guaranteed is None for task in first.tasks.values())
    assert all("train again" in task.abstention.caveat for task in first.tasks.values())


def test_auto_leaves_out_what_was_learned_from_even_when_renamed(
    make_bundle, photographs, tmp_path
):
    paths = [photographs.root / record.file_name for record in photographs.records]
    bundle = make_bundle({"train": paths[:15], "validation": paths[15:20], "test": paths[20:]})
    own = evaluate_bundle(bundle, photographs.root, resamples=10)
    assert (own.data.pictures, own.data.left_out) == (10, 20)
    assert own.data.left_out_reasons == {"used in training": 15, "used in validation": 5}
    test = evaluate_bundle(bundle, photographs.root, subset="test", resamples=10)
    assert test.tasks == own.tasks
    shutil.copy(paths[0], photographs.root / "images/renamed.png")
    renamed = [*photographs.records[20:]]
    renamed.append(photographs.records[0].__class__("images/renamed.png", renamed[0].labels))
    write_metadata(photographs.root, renamed)
    again = evaluate_bundle(bundle, photographs.root, resamples=10)
    assert (again.data.pictures, again.data.left_out) == (10, 1)
    everything = evaluate_bundle(bundle, photographs.root, subset="all", resamples=10)
    assert everything.data.pictures == 11
    assert "1 of the 11 pictures were used to train" in everything.warnings[0]


def test_the_held_out_graph_judges_the_bundle_s_own_test_pictures(
    make_bundle, photographs, tmp_path
):
    paths = [photographs.root / record.file_name for record in photographs.records]
    parts = {"train": paths[:15], "validation": [], "test": paths[15:]}
    bundle = make_bundle(parts, held_out=contrary_model())
    own = evaluate_bundle(bundle, photographs.root, resamples=10)
    assert own.bundle.graph == "held-out"
    assert own.tasks["type"].accuracy == 0
    strangers = make_bundle(
        {"train": [], "validation": [], "test": []}, held_out=contrary_model(), name="strangers"
    )
    foreign = evaluate_bundle(strangers, photographs.root, resamples=10)
    assert foreign.bundle.graph == "served"
    assert foreign.tasks["type"].accuracy == 1


def test_without_digests_everything_is_taken_with_a_warning(make_bundle, photographs):
    photographs.add("red", synthetic=True)
    result = evaluate_bundle(make_bundle(), photographs.root, resamples=10)
    assert (result.data.subset, result.data.pictures) == ("all", 30)
    assert result.data.left_out_reasons == {"synthetic": 1}
    assert "no digests.json" in result.warnings[0]
    with pytest.raises(UserError, match=r"no digests\.json"):
        evaluate_bundle(make_bundle(), photographs.root, subset="test")


def test_nothing_left_is_said_in_one_sentence(make_bundle, photographs):
    paths = [photographs.root / record.file_name for record in photographs.records]
    bundle = make_bundle({"train": paths, "validation": [], "test": []})
    with pytest.raises(UserError, match="every picture"):
        evaluate_bundle(bundle, photographs.root)
    with pytest.raises(UserError, match="test part"):
        evaluate_bundle(bundle, photographs.root, subset="test")


def test_unreadable_pictures_are_listed_and_skipped(make_bundle, photographs, tmp_path):
    empty, cut = photographs.add("red"), photographs.add("green")
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:80])
    result = evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=10)
    assert result.data.pictures == 30
    assert [item.file_name for item in result.data.unreadable] == [
        "images/030.png",
        "images/031.png",
    ]
    assert any("2 picture(s) could not be read" in warning for warning in result.warnings)
    assert "images/031.png" in (tmp_path / "out/report.html").read_text()


def test_a_folder_of_unreadable_pictures_is_an_error(make_bundle, photographs):
    for record in photographs.records:
        (photographs.root / record.file_name).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="None of the 30 pictures"):
        evaluate_bundle(make_bundle(), photographs.root)


def test_labels_that_the_bundle_lacks_are_errors_and_named(make_bundle, photographs):
    photographs.add("red", **{"glaze": "purple"})
    result = evaluate_bundle(make_bundle(), photographs.root, resamples=10)
    assert result.tasks["glaze"].unknown_labels == {"purple": 1}
    assert result.tasks["glaze"].accuracy == pytest.approx(30 / 31)
    assert result.tasks["glaze"].nameable_only.accuracy == 1
    assert result.tasks["dynasty"].accuracy == 1
    assert any("no glaze class for purple (1)" in warning for warning in result.warnings)


def test_a_task_without_labels_is_null_not_nan(make_bundle, photographs, tmp_path):
    bare = [
        record.__class__(record.file_name, {**record.labels, "kiln": None})
        for record in photographs.records
    ]
    write_metadata(photographs.root, bare)
    evaluate_bundle(make_bundle(), photographs.root, out=tmp_path / "out", resamples=10)
    kiln = strict_json(tmp_path / "out/evaluation.json")["tasks"]["kiln"]
    assert (kiln["support"], kiln["f1_macro"], kiln["f1_macro_interval"]) == (0, None, None)
    assert (kiln["ece"], kiln["abstention"]) == (None, None)


def test_photographs_of_one_object_and_copies_count_as_one_object(make_bundle, photographs):
    first = photographs.add("red", object_id="A")
    photographs.add("green", object_id="A")
    shutil.copy(first, photographs.add("red"))
    shutil.copy(photographs.root / "images/000.png", photographs.add("red"))
    result = evaluate_bundle(make_bundle(), photographs.root, resamples=10)
    assert (result.data.pictures, result.data.objects) == (34, 32)


@pytest.mark.parametrize("place", ["photographs", "colours", "."])
def test_out_never_replaces_what_is_read(make_bundle, photographs, tmp_path, place):
    bundle = make_bundle()
    with pytest.raises(UserError, match="would replace"):
        evaluate_bundle(bundle, photographs.root, out=tmp_path / place, overwrite=True)
    assert (bundle / "model.onnx").is_file()


def test_out_is_replaced_only_when_asked(make_bundle, photographs, tmp_path):
    bundle, out = make_bundle(), tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        evaluate_bundle(bundle, photographs.root, out=out)
    evaluate_bundle(bundle, photographs.root, out=out, overwrite=True, resamples=10)
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]


def test_progress_counts_every_picture(make_bundle, photographs):
    heard = []
    evaluate_bundle(
        make_bundle(),
        photographs.root,
        resamples=10,
        on_progress=lambda done, total: heard.append((done, total)),
    )
    assert heard[-1] == (30, 30)


def knowing_combinations(*combinations, **more):
    strengths = {task: dict.fromkeys(TASKS, 1.0) for task in TASKS}
    return {"known_facts": KnownFacts(combinations=combinations, strengths=strengths, **more)}


def test_labels_of_the_folder_are_facts_about_the_other_tasks(make_bundle, photographs, tmp_path):
    # Where the dynasty is red, the kiln is in truth blue: the picture cannot say so.
    swapped = [{**truth("red"), "kiln": truth("blue")["kiln"]}, truth("green"), truth("blue")]
    combinations = [Combination(labels=labels, count=50) for labels in swapped]
    for _ in range(4):
        photographs.add("red", kiln=truth("blue")["kiln"])
    photographs.add("red", dynasty=None)
    bundle = make_bundle(knowing=knowing_combinations(*combinations))
    data = photographs.root
    alone = evaluate_bundle(bundle, data, resamples=20)
    given = evaluate_bundle(bundle, data, known=["dynasty"], resamples=20, out=tmp_path / "out")
    assert alone.data.known == ()
    assert given.data.known == ("dynasty",)
    assert set(given.tasks) == set(TASKS) - {"dynasty"}
    assert given.data.left_out_reasons == {"no dynasty that the bundle knows": 1}
    assert given.data.pictures == alone.data.pictures - 1
    assert given.tasks["glaze"].log_loss < alone.tasks["glaze"].log_loss
    low, high = given.tasks["glaze"].log_loss_interval
    assert low <= given.tasks["glaze"].log_loss <= high
    assert given.doubt.label_sets == {}
    assert strict_json(tmp_path / "out/evaluation.json")["data"]["known"] == ["dynasty"]


def test_the_held_out_graph_is_given_its_own_combinations(make_bundle, photographs):
    paths = [photographs.root / record.file_name for record in photographs.records]
    parts = {"train": paths[:10], "validation": [], "test": paths[10:]}
    usual = [Combination(labels=truth(colour), count=50) for colour in ("red", "green", "blue")]
    odd = [Combination(labels={"dynasty": truth("red")["dynasty"], "kiln": truth("blue")["kiln"]},
                       count=50), *usual[1:]]  # fmt: skip
    losses = []
    for served, held_out in ((usual, odd), (odd, usual)):
        knowing = knowing_combinations(*served, held_out_combinations=held_out)
        bundle = make_bundle(parts, held_out=colour_model(), knowing=knowing)
        result = evaluate_bundle(bundle, photographs.root, known=["dynasty"], resamples=10)
        assert result.bundle.graph == "held-out"
        losses.append(result.tasks["kiln"].log_loss)
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("known", "says"),
    [(["dinasty"], "no task 'dinasty'"), (list(TASKS), "nothing is left to measure")],
)
def test_facts_that_cannot_be_used_are_refused(make_bundle, photographs, known, says):
    bundle = make_bundle(knowing=knowing_combinations(Combination(labels=truth("red"), count=1)))
    with pytest.raises(UserError, match=says):
        evaluate_bundle(bundle, photographs.root, known=known)


def test_an_older_bundle_refuses_facts(make_bundle, photographs):
    with pytest.raises(UserError, match="train the classifier anew"):
        evaluate_bundle(make_bundle(), photographs.root, known=["dynasty"])
