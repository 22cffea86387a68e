from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from batch.generate import generate
from batch.plan import Plan, in_batches
from batch.settings import GenerateSettings
from porcelain.bundle import load_bundle
from porcelain.cli.main import main
from porcelain.content_credentials import load_signing, read_credentials
from porcelain.dataset import load_dataset
from porcelain.errors import UserError
from porcelain.synthetic_picture import read_provenance
from porcelain.verification import examine
from tests.sampling.tiny_bundle import make_tiny_bundle
from tests.sampling.tiny_pipeline import make_tiny_pipeline

PLAN = """dynasty,glaze,kiln,type,count,seed,steps
ming,blue_and_white,jingdezhen,vase,3,,
song,celadon,,bowl,2,7,
,,,vase,2,,3
song,celadon,longquan,bowl,1,9,
"""
SETTINGS = GenerateSettings(batch_size=2, device="cpu", seed=5)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny tensors only wait for each other on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator bundle with random weights."""
    base = make_tiny_pipeline(tmp_path_factory.mktemp("first") / "base")
    return make_tiny_bundle(tmp_path_factory.mktemp("generator") / "tiny", base)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "plan.csv").write_text(PLAN)
    return tmp_path / "plan.csv"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "settings.json"
    }


def test_a_plan_becomes_a_dataset_of_marked_pictures(plan, generator, tmp_path) -> None:
    summary = generate(plan, generator, tmp_path / "made", SETTINGS)
    assert (summary.pictures, summary.rows, summary.resumed) == (8, 4, 0)
    dataset = load_dataset(tmp_path / "made")
    shown = [tuple(record.labels.values()) for record in dataset.records]
    assert shown == [
        *[("ming", "blue_and_white", "jingdezhen", "vase")] * 3,
        *[("song", "celadon", None, "bowl")] * 2,
        *[(None, None, None, "vase")] * 2,
        ("song", "celadon", "longquan", "bowl"),
    ]
    seeds = [int(record.extra["seed"]) for record in dataset.records]
    assert len(set(seeds)) == 8
    assert (seeds[3:5], seeds[7]) == ([7, 8], 9)
    for record, seed in zip(dataset.records, seeds, strict=True):
        assert record.synthetic
        provenance = read_provenance(dataset.path(record).read_bytes())
        assert provenance is not None
        assert (provenance.seed, provenance.prompt) == (seed, record.extra["prompt"])
        assert provenance.generator == record.extra["generator"]
        assert provenance.steps == (3 if record.labels["glaze"] is None else 4)
    assert not list((tmp_path / "made").rglob(".*"))
    assert (tmp_path / "made" / "plan.csv").read_text() == PLAN


class StopError(Exception):
    pass


def test_what_was_interrupted_ends_with_the_same_bytes(plan, generator, tmp_path) -> None:
    def stop(done: int, total: int, errors: int) -> None:
        if done >= 3:
            raise StopError

    whole, made = tmp_path / "whole", tmp_path / "made"
    generate(plan, generator, whole, SETTINGS)
    with pytest.raises(StopError):
        generate(plan, generator, made, SETTINGS, on_progress=stop)
    assert not made.exists()
    work = tmp_path / ".made.partial"
    there = sorted(work.rglob("*.png"))
    there[1].unlink()  # as if killed in the middle of a batch, while it was written
    (there[1].parent / ".00000001.png.x8_a").write_bytes(b"half")
    kept = there[0].stat().st_mtime_ns
    with pytest.raises(UserError, match="begun with another batch-size"):
        generate(plan, generator, made, SETTINGS.model_copy(update={"batch_size": 3}))
    told: list[int] = []
    summary = generate(
        plan, generator, made, SETTINGS, on_progress=lambda done, *_: told.append(done)
    )
    assert told[0] == summary.resumed == 2  # the first batch is made as a whole again
    assert contents(made) == contents(whole)
    assert kept < (made / there[0].relative_to(work)).stat().st_mtime_ns


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_plans_of_every_format_mean_the_same(plan, generator, tmp_path, suffix) -> None:
    rows = [
        {
            "dynasty": "ming",
            "glaze": "blue_and_white",
            "kiln": "jingdezhen",
            "type": "vase",
            "count": 3,
        },
        {"dynasty": "song", "glaze": "celadon", "type": "bowl", "count": 2, "seed": 7},
        {"type": "vase", "count": 2, "steps": 3},
        {"dynasty": "song", "glaze": "celadon", "kiln": "longquan", "type": "bowl", "seed": 9},
    ]
    other = tmp_path / f"plan.{suffix}"
    if suffix == "jsonl":
        other.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    else:
        names = [*rows[0], "seed", "steps"]
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), other)
    bundle = load_bundle(generator, "generator")
    expected = list(Plan(plan, bundle, SETTINGS).pictures())
    assert list(Plan(other, bundle, SETTINGS).pictures()) == expected
    assert Plan(other, bundle, SETTINGS).total == len(expected) == 8


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_empty_rows_of_a_plan_are_none(generator, tmp_path, suffix) -> None:
    text = {
        "csv": "\ufeffdynasty,type,count\r\nming,vase,1\r\n,,\r\n,,\r\n",
        "jsonl": '\ufeff{"dynasty": "ming", "type": "vase"}\n{}\n{"type": null, "count": ""}\n',
    }
    (tmp_path / f"plan.{suffix}").write_text(text[suffix], encoding="utf-8", newline="")
    plan = Plan(tmp_path / f"plan.{suffix}", load_bundle(generator, "generator"), SETTINGS)
    assert (plan.rows, plan.total) == (1, 1)


def test_batches_have_equal_steps(plan, generator) -> None:
    pictures = list(Plan(plan, load_bundle(generator, "generator"), SETTINGS).pictures())
    sizes = [[one.number for one in batch] for batch in in_batches(pictures, 2)]
    assert sizes == [[0, 1], [2, 3], [4], [5, 6], [7]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type,count\nteapot,1\n", "row 1: the generator has learned no type 'teapot'"),
        ("dynasty,glaze\nming,celadon\n", "training never saw dynasty ming"),
        ("type,count\nvase,many\n", "row 1: count: "),
        ("type,number\nvase,1\n", "row 1: number: .*Columns are dynasty, glaze"),
        ("type,count,seed\nvase,2,9007199254740991\n", "seed would count up beyond"),
        ("type,count\nvase,0\n", "asks for no picture"),
        ("", "asks for no picture"),
        ("type,count\nvase,1,surplus\n", "line 2 has more fields than the header"),
        ('type,count\n"vase,1\nvase,1\n', "line 2: a quote opens"),
        ("type;count\nvase;1\n", "separated by semicolons"),
    ],
)
def test_a_bad_plan_is_told_before_anything_is_made(generator, tmp_path, text, said) -> None:
    (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        generate(tmp_path / "plan.csv", generator, tmp_path / "made", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.csv"]


@pytest.mark.parametrize(
    ("name", "text"), [("plan.txt", ""), ("p.jsonl", "[1]\n"), ("p.parquet", "x")]
)
def test_other_files_are_no_plans(generator, tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"The plan .*(must be a|cannot be read)"):
        generate(tmp_path / name, generator, tmp_path / "made", SETTINGS)


def test_what_was_never_seen_is_made_when_asked_for(generator, tmp_path) -> None:
    (tmp_path / "plan.csv").write_text("dynasty,glaze,photographs\nming,celadon,0\n")
    settings = SETTINGS.model_copy(update={"allow_unseen": True, "format": "jpeg"})
    assert generate(tmp_path / "plan.csv", generator, tmp_path / "made", settings).pictures == 1
    assert [p.suffix for p in (tmp_path / "made" / "images").rglob("*.*")] == [".jpg"]


def test_the_command(plan, generator, tmp_path, monkeypatch, capsys) -> None:
    made = tmp_path / "made"
    options = ["--bundle", str(generator), "--out", str(made), "--steps", "2", "--device", "cpu"]
    monkeypatch.setattr(
        "sys.argv", ["porcelain", "batch", "generate", str(plan), *options, "--json"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["pictures"] == 8
    assert "8 synthetic pictures of 4 rows" in said.err
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "already exists" in said.err
    assert said.err.count("\n") == 1


def test_the_command_signs_with_the_certificate_of_its_options(
    generator, tmp_path, monkeypatch, capsys
) -> None:
    pytest.importorskip("c2pa")
    (tmp_path / "plan.csv").write_text("type,count\nvase,2\n")
    made, signer = tmp_path / "made", tmp_path / "signer"
    options = ["--bundle", str(generator), "--out", str(made), "--steps", "2", "--device", "cpu"]
    signed = ["porcelain", "batch", "generate", str(tmp_path / "plan.csv"), *options]
    monkeypatch.setattr("sys.argv", [*signed, "--demo-certificate", str(signer)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    certificate = (signer / "certificate.pem").read_bytes()
    for record in load_dataset(made).records:
        data = (made / record.file_name).read_bytes()
        read = read_credentials(data, certificate)
        assert (read.state, read.synthetic) == ("trusted", True)
        assert {"metadata", "content credentials"} <= {*examine(data).evidence}
        assert read_provenance(data) is not None
    monkeypatch.setattr("sys.argv", [*signed, "--certificate", str(signer / "certificate.pem")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "a certificate and a key" in capsys.readouterr().err


def test_work_that_was_begun_with_another_signer_is_not_gone_on_with(
    plan, generator, tmp_path
) -> None:
    pytest.importorskip("c2pa")

    def stop(done: int, total: int, errors: int) -> None:
        if done >= 3:
            raise StopError

    one, other = (load_signing(None, None, tmp_path / name) for name in ("one", "other"))
    made = tmp_path / "made"
    with pytest.raises(StopError):
        generate(plan, generator, made, SETTINGS, signing=one, on_progress=stop)
    with pytest.raises(UserError, match="begun with another certificate"):
        generate(plan, generator, made, SETTINGS, signing=other)
    assert generate(plan, generator, made, SETTINGS, signing=one).resumed >= 2
    pictures = [record.file_name for record in load_dataset(made).records]
    assert {read_credentials((made / name).read_bytes()).state for name in pictures} == {"valid"}
