from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batch.classify import classify
from batch.pictures import Classification, Entry, pack_loaded, unpack_loaded
from batch.rows import result_schema
from batch.settings import HANDED, ClassifySettings
from porcelain.bundle import load_bundle, write_manifest
from porcelain.errors import BundleError, UserError
from porcelain.predictor import Predictor, interpret
from porcelain.preparation import load_and_prepare
from tests.batch.conftest import command, environment, run, write_pictures
from tests.pictures import (
    HTML,
    PDF,
    SVG,
    every_format,
    jpeg,
    jpeg_bomb,
    png_bomb,
    truncations,
)

SETTINGS = ClassifySettings(part_size=4, batch_size=3, workers=1)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with every format and everything that is wrong with pictures."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, (content, _) in every_format().items():
        (folder / f"good {name}.jpg").write_bytes(content)
    bad = {"empty": b"", "svg": SVG, "pdf": PDF, "html": HTML, "text": b"http://127.0.0.1/a.jpg"}
    bad |= {"png bomb": png_bomb(), "jpeg bomb": jpeg_bomb(), "cut": truncations(jpeg())[2]}
    for name, content in bad.items():
        (folder / f"bad {name}.jpg").write_bytes(content)
    os.mkfifo(folder / "bad pipe.jpg")
    (folder / "bad link.jpg").symlink_to(folder / "nowhere")
    return folder


def test_every_input_has_a_row_and_bad_ones_say_why(mixed, bundle, tmp_path) -> None:
    out = tmp_path / "out.parquet"
    summary = classify(str(mixed), bundle, out, SETTINGS)
    rows = pq.read_table(out).to_pylist()
    names = sorted(str(path) for path in mixed.iterdir())
    assert [row["path"] for row in rows] == names
    assert [row["index"] for row in rows] == list(range(len(names)))
    for row in rows:
        good = "/good " in row["path"]
        assert (row["error"] is None) == good == (row["type"] is not None)
        assert (row["error_kind"] is None) == good == (row["width"] is not None)
    kinds = {Path(row["path"]).stem[4:]: row["error_kind"] for row in rows if row["error"]}
    assert kinds == {
        "cut": "corrupt",
        "empty": "corrupt",
        "html": "unsupported",
        "jpeg bomb": "too_large",
        "link": "missing",
        "pdf": "unsupported",
        "pipe": "unreadable",
        "png bomb": "too_large",
        "svg": "unsupported",
        "text": "unsupported",
    }
    assert summary.rows == len(rows)
    assert summary.classified == len(every_format())
    assert sum(summary.errors.values()) == len(kinds)
    assert summary.abstained["type"] == summary.classified  # its threshold is 1


def test_rows_say_what_the_predictor_says(photos, bundle, tmp_path) -> None:
    out = tmp_path / "out.parquet"
    classify(str(photos), bundle, out, ClassifySettings(top_k=2, workers=2))
    loaded = load_bundle(bundle, "classifier")
    predictor = Predictor(loaded)
    for row in pq.read_table(out).to_pylist():
        pixels = load_and_prepare(Path(row["path"]), rule=loaded.classifier.resize)
        (answers,) = predictor.predict([pixels], top_k=2)
        for task, answer in answers.items():
            assert row[task] == answer.label
            assert row[f"{task}_probability"] == pytest.approx(answer.probability, abs=1e-6)
            assert row[f"{task}_abstained"] == answer.abstained
            assert [one["label"] for one in row[f"{task}_top"]] == [c.label for c in answer.top]
        assert (row["width"], row["height"], row["format"]) == (96, 64, "JPEG")
        assert row["model_name"] == "colours"
        assert row["model_version"] == loaded.manifest.version
        assert row["model_digest"] == loaded.manifest.digest()


