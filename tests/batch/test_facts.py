"""What a collection knows already moves the other answers, row by row."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batch.classify import classify
from batch.pictures import Entry, Loaded, pack_loaded, unpack_loaded
from batch.settings import ClassifySettings
from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from porcelain.label_prior import Combination, KnownFacts
from tests.batch.conftest import run, write_pictures
from tests.services.conftest import LABELS, write_colour_bundle

SETTINGS = ClassifySettings(workers=1, batch_size=2, known=("dynasty",))


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour bundle, which has seen every task with the colour of the others alone."""
    rows = [{task: labels[i] for task, labels in LABELS.items()} for i in range(3)]
    facts = KnownFacts(
        combinations=[Combination(labels=row, count=100) for row in rows],
        strengths={task: dict.fromkeys(LABELS, 1.0) for task in LABELS},
    )
    return write_colour_bundle(tmp_path_factory.mktemp("knowing") / "colours", facts)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Red, green and blue: the first said to be blue, the second blank, the third blue."""
    folder = write_pictures(tmp_path / "collection", 3)
    blue = LABELS["dynasty"][2]
    lines = ["file_name,dynasty", f"0/000000.jpg,{blue}", "0/000001.jpg,", f"0/000002.jpg,{blue}"]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_rows_hold_facts_and_what_the_picture_says_of_them(knowing, collection, tmp_path) -> None:
    tables = {}
    for known in ((), ("dynasty",)):
        out = tmp_path / f"{len(known)}.parquet"
        classify(str(collection), knowing, out, SETTINGS.model_copy(update={"known": known}))
        tables[known] = pq.read_table(out).to_pylist()
    alone, given = tables[()], tables[("dynasty",)]
    red, blank, blue = given
    assert "dynasty_conflict" not in alone[0]
    assert red["dynasty"] == LABELS["dynasty"][2]
    assert red["dynasty_probability"] == 1
    assert red["dynasty_model_probability"] < 0.01
    assert red["dynasty_conflict"] is True
    assert blue["dynasty_conflict"] is False
    assert blue["dynasty_model_probability"] > 0.5
    assert blank["dynasty_conflict"] is blank["dynasty_model_probability"] is None
    assert {k: v for k, v in blank.items() if k in alone[1]} == alone[1]
    # The fact makes blue likelier elsewhere; the picture is as sure as it was of the third.
    kiln = LABELS["kiln"][2]
    before, after = (
        next(one["probability"] for one in rows[0]["kiln_top"] if one["label"] == kiln)
        for rows in (alone, given)
    )
    assert after > 2 * before
    assert blue["unusual_combination"] is None
    if red["kiln"] != kiln:
        assert set(red["unusual_combination"]) >= {f"dynasty:{LABELS['dynasty'][2]}"}


def test_facts_survive_the_way_to_another_process() -> None:
    loaded = [Loaded(Entry(3, "/a.jpg", {"dynasty": "ming"}), error="no", error_kind="missing")]
    assert unpack_loaded(pack_loaded(loaded), 32) == loaded


def test_other_facts_are_another_job(knowing, collection, tmp_path) -> None:
    from batch.classify import _Job
    from batch.facts import Facts
    from batch.inputs import recognise

    bundle = load_bundle(knowing, "classifier")

    def identity() -> dict:
        source = recognise(str(collection))
        facts = Facts(source, ("dynasty",), bundle.classifier)
        return _Job(source, bundle, tmp_path / "out.parquet", SETTINGS, False, facts).identity()

    first = identity()
    assert identity() == first
    table = collection / "metadata.csv"
    table.write_text(table.read_text().replace("000001.jpg,", "000001.jpg," + LABELS["dynasty"][0]))
    assert identity() != first


def test_mistakes_are_one_line_before_any_work(knowing, collection, tmp_path) -> None:
    out = tmp_path / "out.parquet"
    table = collection / "metadata.csv"
    asked = ("classify", collection, "--bundle", knowing, "--out", out)
    done = run(*asked, "--known", "dinasty", check=2)
    assert "no task 'dinasty'; its tasks are" in done.stderr
    done = run(*asked, "--known", "kiln", check=2)
    assert "has no column kiln" in done.stderr
    table.write_text(table.read_text().replace("000001.jpg,", "000001.jpg,Ming?"))
    done = run(*asked, "--known", "dynasty", check=2)
    assert "metadata.csv line 3: dynasty 'Ming?' is no label of the bundle" in done.stderr
    assert "Traceback" not in done.stderr
    plain = write_colour_bundle(tmp_path / "plain", known_facts=None)
    with pytest.raises(UserError, match="train the classifier anew"):
        classify(str(collection), plain, out, SETTINGS)
    both = SETTINGS.model_copy(update={"by_object": True})
    with pytest.raises(UserError, match="do not go together"):
        classify(str(collection), knowing, out, both)
    (collection / "metadata.csv").unlink()
    with pytest.raises(UserError, match="needs a dataset folder"):
        classify(str(collection), knowing, out, SETTINGS)
    assert not out.exists()
