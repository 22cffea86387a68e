from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porcelain.dataset import load_dataset, write_metadata
from porcelain.errors import DatasetError, UserError
from tests.training.data.folders import (
    collection,
    labels_of,
    marked_png,
    record,
    vessel,
    write_folder,
)
from training.data.allotment import allot, draw
from training.data.check import check_dataset
from training.data.mix import MixReport, mix_datasets
from training.data.ratio import Ratio, Rule
from training.data.split import load_split, make_split, write_split


@pytest.fixture
def real(tmp_path) -> Path:
    dataset = collection(tmp_path / "real", 48)
    write_split(dataset.root / "split.json", make_split(dataset, (0.75, 0.125, 0.125), groups=()))
    return dataset.root


@pytest.fixture
def synthetic(tmp_path) -> Path:
    return collection(tmp_path / "synthetic", 30, first_seed=500, synthetic=True).root


@given(count=st.integers(1, 5000), synthetic=st.integers(0, 99))
def test_the_share_is_exact_to_the_nearest_picture(count, synthetic):
    ratio = Ratio.parse(f"{100 - synthetic}:{synthetic}")
    added = ratio.synthetic_count(count)
    exact = count * Fraction(synthetic, 100 - synthetic)
    assert abs(added - exact) <= Fraction(1, 2)
    assert ratio == Ratio.parse(f" {100 - synthetic} : {synthetic}.0 ")


@pytest.mark.parametrize(
    "text", ["", "95", "95/5", "0:100", "-5:10", "a:b", "95:5:1", "95:", "nan:1"]
)
def test_malformed_ratios_are_refused(text):
    with pytest.raises(UserError, match="real:synthetic"):
        Ratio.parse(text)


KINDS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from(["x", "y", None])),
    st.integers(1, 20),
    min_size=1,
)


@given(available=KINDS, share=st.floats(0, 1), rule=st.sampled_from(Rule))
def test_allotment_adds_up_and_takes_no_more_than_there_is(available, share, rule):
    total = int(share * sum(available.values()))
    real = [Counter(a=50, b=5, c=1), Counter(x=40)]
    taken = allot(total, rule, available, real)
    assert sum(taken.values()) == total
    assert all(0 <= taken[kind] <= count for kind, count in available.items())


def test_rules_share_out_as_they_say():
    available = {("common",): 100, ("middling",): 100, ("rare",): 100}
    real = [Counter(common=80, middling=20, rare=5)]
    rarity = allot(42, Rule.RARITY, available, real)
    assert rarity == {("common",): 2, ("middling",): 8, ("rare",): 32}
    assert set(allot(42, Rule.UNIFORM, available, real).values()) == {14}
    assert allot(42, Rule.PROPORTIONAL, available, real) == {
        ("common",): 32,
        ("middling",): 8,
        ("rare",): 2,
    }
    scarce = {**available, ("rare",): 10}
    assert allot(42, Rule.RARITY, scarce, real)[("rare",)] == 10
    # A class shown in many combinations is not served once for each.
    kinds = {("rare", str(i)): 50 for i in range(10)} | {("common", "0"): 50}
    plenty = Counter({str(i): 1000 for i in range(10)})
    taken = allot(20, Rule.RARITY, kinds, [Counter(rare=10, common=10), plenty])
    assert sum(n for kind, n in taken.items() if kind[0] == "rare") < 15


def test_draws_depend_on_the_seed_alone():
    records = [record(f"{i}.png", labels_of("song", "white", "ding", "bowl")) for i in range(50)]
    taken = {("white",): 10}
    one = draw(records, ["glaze"], taken, 1)
    assert len(one) == 10
    assert one == draw(records, ["glaze"], taken, 1)
    assert one != draw(records, ["glaze"], taken, 2)


@pytest.mark.parametrize(("ratio", "added"), [("100:0", 0), ("95:5", 2), ("90:10", 4), ("3:2", 24)])
def test_a_mix_is_a_dataset_with_synthetic_pictures_in_training_only(
    tmp_path, real, synthetic, ratio, added
):
    out = tmp_path / "mix"
    report = mix_datasets(real, synthetic, out, ratio)
    mixed, before = load_dataset(out), load_dataset(real)
    split, real_split = (
        load_split(out / "split.json", mixed),
        load_split(real / "split.json", before),
    )
    chosen = [r for r in mixed.records if r.synthetic]
    assert (report.real_train, report.synthetic_train) == (36, added)
    assert len(chosen) == added
    assert report.synthetic_share == pytest.approx(added / (36 + added))
    assert split.names["train"] == real_split.names["train"] + tuple(r.file_name for r in chosen)
    assert split.names["validation"] == real_split.names["validation"]
    assert split.names["test"] == real_split.names["test"]
    assert [r for r in mixed.records if not r.synthetic] == list(before.records)
    assert all(r.file_name.startswith("synthetic/images/") for r in chosen)
    for r in chosen:
        source = synthetic / r.file_name.removeprefix("synthetic/")
        assert mixed.path(r).read_bytes() == source.read_bytes()
    assert MixReport.model_validate_json((out / "mix.json").read_text()) == report
    assert sum(change.added for change in report.classes["type"].values()) == added
    assert check_dataset(out).exit_status == 0
    assert split.dataset_digest == mixed.digest()


