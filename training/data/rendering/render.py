"""Renders a dataset folder: one picture per index, over all cores, resumable."""

import csv
import io
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from porcelain.errors import UserError
from porcelain.files import atomic_folder, write_bytes, write_text
from training.data.rendering import history

if TYPE_CHECKING:
    from training.data.rendering.scene import View

LICENSE = "Apache-2.0"
SECOND_VIEW = 0.15
_BLOCK = 16


@dataclass(frozen=True)
class Shot:
    """What one picture shows; the columns of `metadata.csv` in order."""

    file_name: str
    dynasty: str
    glaze: str
    kiln: str
    type: str
    object_id: str
    source: str
    license: str
    ware: str
    shape: str
    seed: int


@dataclass(frozen=True)
class World:
    """What decides every picture.

    Attributes:
        seed: each picture draws from (seed, index) alone.
        size: width and height in pixels.
        views: pictures of every object; None gives an object one, and now and then two.
        known: the labels to stay within; see `history.draw`.
    """

    seed: int
    size: int
    views: int | None = None
    known: history.Labels | None = None


@dataclass(frozen=True)
class RenderSummary:
    """What `render_dataset` left behind.

    Attributes:
        out: the dataset folder.
        count: pictures in it.
        rendered: pictures made by this run; the others were kept from an interrupted one.
        objects: different objects photographed.
        classes: how many labels of each task occur.
    """

    out: Path
    count: int
    rendered: int
    objects: int
    classes: dict[str, int]


def object_of(seed: int, index: int, views: int | None = None) -> int:
    """The index of the first picture of the object that a picture shows.

    Args:
        seed: the world's seed.
        index: the picture's place in the dataset.
        views: pictures of every object; by default an object has one, and now and then two.
    """
    if views is not None:
        return index - index % views
    if index == 0 or object_of_draw(seed, index - 1):
        return index
    return index - 1 if object_of_draw(seed, index) else index


def object_of_draw(seed: int, index: int) -> bool:
    """Whether a picture asks to be a second view of the one before."""
    return bool(np.random.default_rng([seed, index, 2]).random() < SECOND_VIEW)


def plan_shot(world: World, index: int) -> Shot:
    """Labels of the picture at `index`, without rendering it."""
    subject = object_of(world.seed, index, world.views)
    rng = np.random.default_rng([world.seed, subject, 0])
    ware, kind, shape = history.draw(rng, world.known)
    unattributed = rng.random() < ware.unattributed
    return Shot(
        file_name=picture_name(index),
        dynasty=ware.dynasty,
        glaze=ware.glaze,
        kiln="" if unattributed else ware.kiln,
        type=kind,
        object_id=f"rendered-{world.seed}-{subject:06d}",
        source="rendered",
        license=LICENSE,
        ware=ware.name,
        shape=shape,
        seed=world.seed,
    )


def render_picture(world: World, index: int) -> Image.Image:
    """Renders the picture at `index`; the same bytes whatever was rendered before."""
    return _render(world, index)[0]


def render_depth(world: World, index: int) -> Image.Image:
    """How near the vessel of the picture at `index` is: white is nearest, the ground black."""
    from training.data.rendering import scene

    return scene.last_depth(_render(world, index)[1], world.size)


def _render(world: World, index: int) -> "tuple[Image.Image, View]":
    # VTK is heavy and wanted only by the processes that render.
    from training.data.rendering import forms, glazes, scene
    from training.data.rendering.canvas import Canvas

    subject = object_of(world.seed, index, world.views)
    rng = np.random.default_rng([world.seed, subject, 0])
    ware, kind, shape = history.draw(rng, world.known)
    rng = np.random.default_rng([world.seed, subject, 1])
    vessel = forms.build(shape, ware.potting, rng)
    canvas = Canvas(vessel, *texture_size(world.size))
    skin = glazes.paint(canvas, ware.look, kind, rng)
    rng = np.random.default_rng([world.seed, index, 3])
    view = scene.choose_view(kind, rng)
    return scene.photograph(vessel, canvas, skin, view, world.size, rng), view


