from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porcelain.dataset import (
    Dataset,
    Record,
    label_indices,
    load_dataset,
    read_metadata,
    subset,
    write_metadata,
)
from porcelain.errors import DatasetError
from porcelain.vocabulary import TASKS

HEADER = "file_name,dynasty,glaze,kiln,type\n"
SLUGS = st.none() | st.from_regex(r"[a-z0-9]{1,4}([_-][a-z0-9]{1,4})?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=8)
RECORDS = st.lists(
    st.builds(
        Record,
        file_name=st.from_regex(r"[a-z]{1,4}/[A-Za-z0-9 ,\"é瓷]{1,8}\.jpg", fullmatch=True),
        labels=st.fixed_dictionaries(dict.fromkeys(TASKS, SLUGS)),
        object_id=st.none() | TEXT.filter(bool),
        synthetic=st.booleans(),
        extra=st.fixed_dictionaries({"source": TEXT, "prompt": TEXT}),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda record: record.file_name,
)


def folder(root: Path, text: str, *names: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "metadata.csv").write_text(text, encoding="utf-8")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


@given(records=RECORDS)
def test_what_is_written_is_read_back(tmp_path_factory, records):
    root = tmp_path_factory.mktemp("dataset")
    write_metadata(root, records)
    assert read_metadata(root).records == tuple(records)


def test_labels_blank_and_optional_columns(tmp_path):
    text = (
        "\ufefffile_name , type,dynasty,object_id,synthetic,source\n"
        'a.jpg,bowl, song ,o1,TRUE,"Taipei, NPM"\n'
        "b/c.jpg,,ming,,no,\n"
        "d.jpg,dish\n"
    )
    dataset = load_dataset(folder(tmp_path, text, "a.jpg", "b/c.jpg", "d.jpg"))
    first, second, third = dataset.records
    assert first.labels == {"dynasty": "song", "glaze": None, "kiln": None, "type": "bowl"}
    assert (first.object_id, first.synthetic, first.extra) == (
        "o1",
        True,
        {"source": "Taipei, NPM"},
    )
    assert (second.object_id, second.synthetic, second.labels["type"]) == (None, False, None)
    assert third.labels["type"] == "dish"
    assert len(dataset) == 3
    assert dataset.path(second) == tmp_path / "b" / "c.jpg"
    assert dataset.counts("dynasty") == {"song": 1, "ming": 1}
    assert dataset.classes("dynasty") == ["ming", "song"]
    assert dataset.classes("glaze") == []
    assert subset(dataset, ["d.jpg", "a.jpg"]).records == (first, third)
    indices = label_indices(dataset.records, {task: ["bowl", "song"] for task in TASKS})
    assert indices == [[1, -1, -1, 0], [-1, -1, -1, -1], [-1, -1, -1, -1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column file_name"),
        ("name,type\na.jpg,bowl\n", "no column file_name"),
        ("file_name,colour\na.jpg,red\n", "none of the label columns"),
        (HEADER, "no rows"),
        (HEADER + "a.jpg,Song,,,\n", "line 2: dynasty 'Song' is not a lower-case slug"),
        (HEADER + "a.jpg,,,,blue and white\n", "is not a lower-case slug"),
        (HEADER + "a.jpg,,,,bowl_\n", "is not a lower-case slug"),
        (HEADER + "a.jpg,song,,,bowl,extra\n", "line 2 has more fields"),
        (HEADER + "a.jpg,,,,\na.jpg,,,,\n", "a.jpg more than once"),
        (HEADER + "/etc/passwd,,,,\n", "must be a path below the folder"),
        (HEADER + "../a.jpg,,,,\n", "must be a path below the folder"),
        (HEADER + "a\\b.jpg,,,,\n", "must be a path below the folder"),
        (HEADER + ",song,,,\n", "must be a path below the folder"),
        ("file_name,type,synthetic\na.jpg,bowl,perhaps\n", "must be true or false"),
        (HEADER + "a.jpg,,,,\ngone.jpg,,,,\nlost.jpg,,,,\n", "2 file.s. that do not exist"),
    ],
)
def test_what_breaks_the_convention_is_told_in_one_sentence(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(folder(tmp_path, text, "a.jpg"))
    assert "\n" not in str(caught.value)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DatasetError, match="not a folder"):
        load_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"has no metadata\.csv"):
        load_dataset(tmp_path)
    (tmp_path / "metadata.csv").write_bytes("file_name,type\nvas\xe9.jpg,bowl\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        load_dataset(tmp_path)


def test_digest_follows_labels_and_bytes_but_not_order(tmp_path):
    text = HEADER + "a.jpg,song,,,\nb.jpg,ming,,,\n"
    dataset = load_dataset(folder(tmp_path, text, "a.jpg", "b.jpg"))
    digest = dataset.digest()
    assert Dataset(tmp_path, dataset.records[::-1]).digest() == digest
    first, second = dataset.records
    relabelled = replace(first, labels={**first.labels, "type": "bowl"})
    assert Dataset(tmp_path, (relabelled, second)).digest() != digest
    (tmp_path / "a.jpg").write_bytes(b"other")
    assert dataset.digest() != digest