def test_the_same_seed_gives_the_same_mix_and_rarity_feeds_the_rare(tmp_path, real, synthetic):
    outs = [tmp_path / f"mix_{i}" for i in range(3)]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        report = mix_datasets(real, synthetic, out, "80:20", tasks=["glaze"], seed=seed)
    tables = [(out / "metadata.csv").read_text() for out in outs]
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]
    glazes = report.classes["glaze"]
    assert glazes["sancai"].real < glazes["white"].real < glazes["celadon"].real
    assert glazes["sancai"].added > glazes["white"].added >= glazes["celadon"].added


def test_too_few_synthetic_pictures_are_told_in_numbers(tmp_path, real, synthetic):
    with pytest.raises(UserError, match=r"36 real training pictures needs 36 .* has 30 usable"):
        mix_datasets(real, synthetic, tmp_path / "mix", "50:50")
    assert not (tmp_path / "mix").exists()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_copies_of_pictures_that_judge_are_refused(tmp_path, real, synthetic, part):
    dataset = load_dataset(real)
    name = load_split(real / "split.json", dataset).names[part][0]
    generated = load_dataset(synthetic)
    stolen = vessel(int(Path(name).stem)).resize((180, 135))
    (synthetic / "images/000.png").write_bytes(marked_png(stolen))
    assert generated.records[0].file_name == "images/000.png"
    with pytest.raises(DatasetError, match=rf"images/000\.png copies .*{name}, which is in {part}"):
        mix_datasets(real, synthetic, tmp_path / "mix", "95:5")


def test_copies_of_training_pictures_and_broken_ones_are_left_out(tmp_path, real, synthetic):
    name = load_split(real / "split.json", load_dataset(real)).names["train"][0]
    (synthetic / "images/000.png").write_bytes((real / name).read_bytes())
    (synthetic / "images/001.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (synthetic / "images/003.png").write_bytes((synthetic / "images/002.png").read_bytes())
    report = mix_datasets(real, synthetic, tmp_path / "mix", "95:5")
    assert report.left_out == {
        "copy_of_training_picture": ["images/000.png"],
        "unreadable": ["images/001.png"],
        "copy_of_synthetic": ["images/003.png"],
    }
    with pytest.raises(UserError, match=r"has 27 usable \(3 left out"):
        mix_datasets(real, synthetic, tmp_path / "other", "50:50")


def test_folders_that_do_not_fit_are_refused(tmp_path, real, synthetic):
    def refused(message: str, first: Path = real, second: Path = synthetic, **options: object):
        with pytest.raises(UserError, match=message):
            mix_datasets(first, second, tmp_path / "mix", "95:5", **options)  # type: ignore[arg-type]

    refused("photographs only", synthetic)
    refused("one or more of", tasks=["colour"])
    refused("one or more of", tasks=["type", "type"])
    refused("not a folder", tmp_path / "none")
    refused("no split file", split=tmp_path / "none.json")
    generated = load_dataset(synthetic)
    unknown = labels_of("song", "neon", "yue", "bowl")
    write_metadata(synthetic, [replace(r, labels=unknown) for r in generated.records])
    refused(r"glaze label\(s\) neon")
    marked = write_folder(tmp_path / "marked", [record("m.png")], {"m.png": marked_png(vessel(3))})
    refused("photographs only", marked)


def test_an_existing_mix_is_replaced_only_when_asked(tmp_path, real, synthetic):
    out = tmp_path / "mix"
    mix_datasets(real, synthetic, out, "95:5")
    with pytest.raises(UserError, match="--overwrite"):
        mix_datasets(real, synthetic, out, "90:10")
    assert json.loads((out / "mix.json").read_text())["ratio"] == "95:5"
    mix_datasets(real, synthetic, out, "90:10", overwrite=True)
    assert json.loads((out / "mix.json").read_text())["ratio"] == "90:10"


def test_a_folder_without_a_split_gets_one(tmp_path, synthetic):
    dataset = collection(tmp_path / "plain", 20)
    (dataset.root / "taxonomy.yaml").write_text("glaze: {}\n")
    mix_datasets(dataset.root, synthetic, tmp_path / "mix", "90:10", seed=2)
    mixed = load_dataset(tmp_path / "mix")
    split = load_split(tmp_path / "mix" / "split.json", mixed)
    assert split.names["test"] == make_split(dataset, seed=2).names["test"]
    assert (tmp_path / "mix" / "taxonomy.yaml").is_file()
    assert not (dataset.root / "split.json").exists()


def test_pictures_are_copied_where_links_are_impossible(tmp_path, real, synthetic, monkeypatch):
    def no_links(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", no_links)
    mix_datasets(real, synthetic, tmp_path / "mix", "95:5")
    name = load_dataset(real).records[0].file_name
    assert (tmp_path / "mix" / name).read_bytes() == (real / name).read_bytes()
    assert (tmp_path / "mix" / name).stat().st_nlink == 1
