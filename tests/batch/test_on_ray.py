"""The same jobs on a real Ray cluster of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from batch.classify import classify
from batch.generate import generate
from batch.on_ray import Classify, Decode, Infer, SentBundle, _table, cluster
from batch.pictures import Entry
from batch.settings import ClassifySettings, GenerateSettings
from porcelain.bundle import load_bundle
from porcelain.dataset import load_dataset
from porcelain.errors import UserError
from tests.batch.conftest import write_pictures
from tests.batch.test_generate import generator, plan

__all__ = ["generator", "plan"]

pytestmark = pytest.mark.slow

SETTINGS = ClassifySettings(part_size=100, workers=1)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    folder = write_pictures(tmp_path / "photos", 30)
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff bad")
    names = sorted(str(path) for path in folder.rglob("*.jpg"))
    (tmp_path / "paths.txt").write_text("\n".join(names[n % 31] for n in range(700)))
    return tmp_path / "paths.txt"


class StopError(Exception):
    pass


def test_rows_are_the_same_and_a_job_can_change_over(listed, bundle, tmp_path) -> None:
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    classify(str(listed), bundle, here, SETTINGS)

    def stop(done: int, total: int, errors: int) -> None:
        if done >= 256:
            raise StopError

    on_ray = SETTINGS.model_copy(update={"ray": "local"})
    with pytest.raises(StopError):
        classify(str(listed), bundle, there, on_ray, on_progress=stop)
    assert classify(str(listed), bundle, there, SETTINGS).resumed == 200
    assert pq.read_table(there).equals(pq.read_table(here))
    summary = classify(str(listed), bundle, there, on_ray, overwrite=True)
    assert (summary.resumed, summary.rows) == (0, 700)
    assert pq.read_table(there).equals(pq.read_table(here))


def test_pictures_are_the_same(plan, generator, tmp_path) -> None:
    settings = GenerateSettings(batch_size=2, device="cpu", steps=2)
    generate(plan, generator, tmp_path / "here", settings)
    on_ray = settings.model_copy(update={"ray": "local", "workers": 1})
    generate(plan, generator, tmp_path / "there", on_ray)
    here, there = load_dataset(tmp_path / "here"), load_dataset(tmp_path / "there")
    assert there.records == here.records
    for record in here.records:
        # Another process may have other threads: the same pictures within rounding.
        pixels = [np.asarray(Image.open(one.path(record)), np.int16) for one in (here, there)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 2


@pytest.fixture
def _ray() -> Iterator[None]:
    with cluster("local"):
        yield


@pytest.mark.usefixtures("_ray")
def test_the_two_stages_for_gpus_do_what_the_one_does(listed, bundle) -> None:
    sent = SentBundle(load_bundle(bundle, "classifier"))
    entries = [Entry(n, path) for n, path in enumerate(listed.read_text().split()[:40])]
    table = _table(entries)
    decoded = Decode(sent, SETTINGS, None)(table)
    assert Infer(sent, SETTINGS)(decoded).equals(Classify(sent, SETTINGS, None)(table))


def test_no_cluster_is_one_sentence_soon(listed, bundle, tmp_path) -> None:
    settings = SETTINGS.model_copy(update={"ray": "127.0.0.1:1"})
    with pytest.raises(UserError, match=r"There is no Ray cluster at 127\.0\.0\.1:1"):
        classify(str(listed), bundle, tmp_path / "out.parquet", settings)