def test_rows_say_what_the_bundle_does_not_know(photos, bundle, tmp_path) -> None:
    out = tmp_path / "out.parquet"
    settings = ClassifySettings(workers=1, batch_size=4, coverage=0.9)
    summary = classify(str(photos), bundle, out, settings)
    info = load_bundle(bundle, "classifier").classifier
    predictor = Predictor(load_bundle(bundle, "classifier"))
    rows = pq.read_table(out).to_pylist()
    assert [row["in_domain"] for row in rows] == [True, False, False] * 2  # it has learned reds
    assert summary.unlike == 4
    for row in rows:
        outputs = predictor.run(load_and_prepare(Path(row["path"]), rule=info.resize)[None])
        assert outputs.domain is not None
        assert row["in_domain_score"] == pytest.approx(outputs.domain[0], abs=1e-6)
        (answers,) = interpret(info, outputs, coverage=0.9)
        for task, answer in answers.items():
            assert row[f"{task}_set"] == list(answer.label_set or ())
    assert len(rows[0]["type_set"]) == 2
    assert len(rows[0]["glaze_set"]) == 1
    interrupted(str(photos), bundle, tmp_path / "b.parquet", SETTINGS, after=4)
    wider = SETTINGS.model_copy(update={"coverage": 0.8})
    with pytest.raises(UserError, match="another coverage"):
        classify(str(photos), bundle, tmp_path / "b.parquet", wider)


def test_a_bundle_that_cannot_judge_itself_leaves_its_columns_blank(
    photos, bundle, tmp_path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(bundle / "model.onnx", plain)
    info = load_bundle(bundle, "classifier").classifier
    blank = info.model_copy(update={"in_domain_threshold": None, "conformity": {}})
    write_manifest(plain, kind="classifier", name="p", dataset_digest="0", classifier=blank)
    summary = classify(str(photos), plain, tmp_path / "out.parquet", SETTINGS)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for name in ("in_domain", "in_domain_score", "type_set"):
        assert [row[name] for row in rows] == [None] * 6
    assert summary.unlike == 0
    wanted = SETTINGS.model_copy(update={"coverage": 0.9})
    with pytest.raises(UserError, match="not calibrated"):
        classify(str(photos), plain, tmp_path / "b.parquet", wanted)


def test_decoding_and_inference_apart_give_the_same_rows(mixed, bundle) -> None:
    entries = [Entry(n, str(path)) for n, path in enumerate(sorted(mixed.iterdir()))]
    settings = ClassifySettings(batch_size=len(entries))  # another company, other last digits
    work = Classification(load_bundle(bundle, "classifier"), settings)
    packed = pack_loaded(work.load(entries))
    assert work.infer(unpack_loaded(packed, 224)).equals(work(entries))


def test_names_of_any_bytes_have_rows(bundle, tmp_path) -> None:
    folder = write_pictures(tmp_path / "photos", 1)
    shutil.copy(folder / "0/000000.jpg", os.fsencode(folder) + b"/\xff.jpg")
    classify(str(folder), bundle, tmp_path / "out.parquet", SETTINGS)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["error"] for row in rows] == [None, None]
    assert rows[1]["path"].endswith("\\udcff.jpg")


class StopError(Exception):
    pass


def interrupted(*arguments, after: int, **options) -> None:
    """Run until `after` rows are done, then stop as a kill would."""

    def stop(done: int, total: int, errors: int) -> None:
        if done >= after:
            raise StopError

    with pytest.raises(StopError):
        classify(*arguments, on_progress=stop, **options)


@pytest.fixture
def begun(bundle, tmp_path) -> tuple[str, Path, Path]:
    """A list of 20 pictures with two parts of four done."""
    folder = write_pictures(tmp_path / "photos", 20)
    paths = tmp_path / "paths.txt"
    paths.write_text("".join(f"{path}\n" for path in sorted(folder.rglob("*.jpg"))))
    job = (str(paths), bundle, tmp_path / "out.parquet")
    interrupted(*job, SETTINGS, after=9)
    assert not job[2].exists()
    return job


def test_it_goes_on_from_the_last_part(begun) -> None:
    told: list[int] = []
    other = SETTINGS.model_copy(update={"workers": 2, "batch_size": 1})
    summary = classify(*begun, other, on_progress=lambda done, total, errors: told.append(done))
    assert told[0] == 8
    assert (summary.resumed, summary.rows, summary.parts) == (8, 20, 5)
    assert summary.abstained["type"] == 20  # of both runs
    rows = pq.read_table(begun[2]).to_pylist()
    assert [row["index"] for row in rows] == list(range(20))
    assert [row["path"] for row in rows] == Path(begun[0]).read_text().splitlines()
    assert sorted(path.name for path in begun[2].parent.iterdir()) == [
        "out.parquet",
        "paths.txt",
        "photos",
    ]


