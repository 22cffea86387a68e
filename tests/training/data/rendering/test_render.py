"""The dataset driver: determinism, independence of workers, resume, refusal, metadata."""

import csv
import itertools
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from porcelain.dataset import Dataset, Record
from porcelain.errors import UserError
from porcelain.files import work_folder
from porcelain.vocabulary import TASKS
from training.data.commands import app
from training.data.rendering import history, render
from training.data.rendering.history import DYNASTIES, GLAZES, KILNS, TYPES, wares
from training.data.rendering.render import World

COUNT, SEED, SIZE = 20, 5, 48


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small rendered dataset, made by one process."""
    out = tmp_path_factory.mktemp("world") / "data"
    render.render_dataset(out, World(SEED, SIZE), COUNT, workers=1)
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_do_not_depend_on_workers_nor_on_what_came_before(
    world: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    seen: list[int] = []
    render.render_dataset(again, World(SEED, SIZE), COUNT, workers=2, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == COUNT
    for name in (row["file_name"] for row in rows_of(world)):
        assert (world / name).read_bytes() == (again / name).read_bytes(), name
    assert (world / "metadata.csv").read_bytes() == (again / "metadata.csv").read_bytes()


def test_pictures_open_at_the_asked_size_and_differ(world: Path) -> None:
    names = [row["file_name"] for row in rows_of(world)]
    assert len({(world / name).read_bytes() for name in names}) == COUNT
    for name in names:
        with Image.open(world / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (SIZE, SIZE))


def test_metadata_labels_are_those_of_the_table(world: Path) -> None:
    table = {ware.name: ware for ware in wares()}
    rows = rows_of(world)
    assert [row["file_name"] for row in rows] == [f"images/{i:06d}.jpg" for i in range(COUNT)]
    for row in rows:
        ware = table[row["ware"]]
        assert (row["dynasty"], row["glaze"]) == (ware.dynasty, ware.glaze)
        assert row["kiln"] in (ware.kiln, "")
        assert row["type"] in ware.types
        assert (row["source"], row["license"]) == ("rendered", "Apache-2.0")
        assert "synthetic" not in row


def test_second_views_share_object_and_labels_but_not_the_picture(world: Path) -> None:
    rows = rows_of(world)
    pairs = [
        (one, two) for one, two in itertools.pairwise(rows) if one["object_id"] == two["object_id"]
    ]
    assert pairs
    for one, two in pairs:
        for column in ("dynasty", "glaze", "kiln", "type", "ware", "shape"):
            assert one[column] == two[column]
        assert (world / one["file_name"]).read_bytes() != (world / two["file_name"]).read_bytes()
    views = [render.plan_shot(World(SEED, SIZE), index).object_id for index in range(2000)]
    most = max(views.count(name) for name in set(views))
    assert most == 2


def test_every_object_has_as_many_views_as_asked_for(tmp_path: Path) -> None:
    summary = render.render_dataset(tmp_path / "data", World(SEED, SIZE, views=2), 5, workers=1)
    assert summary.objects == 3
    rows = rows_of(tmp_path / "data")
    objects = [row["object_id"] for row in rows]
    assert objects[0] == objects[1] != objects[2] == objects[3] != objects[4]
    assert (rows[2]["ware"], rows[2]["shape"]) == (rows[3]["ware"], rows[3]["shape"])
    pictures = {(tmp_path / "data" / row["file_name"]).read_bytes() for row in rows}
    assert len(pictures) == 5
    with pytest.raises(UserError, match="--views"):
        render.render_dataset(tmp_path / "none", World(SEED, SIZE, views=0), 5)


def test_an_interrupted_run_is_continued(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    # What an interruption leaves: the hidden folder with its settings and some pictures.
    work = work_folder(out)
    shutil.copytree(world, work)
    (work / "metadata.csv").unlink()
    kept = sorted((work / "images").iterdir())[:-2]
    for picture in sorted((work / "images").iterdir())[-2:]:
        picture.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in kept}
    summary = render.render_dataset(out, World(SEED, SIZE), COUNT, workers=1)
    assert summary.rendered == 2
    assert all((out / "images" / name).stat().st_mtime_ns == when for name, when in before.items())
    for row in rows_of(out):
        assert (out / row["file_name"]).read_bytes() == (world / row["file_name"]).read_bytes()


def test_a_full_folder_is_refused(world: Path) -> None:
    with pytest.raises(UserError, match="overwrite"):
        render.render_dataset(world, World(SEED, SIZE), COUNT)


@pytest.mark.parametrize(
    ("count", "size", "workers"), [(0, 64, None), (5, 8, None), (5, 9000, None), (5, 64, 0)]
)
def test_numbers_that_make_no_sense_are_refused(
    tmp_path: Path, count: int, size: int, workers: int | None
) -> None:
    with pytest.raises(UserError):
        render.render_dataset(tmp_path / "out", World(0, size), count, workers=workers)
    assert not (tmp_path / "out").exists()


def collection(*kinds: tuple[str | None, str, str | None, str]) -> Dataset:
    records = (Record("a.jpg", dict(zip(TASKS, kind, strict=True))) for kind in kinds)
    return Dataset(Path("photographs"), tuple(records))


def test_pictures_for_a_collection_have_none_but_its_labels(tmp_path: Path) -> None:
    dataset = collection(
        ("song", "celadon", "longquan", "vase"),
        ("tang", "white", "xing", "bowl"),
        (None, "celadon", None, "pillow"),
    )
    known = history.known_labels(dataset)
    out = tmp_path / "data"
    render.render_dataset(out, World(SEED, SIZE, known=known), 6, workers=1)
    shots = [render.plan_shot(World(SEED, SIZE, known=known), index) for index in range(300)]
    assert [row["file_name"] for row in rows_of(out)] == [shot.file_name for shot in shots[:6]]
    assert [row["type"] for row in rows_of(out)] == [shot.type for shot in shots[:6]]
    for task in TASKS:
        assert {getattr(shot, task) for shot in shots} - {""} <= known[task]
    assert {shot.type for shot in shots} == {"vase", "bowl"}  # neither ware made pillows
    assert {shot.ware for shot in shots} < {ware.name for ware in wares()}


def test_what_is_made_for_a_collection_is_to_be_mixed_into_it(world: Path, tmp_path: Path) -> None:
    words = ["--count", "2", "--size", str(SIZE), "--workers", "1"]
    alone, other = tmp_path / "alone", tmp_path / "other"
    said = CliRunner().invoke(app, ["render", "--out", str(alone), *words])
    assert f"porcelain data split {alone}" in said.output.replace("\n", " ")
    said = CliRunner().invoke(app, ["render", "--out", str(other), *words, "--like", str(world)])
    assert f"porcelain data mix --real {world}" in said.output.replace("\n", " ")


def test_a_collection_without_any_known_ware_is_told() -> None:
    with pytest.raises(UserError, match="no ware"):
        history.known_labels(collection(("edo", "celadon", "arita", "vase")))
    # A task without labels binds nothing: there is nothing to be at odds with.
    blank = history.known_labels(collection((None, "celadon", None, "vase")))
    assert render.plan_shot(World(SEED, SIZE, known=blank), 0).dynasty


def test_labels_of_many_pictures_have_a_long_tail() -> None:
    shots = [render.plan_shot(World(1, SIZE), index) for index in range(2500)]
    kinds = [(shot.dynasty, shot.glaze, shot.kiln, shot.type) for shot in shots]
    shares = sorted((kinds.count(kind) / len(kinds) for kind in set(kinds)), reverse=True)
    assert shares[0] > 0.02
    assert sum(share < 0.002 for share in shares) > 50
    assert {shot.type for shot in shots} == set(TYPES)
    assert {shot.dynasty for shot in shots} == set(DYNASTIES)
    assert {shot.glaze for shot in shots} == set(GLAZES)
    assert {shot.kiln for shot in shots} == {*KILNS, ""}
    blank = sum(not shot.kiln for shot in shots) / len(shots)
    assert 0.03 < blank < 0.15