def texture_size(size: int) -> tuple[int, int]:
    """Texture width and height for a picture of `size` pixels."""
    return int(2.6 * size), int(2.3 * size)


def render_dataset(
    out: Path,
    world: World,
    count: int,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> RenderSummary:
    """Renders a dataset folder with known truth.

    Args:
        out: where the folder is to be; prepared beside it and renamed when complete.
        world: what decides every picture.
        count: number of pictures.
        workers: processes; all cores by default. The pictures do not depend on it.
        overwrite: replaces what is at `out`.
        on_progress: called in this process with the number of pictures done so far.

    Raises:
        UserError: a number makes no sense, or `out` is in use.
    """
    if count < 1:
        raise UserError(f"--count is {count}; ask for at least 1 picture.")
    if not 32 <= world.size <= 2048:
        raise UserError(f"--size is {world.size}; choose 32 to 2048 pixels.")
    if workers is not None and workers < 1:
        raise UserError(f"--workers is {workers}; use at least 1 process.")
    if world.views is not None and world.views < 1:
        raise UserError(f"--views is {world.views}; ask for at least 1 picture of each object.")
    shots = [plan_shot(world, index) for index in range(count)]
    settings: dict[str, object] = {"command": "data render", "count": count, "seed": world.seed}
    settings |= {"size": world.size} | ({} if world.views is None else {"views": world.views})
    if world.known is not None:
        settings["labels"] = {task: sorted(labels) for task, labels in world.known.items()}
    with atomic_folder(out, settings=settings, overwrite=overwrite) as work:
        (work / "images").mkdir(exist_ok=True)
        told = None if on_progress is None else lambda done, total: on_progress(done)
        rendered = render_pictures(work, world, range(count), workers=workers, on_progress=told)
        write_text(work / "metadata.csv", _table(shots))
    classes = {
        task: len({getattr(shot, task) for shot in shots} - {""}) for task in history.RENDERED
    }
    objects = len({shot.object_id for shot in shots})
    return RenderSummary(out, count, rendered, objects, classes)


def picture_name(index: int) -> str:
    """Where in its folder the picture at `index` is."""
    return f"images/{index:06d}.jpg"


def render_pictures(
    folder: Path,
    world: World,
    indices: Sequence[int],
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Renders those of the pictures that `folder` does not have yet.

    Args:
        folder: has a folder `images`.
        world: what decides every picture.
        indices: which pictures are wanted.
        workers: processes; all cores by default. The pictures do not depend on it.
        on_progress: called in this process with the number of pictures done and in all.

    Returns:
        How many were rendered; the others were there.
    """
    missing = [index for index in indices if not (folder / picture_name(index)).exists()]
    if not missing:
        return 0
    count = len(indices)
    done = count - len(missing)
    if on_progress and done:
        on_progress(done, count)
    blocks = [missing[i : i + _BLOCK] for i in range(0, len(missing), _BLOCK)]
    cores = workers or os.cpu_count() or 1
    processes = min(cores, max(1, len(blocks)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_quiet) as pool:
        waiting = iter(blocks)
        running = {
            pool.submit(_render_block, folder, world, block)
            for block in islice(waiting, 2 * processes)
        }
        try:
            while running:
                finished = next(as_completed(running))
                running.discard(finished)
                done += finished.result()
                if on_progress:
                    on_progress(done, count)
                for block in islice(waiting, 1):
                    running.add(pool.submit(_render_block, folder, world, block))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(missing)


def _quiet() -> None:
    """Prepares a worker: software drawing on its own core alone, as there is one worker a core."""
    os.environ["LP_NUM_THREADS"] = "0"


def _render_block(folder: Path, world: World, indices: list[int]) -> int:
    for index in indices:
        buffer = io.BytesIO()
        picture = render_picture(world, index)
        picture.save(buffer, "JPEG", quality=92, subsampling=0)
        write_bytes(folder / picture_name(index), buffer.getvalue())
    return len(indices)


def _table(shots: list[Shot]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(asdict(shots[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(shot) for shot in shots)
    return buffer.getvalue()