def test_it_refuses_to_go_on_with_another_job(begun, tmp_path) -> None:
    text, bundle, out = begun
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    manifest = json.loads((other / "bundle.json").read_text())
    manifest["version"] = "20990101000000"
    (other / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="with another bundle; run the command as it was"):
        classify(text, other, out, SETTINGS)
    with pytest.raises(UserError, match="with another input;"):
        classify(str(tmp_path / "photos"), bundle, out, SETTINGS)
    changed = SETTINGS.model_copy(update={"top_k": 1, "part_size": 5})
    with pytest.raises(UserError, match="another part-size and top-k;"):
        classify(text, bundle, out, changed)
    before = Path(text).read_text()
    Path(text).write_text(before.replace("000001", "000000"))
    with pytest.raises(UserError, match="names other pictures than when this job began"):
        classify(text, bundle, out, SETTINGS)
    Path(text).write_text(before)
    assert classify(text, bundle, out, SETTINGS).resumed == 8


def test_overwrite_begins_anew(begun) -> None:
    text, bundle, out = begun
    changed = SETTINGS.model_copy(update={"top_k": 1})
    assert classify(text, bundle, out, changed, overwrite=True).resumed == 0
    with pytest.raises(UserError, match="already exists; choose another --out or add --overwrite"):
        classify(text, bundle, out, changed)
    interrupted(text, bundle, out, SETTINGS, after=9, overwrite=True)
    assert len(pq.read_table(out)) == 20  # the old one, until the new one is whole
    summary = classify(text, bundle, out, SETTINGS, overwrite=True)
    assert (summary.resumed, summary.rows) == (8, 20)
    assert len(pq.read_table(out)["type_top"][0]) == 3


def test_a_kill_between_the_result_and_the_clearing_away_is_no_mistake(begun) -> None:
    text, bundle, out = begun
    work = out.parent / ".out.parquet.partial"
    shutil.copytree(work, out.parent / "saved")
    first = classify(text, bundle, out, SETTINGS)
    shutil.move(out.parent / "saved", work)
    written = out.stat().st_mtime_ns
    again = classify(text, bundle, out, SETTINGS)
    assert again == first
    assert out.stat().st_mtime_ns == written
    assert not work.exists()


def test_a_mistake_leaves_nothing_that_stands_in_the_way(photos, bundle, tmp_path) -> None:
    out = tmp_path / "out.parquet"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="has no pictures"):
        classify(str(tmp_path / "nothing"), bundle, out, SETTINGS)
    assert classify(str(photos), bundle, out, SETTINGS).rows == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": "none"}, "There is no none"),
        ({"out": "labels.txt"}, "must end in .parquet"),
        ({"bundle": "."}, "is not a bundle"),
        ({"settings": ClassifySettings(device="cuda")}, "ONNX Runtime has no cuda here"),
    ],
)
def test_mistakes_are_one_sentence(photos, bundle, tmp_path, change, said) -> None:
    given = {"text": photos, "bundle": bundle, "out": "out.parquet", "settings": SETTINGS, **change}
    with pytest.raises((UserError, BundleError), match=said):
        classify(
            str(given["text"]),
            Path(given["bundle"]),
            tmp_path / given["out"],
            given["settings"],
        )
    assert not list(tmp_path.glob("*.parquet"))


def test_what_is_read_is_not_replaced(bundle, tmp_path) -> None:
    paths = tmp_path / "paths.parquet"
    paths.write_text("a.jpg\n")
    with pytest.raises(UserError, match="would replace what is read"):
        classify(str(paths), bundle, paths, SETTINGS, overwrite=True)


