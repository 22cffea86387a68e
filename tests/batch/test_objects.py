"""Objects answered from all their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from batch.classify import classify
from batch.objects import objects_file
from batch.rows import result_schema
from batch.settings import ClassifySettings
from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from porcelain.predictor import Predictor, interpret
from porcelain.preparation import load_and_prepare
from porcelain.views import pool_views
from tests.batch.conftest import run
from tests.pictures import jpeg, scene

SETTINGS = ClassifySettings(part_size=3, batch_size=2, workers=1, top_k=2, by_object=True)
ROWS = {
    "vase-1.jpg": ("vase", "red"),
    "bowl-1.jpg": ("bowl", "lime"),
    "vase-2.jpg": ("vase", "#ff9999"),
    "alone.jpg": ("", "blue"),
    "cut.jpg": ("jar", None),
    "vase-3.jpg": ("vase", None),
    "bowl-2.jpg": ("bowl", "blue"),
}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Seven pictures of three objects and one that is nobody's; two are broken."""
    folder = tmp_path / "collection"
    folder.mkdir()
    lines = ["file_name,dynasty,glaze,kiln,type,object_id"]
    for name, (thing, colour) in ROWS.items():
        content = jpeg(scene(colour=colour)) if colour else jpeg()[:200]
        (folder / name).write_bytes(content)
        lines.append(f"{name},,,,,{thing}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_an_object_is_answered_from_all_its_pictures(
    collection: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    summary = classify(str(collection), bundle, out, SETTINGS)
    assert (summary.rows, summary.objects) == (7, 4)
    objects = {row["object"]: row for row in pq.read_table(objects_file(out)).to_pylist()}
    assert list(objects) == ["vase", "bowl", "alone.jpg", "jar"]
    assert [Path(path).name for path in objects["vase"]["paths"]] == [
        "vase-1.jpg",
        "vase-2.jpg",
        "vase-3.jpg",
    ]
    assert {name: row["pictures"] for name, row in objects.items()} == {
        "vase": 2,
        "bowl": 2,
        "alone.jpg": 1,
        "jar": 0,
    }
    assert objects["jar"]["dynasty"] is None
    loaded = load_bundle(bundle, "classifier")
    predictor = Predictor(loaded)
    for thing, names in (("vase", (1, 2)), ("bowl", (1, 2))):
        prepared = [
            load_and_prepare(collection / f"{thing}-{i}.jpg", rule=loaded.classifier.resize)
            for i in names
        ]
        views = [predictor.run(one[np.newaxis]) for one in prepared]
        (expected,) = interpret(loaded.classifier, pool_views(views), top_k=2)
        for task, answer in expected.items():
            row = objects[thing]
            assert row[task] == answer.label
            assert row[f"{task}_probability"] == pytest.approx(answer.probability, abs=1e-3)
            assert row[f"{task}_abstained"] == answer.abstained
            assert [one["label"] for one in row[f"{task}_top"]] == [c.label for c in answer.top]
            assert row["model_digest"] == loaded.manifest.digest()
    # Every candidate is kept for each picture.
    names, ours = pq.read_schema(out).names, result_schema(loaded).names
    assert names[-len(ours) :] == ours
    assert {"file_name", "object_id"} <= set(names[: -len(ours)])
    first = pq.read_table(out).to_pylist()[0]
    assert len(first["dynasty_top"]) == len(loaded.classifier.labels["dynasty"])


def test_what_names_no_objects_is_refused(
    collection: Path, photos: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    with pytest.raises(UserError, match="needs a dataset folder"):
        classify(str(photos), bundle, out, SETTINGS)
    table = collection / "metadata.csv"
    table.write_text("file_name,type\nalone.jpg,bowl\n")
    with pytest.raises(UserError, match="has no column object_id"):
        classify(str(collection), bundle, out, SETTINGS)
    assert not out.exists()


def test_the_command_says_where_the_objects_are(
    collection: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels.parquet"
    done = run(
        *("classify", collection, "--bundle", bundle, "--out", out, "--by-object"),
        *("--workers", 1, "--json"),
    )
    said = json.loads(done.stdout.strip().splitlines()[0])
    assert said["objects_out"] == str(tmp_path / "labels.objects.parquet")
    assert "4 objects in" in done.stdout + done.stderr
