"""The whole synthesis: on a painter whose mistakes are known, and on a real tiny pipeline."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from porcelain.bundle import load_bundle
from porcelain.dataset import Record, load_dataset, write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.files import sha256_file
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.synthetic_picture import read_provenance
from porcelain.vocabulary import TASKS
from tests.training.generator.bundles import make_generator_bundle
from tests.training.generator.conftest import Painter, truth
from training.data.check import check_dataset
from training.data.mix import mix_datasets
from training.data.ratio import Rule
from training.data.split import make_split, read_split, write_split
from training.generator.synthesis.candidates import BEGUN_AT_COLUMN, VARIATION_COLUMN
from training.generator.synthesis.checks import Reason
from training.generator.synthesis.learned import read_learned
from training.generator.synthesis.plan import Plan, kind_of, read_plan
from training.generator.synthesis.results import ManifestRow, SynthesisReport
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.synthesize import (
    Inputs,
    Reporter,
    plan_synthesis,
    synthesize,
)

SETTINGS = SynthesisSettings(
    ratio="40:60", rule=Rule.UNIFORM, steps=3, width=160, height=120, agreement={"type": 0.4}
)
BLUE = kind_of(truth("blue"))


@pytest.fixture
def painter(monkeypatch) -> Painter:
    """Paints in place of every generator that is loaded."""
    painter = Painter()
    monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: painter)
    return painter


@pytest.fixture
def inputs(generator, photographs, classifier) -> Inputs:
    return Inputs(generator, data=photographs, classifier=classifier)


def manifest(folder: Path) -> list[ManifestRow]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [ManifestRow.model_validate_json(line) for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_plan_is_met_and_every_mistake_dropped_for_its_reason(inputs, painter, tmp_path):
    plans: list[Plan] = []
    progress = []
    reporter = Reporter(
        planned=plans.append, sampling=lambda kept, total, note: progress.append((kept, note))
    )
    out = tmp_path / "synthetic"
    report = synthesize(inputs, out, SETTINGS, reporter=reporter)
    assert report.kept == report.planned == plans[0].total
    assert not report.shortfalls
    rows = manifest(out)
    assert len(rows) == report.sampled == len(painter.sampled) > report.kept
    expected = {0: Reason.BLANK, 4: Reason.MISREAD, 8: Reason.COPY}
    seen = set()
    for row in rows:
        mistake = row.seed % 20
        if mistake in expected:
            assert expected[mistake] in row.reasons
            seen.add(mistake)
        elif mistake == 12:  # the first of its colour may stay
            seen.add(mistake)
        assert row.kept == (not row.reasons) == (row.file_name is not None)
    repeated = [row for row in rows if row.seed % 20 == 12]
    assert sum(row.kept for row in repeated) <= len({tuple(r.labels.values()) for r in repeated})
    assert {0, 4, 8} <= seen
    assert sum(row.kept for row in rows) == report.kept
    assert progress[-1] == (report.kept, f"{report.sampled} sampled")
    assert any("step 2/3" in note for _, note in progress)


def test_variations_begin_at_training_photographs_of_their_kind(inputs, painter, tmp_path):
    out = tmp_path / "variations"
    square = SETTINGS.model_copy(update={"variation": 0.4, "height": SETTINGS.width})
    synthesize(inputs, out, square)
    training = set(read_split(inputs.data / "split.json").names["train"])
    kinds = {r.file_name: kind_of(r.labels) for r in load_dataset(inputs.data).records}
    rows = manifest(out)
    assert len(painter.varied) == len(rows) > 0
    assert {strength for strength, _ in painter.varied} == {0.4}
    assert {picture.shape for _, picture in painter.varied} == {(160, 160, 3)}
    for row in rows:
        assert row.original in training
        assert kinds[row.original] == kind_of(row.labels)
    # All of a kind in turns, before one comes again.
    blue = [row for row in rows if kind_of(row.labels) == BLUE]
    names = {name for name in training if kinds[name] == BLUE}
    assert {row.original for row in blue if row.attempt < len(names)} == names
    by_name = {record.file_name: record for record in load_dataset(out).records}
    for row in rows:
        if row.file_name:
            assert by_name[row.file_name].extra[VARIATION_COLUMN] == row.original


def test_variations_begin_at_the_nearest_pictures_of_another_folder(inputs, painter, tmp_path):
    rendered = tmp_path / "rendered"
    rendered.mkdir()
    kinds = sorted({kind_of(r.labels) for r in load_dataset(inputs.data).records})
    records = []
    for index, kind in enumerate(kinds):
        # One that shares all labels, and one that has nothing but the form in common.
        alike = dict(zip(TASKS, kind, strict=True))
        for name, labels in (("alike", alike), ("form", {**dict.fromkeys(TASKS), "type": kind[3]})):
            file_name = f"{name}-{index}.png"
            Image.new("RGB", (32, 32), (index, 90, 90)).save(rendered / file_name)
            records.append(Record(file_name, labels))
    write_metadata(rendered, records)
    out = tmp_path / "variations"
    square = SETTINGS.model_copy(update={"variation": 0.4, "height": SETTINGS.width})
    with pytest.raises(UserError, match="by how much"):
        synthesize(replace(inputs, vary_from=rendered), out, SETTINGS)
    synthesize(replace(inputs, vary_from=rendered), out, square)
    rows = manifest(out)
    assert len(painter.varied) == len(rows) > 0
    for row in rows:
        assert row.original == f"alike-{kinds.index(kind_of(row.labels))}.png"
    for record in load_dataset(out).records:
        assert record.extra[BEGUN_AT_COLUMN].startswith("alike-")
        assert VARIATION_COLUMN not in record.extra
    write_metadata(rendered, [replace(r, labels=r.labels | {"type": "other"}) for r in records])
    with pytest.raises(UserError, match="nothing to vary"):
        synthesize(replace(inputs, vary_from=rendered), tmp_path / "none", square)


def test_variations_need_photographs_and_squares(inputs, generator, painter, tmp_path):
    square = SETTINGS.model_copy(update={"variation": 0.4, "height": SETTINGS.width})
    with pytest.raises(UserError, match="give --data"):
        synthesize(Inputs(generator), tmp_path / "out", square)
    with pytest.raises(UserError, match="square"):
        synthesize(inputs, tmp_path / "out", SETTINGS.model_copy(update={"variation": 0.4}))
    unseen = (BLUE[0], kind_of(truth("red"))[1], None, None)
    with pytest.raises(UserError, match="nothing to vary"):
        synthesize(
            Inputs(generator, data=inputs.data, kinds=(unseen,)),
            tmp_path / "out",
            square.model_copy(update={"count": 2, "allow_unseen": True}),
        )
    assert not painter.sampled


def test_the_report_counts_what_the_manifest_says(inputs, painter, tmp_path):
    out = tmp_path / "synthetic"
    report = synthesize(inputs, out, SETTINGS)
    rows = manifest(out)
    assert SynthesisReport.model_validate_json((out / "synthesis.json").read_text()) == report
    dropped = Counter(reason for row in rows for reason in row.reasons)
    alone = Counter(row.reasons[0] for row in rows if len(row.reasons) == 1)
    for reason, count in report.rules.items():
        assert (count.dropped, count.alone) == (dropped[reason], alone[reason])
    for kind in report.kinds:
        mine = [row for row in rows if row.labels == kind.labels]
        assert (kind.sampled, kind.kept) == (len(mine), sum(row.kept for row in mine))
    page = (out / "report.html").read_text()
    assert "http://" not in page
    assert 'src="data:image/jpeg' in page
    for row in [next(r for r in rows if r.kept), next(r for r in rows if Reason.COPY in r.reasons)]:
        assert ".".join(row.labels.values()) in page
    copied = next(row.scores["nearest"]["copied"] for row in rows if Reason.COPY in row.reasons)
    assert copied in page
    assert read_plan(out / "plan.csv", {}).total == report.planned
    # The classifier reads every photograph as it is labelled.
    assert report.photographs_passed == 1.0


def test_the_folder_is_a_dataset_of_marked_pictures(inputs, painter, tmp_path, generator):
    out = tmp_path / "synthetic"
    report = synthesize(inputs, out, SETTINGS)
    dataset = load_dataset(out)
    assert len(dataset) == report.kept
    digest = load_bundle(generator, "generator").manifest.digest()
    for record in dataset.records:
        assert record.synthetic
        data = dataset.path(record).read_bytes()
        provenance = read_provenance(data)
        assert is_marked_synthetic(data)
        assert provenance is not None
        assert provenance.generator == record.extra["generator"] == digest
        assert (provenance.prompt, str(provenance.seed)) == (
            record.extra["prompt"],
            record.extra["seed"],
        )
        assert Image.open(dataset.path(record)).size == (160, 120)
    checked = check_dataset(out)
    assert checked.exit_status == 0
    assert checked.synthetic == len(dataset)
    # Forgetting to declare them does not make them real.
    forgetful = tmp_path / "forgetful"
    shutil.copytree(out, forgetful)
    rows = load_dataset(forgetful).records
    write_metadata(forgetful, [type(r)(r.file_name, r.labels) for r in rows])
    checked = check_dataset(forgetful)
    assert checked.exit_status == 1
    assert "undeclared_synthetic" in {finding.code for finding in checked.errors}


def test_a_mix_of_the_same_ratio_takes_every_picture(inputs, painter, photographs, tmp_path):
    report = synthesize(inputs, tmp_path / "synthetic", SETTINGS)
    mixed = mix_datasets(
        photographs, tmp_path / "synthetic", tmp_path / "mix", SETTINGS.ratio, SETTINGS.rule
    )
    assert mixed.synthetic_train == report.kept
    assert not mixed.left_out


def test_interrupted_anywhere_it_ends_the_same(inputs, painter, tmp_path, monkeypatch):
    settings = SETTINGS.model_copy(update={"count": 18, "batch_size": 4})
    whole = tmp_path / "whole" / "out"
    synthesize(inputs, whole, settings)
    calls = len(painter.batches)
    for stop in (1, calls - 1):
        painter.batches.clear()
        broken = tmp_path / f"broken-{stop}" / "out"

        class Impatient(Painter):
            def sample(self, *args, **options):
                if len(self.batches) == stop:  # noqa: B023
                    raise KeyboardInterrupt
                return super().sample(*args, **options)

        monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: Impatient())
        with pytest.raises(KeyboardInterrupt):
            synthesize(inputs, broken, settings)
        assert not broken.exists()
        monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: painter)
        synthesize(inputs, broken, settings)
        assert len(painter.batches) == calls - stop
        assert contents(broken) == contents(whole)
        assert list(broken.parent.iterdir()) == [broken]


def test_half_a_batch_on_disk_is_completed_with_the_same_bytes(inputs, painter, tmp_path):
    whole = tmp_path / "whole"
    synthesize(inputs, whole, SETTINGS)
    work = tmp_path / ".again.candidates.partial"
    with pytest.raises(KeyboardInterrupt):
        synthesize(inputs, tmp_path / "again", SETTINGS, reporter=Reporter(sampling=_stop_after(9)))
    pictures = sorted(work.glob("*.png"))
    assert len(pictures) >= 9
    for path in pictures[::2]:
        path.unlink()
    synthesize(inputs, tmp_path / "again", SETTINGS)
    assert contents(tmp_path / "again") == contents(whole)


def _stop_after(count):
    def watch(kept, total, note):
        if int(note.split()[0]) >= count:
            raise KeyboardInterrupt

    return watch


def test_other_seeds_make_other_pictures_and_a_longer_plan_the_same_and_more(
    inputs, painter, tmp_path
):
    def pictures(name, **changes):
        settings = SETTINGS.model_copy(update={"batch_size": 1, **changes})
        synthesize(inputs, tmp_path / name, settings)
        files = contents(tmp_path / name)
        return {data for file, data in files.items() if file.endswith(".png")}

    short = pictures("short", count=9)
    assert short < pictures("long", count=18)
    assert not short & pictures("other", count=9, seed=1)


def test_attempts_run_out_and_the_shortfall_is_told(inputs, tmp_path, monkeypatch, classifier):
    class Stubborn(Painter):
        def _paint(self, request, width, height):
            blue = "kiln blue" in request.prompt
            image = np.full((height, width, 3), 90, np.uint8)
            return image if blue else super()._paint(request, width, height)

    stubborn = Stubborn()
    monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: stubborn)
    settings = SETTINGS.model_copy(update={"count": 9, "attempts": 4})
    report = synthesize(inputs, tmp_path / "out", settings)
    (short,) = report.shortfalls
    assert (short.labels, short.shortfall, short.sampled) == (truth("blue"), 3, 12)
    assert report.kept == 6
    assert len(load_dataset(tmp_path / "out")) == 6


def test_without_classifier_and_photographs_the_rest_of_the_filter_works_and_says_so(
    generator, painter, tmp_path
):
    messages: list[str] = []
    report = synthesize(
        Inputs(generator),
        tmp_path / "out",
        SETTINGS.model_copy(update={"ratio": "50:50"}),
        reporter=Reporter(message=messages.append),
    )
    assert report.kept == report.planned == 31  # as many as the bundle says it learned from
    assert report.rules[Reason.MISREAD].dropped == report.rules[Reason.COPY].dropped == 0
    assert report.rules[Reason.BLANK].dropped + report.rules[Reason.REPEAT].dropped > 0
    assert messages == report.warnings
    assert any("--classifier" in text for text in messages)
    assert any("--data" in text for text in messages)


def test_kinds_asked_for_by_name(inputs, painter, tmp_path):
    named = Inputs(**{**vars(inputs), "kinds": (BLUE, (None, "verdant", None, None))})
    report = synthesize(named, tmp_path / "out", SETTINGS.model_copy(update={"count": 3}))
    counts = {tuple(kind.labels.values()): kind.planned for kind in report.kinds}
    assert counts == {tuple(truth("blue").values()): 3, ("verdant",): 3}
    glazes = load_dataset(tmp_path / "out").counts("glaze")
    assert glazes == {"azure": 3, "verdant": 3}


def test_mistakes_of_the_user_are_told_before_anything_is_sampled(
    inputs, painter, photographs, tmp_path
):
    def refused(pattern, changes=None, **settings):
        with pytest.raises(UserError, match=pattern):
            synthesize(
                Inputs(**{**vars(inputs), **(changes or {})}),
                tmp_path / "out",
                SETTINGS.model_copy(update=settings),
            )

    strange = kind_of({**truth("red"), "glaze": "azure"})
    refused("--allow-unseen", {"kinds": (strange,)}, count=2)
    refused("--count", {"kinds": (BLUE,)})
    refused("no glaze 'celadon'", {"kinds": ((None, "celadon", None, None),)}, count=1)
    refused("makes no picture", ratio="100:0")
    refused("leave out --labels", {"kinds": (BLUE,), "plan_file": tmp_path / "p.csv"})
    refused("give --data", {"data": None, "split": photographs / "split.json"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    refused("--overwrite")
    assert not painter.sampled


def test_a_generator_that_learned_from_test_pictures_is_refused(
    base, photographs, classifier, painter, tmp_path
):
    other = make_split(load_dataset(photographs), (0.75, 0.1, 0.15), seed=5, groups=())
    leaky = make_generator_bundle(tmp_path / "leaky", base, {BLUE: 3}, other)
    with pytest.raises(DatasetError, match="leak the answers"):
        synthesize(Inputs(leaky, data=photographs), tmp_path / "out", SETTINGS)
    # By its own split the same folder will do.
    write_split(tmp_path / "split.json", other)
    inputs = Inputs(leaky, photographs, tmp_path / "split.json", classifier)
    messages: list[str] = []
    settings = SETTINGS.model_copy(update={"count": 2})
    report = synthesize(
        inputs, tmp_path / "out", settings, reporter=Reporter(message=messages.append)
    )
    # The classifier learned by the other split, which is worth a word.
    assert any("leaks into" in text for text in report.warnings)


def test_a_plan_can_be_looked_at_first(inputs, painter, photographs):
    plan = plan_synthesis(inputs, SETTINGS)
    training = len(read_split(photographs / "split.json").names["train"])
    assert sum(planned.photographs for planned in plan.kinds) == training
    assert plan.total == round(training * 60 / 40)
    # The bundle alone tells the same.
    assert plan_synthesis(Inputs(inputs.bundle), SETTINGS) == plan
    assert not painter.sampled


def test_end_to_end_on_a_real_pipeline(generator, photographs, tmp_path):
    """Stable Diffusion's layout, LoRA fused, random weights: pictures that mean nothing."""
    settings = SynthesisSettings(count=6, rule=Rule.UNIFORM, batch_size=4)
    out = tmp_path / "synthetic"
    report = synthesize(Inputs(generator, data=photographs), out, settings)
    assert report.settings.steps == 2  # the bundle's
    assert report.kept > 0
    assert check_dataset(out).synthetic == report.kept
    again = tmp_path / "again"
    synthesize(Inputs(generator, data=photographs), again, settings)
    assert contents(again) == contents(out)
    rows = manifest(out)
    assert all(row.scores["nearest"]["by_hash"].startswith("images/") for row in rows)
    assert json.loads((out / "settings.json").read_text())["steps"] == 2


def test_labels_that_the_classifier_never_learned_are_named_and_not_judged(
    base, photographs, classifier, painter, tmp_path
):
    strange = kind_of({**truth("red"), "type": "teapot"})
    bundle = make_generator_bundle(tmp_path / "strange", base, {strange: 4})
    settings = SETTINGS.model_copy(update={"count": 3, "ratio": "50:50"})
    report = synthesize(Inputs(bundle, classifier=classifier), tmp_path / "out", settings)
    assert any("has not learned type teapot" in warning for warning in report.warnings)
    assert report.kept == 3
    assert all("type" not in row.scores["readings"] for row in manifest(tmp_path / "out"))


def test_the_folder_says_which_photographs_it_has_learned_from(
    inputs, painter, tmp_path, photographs
):
    out = tmp_path / "synthetic"
    synthesize(inputs, out, SETTINGS)
    learned = read_learned(out)
    parts = read_split(photographs / "split.json").names
    assert learned is not None
    # A bundle of an earlier version: it knows their names, not their content.
    assert learned.names == set(parts["train"])
    assert not learned.base_known
    assert learned.trained == {sha256_file(photographs / name) for name in parts["train"]}
    assert learned.validated == {sha256_file(photographs / name) for name in parts["validation"]}
