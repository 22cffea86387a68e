"""The two tables hold together: labels of the taxonomy, patterns that compile, museums."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from benchmarks.museum_rules import HALVES, LABELS, SECOND, read_truth, readings, score
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS, default_taxonomy
from training.data.museums.museum import museum, museums
from training.data.museums.paths import fill, values
from training.data.museums.phrases import (
    GREEN_OR_CELADON,
    UNDECIDED,
    compile_phrases,
    default_table,
    find,
    parse_table,
)
from training.data.museums.text import normalise

RECORDS = Path(__file__).parents[5] / "shared" / "museum-records"
HELPERS = {UNDECIDED, GREEN_OR_CELADON, "fahua"}


def test_the_table_names_labels_of_the_taxonomy():
    table, taxonomy = default_table(), default_taxonomy()
    assert set(table.dynasty.labels) == set(taxonomy.dynasty)
    assert set(table.dynasty.years) == set(taxonomy.dynasty)
    assert set(table.dynasty.reigns) <= set(taxonomy.dynasty)
    assert set(table.glaze.labels) - HELPERS == set(taxonomy.glaze)
    assert set(table.glaze.title_colours) - HELPERS <= set(taxonomy.glaze)
    assert set(table.kiln.labels) == set(taxonomy.kiln) - {"unknown"}
    assert set(table.type.labels) == set(taxonomy.type)
    for rule in table.glaze.together:
        assert {rule.means} <= set(taxonomy.glaze)
    for ware in (*table.kiln.labels.values(), *table.kiln.other_wares):
        assert {ware.glaze} - {None} <= set(taxonomy.glaze)
        assert set(ware.instead.values()) - HELPERS <= set(taxonomy.glaze)


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("blue and white", "Blue-and-White bowl", True),
        ("blue and white", "blue and whitish", False),
        ("tz'u chou", "Tzu-chou ware", True),
        ("yuan", "Yüan dynasty", True),
        ("bowl", "two bowls", True),
        ("dish", "dishes", True),
        ("dish", "radish", False),
        ("wash ?basin", "wash basin, washbasin, wash-basin", True),
        ("青花", "永樂青花瓷", True),
        ("[?]", "Ming?", True),
    ],
)
def test_how_phrases_match(phrase, text, found):
    assert bool(find(compile_phrases("label", [phrase]), normalise(text))) is found


def test_every_character_is_spelled_as_the_table_spells_it():
    table = default_table()
    written = table.model_dump_json(exclude={"characters"})
    for variant, character in table.characters.items():
        assert len(variant) == len(character) == 1
        assert character in written
        assert variant not in written, f"phrases with {variant} are never found"


def test_of_phrases_that_overlap_the_longest_counts():
    entries = compile_phrases("short", ["red glaze"]) + compile_phrases(
        "long", ["copper red glaze"]
    )
    assert [match.label for match in find(entries, "copper-red glaze, red glaze")] == [
        "long",
        "short",
    ]


def test_conditions():
    entries = compile_phrases("unglazed", default_table().glaze.labels["unglazed"])
    body = frozenset({"earthenware"})
    assert find(entries, "with paint", body, "with paint")
    assert not find(entries, "with paint", body, "with paint and glaze")
    assert not find(entries, "with paint", frozenset({"porcelain"}), "with paint")


def test_a_broken_table_is_one_clear_error():
    with pytest.raises(UserError, match="not a valid table"):
        parse_table("dynasty: {labels: {ming: 3}}")
    with pytest.raises(UserError, match="not a valid table"):
        parse_table("a: [")
    with pytest.raises(UserError, match="the phrase"):
        compile_phrases("ming", ["(ming"])


@pytest.mark.parametrize("name", sorted(museums()))
def test_every_museum_is_described(name):
    entry = museum(name)
    assert len(entry.terms) > 20
    assert entry.requests_per_second <= 5
    assert {"title", "material", "period"} & set(entry.fields)
    re.compile(entry.object.stem)
    for template in (*entry.pictures, entry.page):
        fill(template, {})  # no unknown filter
    if entry.source is not None:
        assert entry.source.url.strip().startswith("https://")


def test_an_unknown_museum_lists_the_known():
    with pytest.raises(UserError, match="met, cleveland"):
        museum("louvre")


def test_paths():
    record = {"a": {"b": [{"c": 1}, {"c": None}, {"c": 2}]}, "x": "one", "n": [[{"t": 1}], []]}
    assert values(record, "a.b[].c") == [1, 2]
    assert values(record, "x[]") == ["one"]
    assert values(record, "n[][].t") == [1]
    assert values([1, 2], "[]") == [1, 2]
    assert values(record, "a.none.c") == []
    assert fill("https://h/{x}/{a.b[].c}", record) == ["https://h/one/1", "https://h/one/2"]
    assert fill("https://h/{none}", record) == []
    back = {"p": "a\\b", "f": "c.JPG"}
    assert fill("{p|slashes}/{f|stem}_800.jpg", back) == ["a/b/c_800.jpg"]


@pytest.mark.parametrize("name", ["labels.csv", "labels_second.csv"])
def test_labels_by_hand_are_slugs_of_the_taxonomy(name):
    with (LABELS / name).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 200
    assert len({(row["museum"], row["record"]) for row in rows}) == len(rows)
    for row in rows:
        assert row["museum"] in museums()
        for task in TASKS:
            assert not row[task] or row[task] in getattr(default_taxonomy(), task)
            assert row["kept"] == "yes" or not row[task]


def test_parts_of_one_object_share_a_half():
    halves: dict[str, set[str]] = {}
    with (LABELS / "labels.csv").open(encoding="utf-8") as file:
        objects = {
            (r["museum"], r["record"]): f"{r['museum']}:{r['object']}" for r in csv.DictReader(file)
        }
    for truth in read_truth():
        if truth.half != SECOND:
            halves.setdefault(objects[truth.museum, truth.record], set()).add(truth.half)
    assert all(len(found) == 1 for found in halves.values())
    assert {half for found in halves.values() for half in found} == set(HALVES)


@pytest.mark.skipif(not RECORDS.is_dir(), reason="the shared museum records are not here")
def test_the_rules_read_real_records():
    read = readings(RECORDS)
    truths = read_truth()
    for half in (*HALVES, SECOND):
        scores = score([truth for truth in truths if truth.half == half], read)
        for task, counted in scores.items():
            assert counted.precision >= 0.97, (half, task, counted)
            assert counted.recall >= 0.90, (half, task, counted)