def test_the_command_tells_people_and_programs(photos, bundle, tmp_path) -> None:
    paths = "".join(f"{path}\n" for path in sorted(photos.rglob("*.jpg"))) + "none.jpg\n"
    out = tmp_path / "out.parquet"
    done = run("classify", "-", "--bundle", bundle, "--out", out, "--json", stdin=paths)
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["errors"]) == (7, {"missing": 1})
    assert "6 of 7 pictures classified; not usable: 1 missing" in done.stderr
    refused = run("classify", photos, "--bundle", bundle, "--out", out, check=2)
    assert refused.stderr.count("\n") == 1
    assert "already exists" in refused.stderr


def test_two_jobs_do_not_write_one_result(photos, bundle, tmp_path) -> None:
    out = tmp_path / "out.parquet"

    def second(done: int, total: int, errors: int) -> None:
        refused = run("classify", photos, "--bundle", bundle, "--out", out, check=2)
        assert "Another process is writing" in refused.stderr
        raise StopError

    with pytest.raises(StopError):
        classify(str(photos), bundle, out, SETTINGS, on_progress=second)
    assert classify(str(photos), bundle, out, SETTINGS).rows == 6


def long_names(count: int, length: int) -> list[str]:
    """Paths of nothing that compress badly."""
    return [f"/none/{os.urandom(length // 2).hex()}" for _ in range(count)]


def test_a_full_disk_is_one_line_and_costs_no_finished_part(bundle, tmp_path) -> None:
    folder, out = write_pictures(tmp_path / "photos", 20), tmp_path / "out.parquet"
    interrupted(str(folder), bundle, out, SETTINGS, after=9)
    size = SETTINGS.part_size
    done = subprocess.run(
        command("classify", folder, "--bundle", bundle, "--out", out, "--part-size", size),
        capture_output=True,
        text=True,
        env=environment(),
        # As if the disk had room for a kilobyte.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        timeout=200,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No room is left to write" in done.stderr
    assert "the finished parts are kept" in done.stderr
    summary = classify(str(folder), bundle, out, SETTINGS)
    assert (summary.resumed, summary.rows) == (8, 20)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_really_full_disk(bundle, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount here")
    try:
        paths, out = tmp_path / "paths.txt", disk / "out.parquet"
        paths.write_text("\n".join(long_names(600, 300)) + "\n")
        arguments = ("classify", paths, "--bundle", bundle, "--out", out, "--part-size", 50)
        listing = paths.stat().st_size
        assert listing < 256 * 1024
        full = run(*arguments, check=2)
        assert full.stderr.count("\n") == 1
        assert "No room is left to write" in full.stderr
        parts = {path: path.read_bytes() for path in disk.rglob("part-*.parquet")}
        assert 0 < len(parts) < 12
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        summary = json.loads(run(*arguments, "--json").stdout)
        assert summary["resumed"] == 50 * len(parts)
        assert summary["errors"] == {"missing": 600}
        assert len(pq.read_table(out)) == 600
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_working_in_process_imports_nothing_heavy(photos, bundle, tmp_path) -> None:
    code = f"""
import sys
from pathlib import Path
from batch.classify import classify
from batch.rows import result_schema
from batch.settings import ClassifySettings
if __name__ == "__main__":
    classify({str(photos)!r}, Path({str(bundle)!r}), Path({str(tmp_path / "o.parquet")!r}),
             ClassifySettings(workers=1))
    print([name for name in ("torch", "ray", "bentoml", "pandas") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200
    )
    assert done.stdout == "[]\n"


def test_the_schema_is_the_same_whatever_the_rows_are(bundle) -> None:
    work = Classification(load_bundle(bundle, "classifier"), SETTINGS)
    schema = result_schema(work.bundle)
    assert work([Entry(0, "/none")]).schema == schema == work.schema
    assert work.crashed(Entry(1, "/none")).schema == schema
    assert work.crashed(Entry(1, "/none"))["error_kind"].to_pylist() == ["crashed"]


def test_processes_are_handed_few_pictures_of_few_and_many_of_many() -> None:
    settings = ClassifySettings(workers=2)
    together = settings.together
    assert settings.handed(0) == settings.handed(10) == together
    assert settings.handed(8 * 3 * together) == 3 * together
    assert settings.handed(1_000_000) == HANDED
    assert ClassifySettings(workers=2, batch_size=200).handed(1_000_000) == 200
