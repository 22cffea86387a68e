from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.parts import Parts, facts_of, has_parts, read_part, remove_parts, write_tables

SCHEMA = pa.schema([("index", pa.int64())])


def rows(missing, length):
    """Tables of `length` rows, as an engine gives them."""
    indices = [index for index, _ in missing]
    for start in range(0, len(indices), length):
        yield pa.table({"index": indices[start : start + length]}, SCHEMA)


def run(parts: Parts, total: int, length: int, stop_after: int | None = None) -> list[int]:
    """Make what is missing, as far as `stop_after` tables; returns the inputs worked on."""
    made = []
    entries = iter([f"{number}.jpg" for number in range(total)])
    tables = rows(list(parts.missing(entries)), length)
    for count, table in enumerate(parts.save(tables), start=1):
        made += table["index"].to_pylist()
        if count == stop_after:
            break
    return made


@pytest.mark.parametrize("length", [1, 3, 10, 25, 1000])
def test_rows_of_any_grouping_become_parts_and_one_file(tmp_path, length) -> None:
    parts = Parts(tmp_path, 10, 95)
    assert parts.count == 10
    assert run(parts, 95, length) == list(range(95))
    assert (parts.done, parts.rows_done) == (10, 95)
    assert [pq.read_metadata(path).num_rows for path in parts.paths()] == [10] * 9 + [5]
    with (tmp_path / "all.parquet").open("wb") as file:
        write_tables(file, map(read_part, parts.paths()), SCHEMA, {"run": "x"})
    assert pq.read_table(tmp_path / "all.parquet")["index"].to_pylist() == list(range(95))
    assert facts_of(tmp_path / "all.parquet") == {"run": "x"}


def test_what_was_interrupted_goes_on_after_its_last_part(tmp_path) -> None:
    first = run(Parts(tmp_path, 10, 95), 95, 4, stop_after=8)  # 32 rows: three parts
    assert first[-1] == 31
    parts = Parts(tmp_path, 10, 95)
    assert (parts.done, parts.rows_done) == (3, 30)
    assert run(parts, 95, 4) == list(range(30, 95))
    assert run(Parts(tmp_path, 10, 95), 95, 4) == []


def test_a_part_that_is_damaged_or_gone_is_made_again(tmp_path) -> None:
    run(Parts(tmp_path, 10, 40), 40, 7)
    whole = list(Parts(tmp_path, 10, 40).paths())
    whole[1].write_bytes(whole[1].read_bytes()[:-20])
    whole[3].unlink()
    parts = Parts(tmp_path, 10, 40)
    assert parts.rows_done == 20
    assert run(parts, 40, 7) == [*range(10, 20), *range(30, 40)]
    with (tmp_path / "all.parquet").open("wb") as file:
        write_tables(file, map(read_part, parts.paths()), SCHEMA, {})
    assert pq.read_table(tmp_path / "all.parquet")["index"].to_pylist() == list(range(40))


def test_parts_can_be_removed(tmp_path) -> None:
    assert not has_parts(tmp_path)
    run(Parts(tmp_path, 10, 40), 40, 7)
    assert has_parts(tmp_path)
    remove_parts(tmp_path)
    assert not has_parts(tmp_path)


def test_other_files_have_no_facts(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"PAR1 not at all")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "b")
    assert [facts_of(tmp_path / name) for name in "abc"] == [{}, {}, {}]
