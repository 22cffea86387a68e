"""Units side by side: processes with one thread each, over cores or GPUs, until all are done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

import torch

from porcelain.errors import PorcelainError
from training.experiment.material import Material
from training.experiment.preparation import Reporter
from training.experiment.records import Arm, Unit, UnitKey, is_done
from training.experiment.units import prerequisites, run_unit

PROCESSES_PER_GPU: Final = 6
"""A small network leaves a GPU waiting for its process, so that several share one."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        done: Units of this run and shard that are there now.
        trained: Of those, the ones that this run made.
        seconds: It took.
    """

    done: int
    trained: int
    seconds: float


def run_units(
    root: Path,
    keys: Sequence[UnitKey],
    arms: Sequence[Arm],
    *,
    workers: int,
    devices: Sequence[str],
    reporter: Reporter | None = None,
) -> Outcome:
    """Do every unit that is not done.

    Args:
        root: An experiment's folder, prepared.
        keys: The units, in the order in which to begin them.
        arms: All arms of the experiment.
        workers: Processes; 1 does the work in this one.
        devices: Such as `cpu`, or `cuda:0` and `cuda:1`; processes take them in turn.
        reporter: Hears of every unit.

    Raises:
        PorcelainError: A process died, or a unit cannot be done.
    """
    reporter = reporter or Reporter()
    started = time.perf_counter()
    missing = [key for key in keys if not is_done(root, key)]
    done = len(keys) - len(missing)
    reporter.units(done, len(keys), "")
    workers = min(workers, len(missing))
    if workers > 1:
        stream = _side_by_side(root, missing, arms, workers, devices)
    else:
        stream = _in_turn(root, missing, devices[0])
    for count, unit in enumerate(stream, start=1):
        left = (time.perf_counter() - started) / count * (len(missing) - count)
        reporter.units(done + count, len(keys), f"{unit.key.id}; {_duration(left)} left")
    return Outcome(len(keys), len(missing), time.perf_counter() - started)


def find_devices(device: str) -> list[str]:
    """Where to train: what is named, or every GPU, or the CPU."""
    if device != "auto":
        return [device]
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def choose_workers(wanted: int | None, devices: Sequence[str]) -> int:
    """Processes: as many as cores, and on GPUs not more than share one well."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if wanted is not None:
        return wanted
    most = len(devices) * PROCESSES_PER_GPU if devices[0] != "cpu" else cores or 1
    return min(cores or 1, most)


def _in_turn(root: Path, keys: Sequence[UnitKey], device: str) -> Iterator[Unit]:
    material = Material(root)
    for key in keys:
        with _one_thread():
            unit = run_unit(material, key, torch.device(device))
        yield unit


def _side_by_side(
    root: Path, keys: Sequence[UnitKey], arms: Sequence[Arm], workers: int, devices: Sequence[str]
) -> Iterator[Unit]:
    # Not forked: a forked process cannot use CUDA, nor threads that the parent has started.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    number = context.Value("i", 0)
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_initialise_worker,
        initargs=(root, list(devices), number),
    )
    pending = list(keys)
    running: set[Future[Unit]] = set()
    try:
        while pending or running:
            for key in _ready(root, pending, arms, workers - len(running)):
                pending.remove(key)
                running.add(pool.submit(_work, key))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise PorcelainError(
            "A process of the experiment died, perhaps for want of memory. Run the same command "
            "again to go on, with fewer --workers."
        ) from error
    finally:
        # After a mistake or Ctrl-C nobody waits for units that are under way.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()


def _ready(root: Path, pending: Sequence[UnitKey], arms: Sequence[Arm], most: int) -> list[UnitKey]:
    """The next units whose prerequisites are done."""
    chosen: list[UnitKey] = []
    for key in pending:
        if len(chosen) == most:
            break
        if all(is_done(root, needed) for needed in prerequisites(key, arms)):
            chosen.append(key)
    return chosen


@dataclass(frozen=True)
class _Worker:
    material: Material
    device: torch.device


_worker: _Worker | None = None


def _initialise_worker(root: Path, devices: Sequence[str], number: Synchronized[int]) -> None:
    """Set a process up: one thread, a device, and no life without the process that began it."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    with number.get_lock():
        device = devices[number.value % len(devices)]
        number.value += 1
    _worker = _Worker(Material(root), torch.device(device))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(key: UnitKey) -> Unit:
    if _worker is None:
        raise RuntimeError("The process was not set up.")
    return run_unit(_worker.material, key, _worker.device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them, so that every unit has one."""
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic = before[1]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
