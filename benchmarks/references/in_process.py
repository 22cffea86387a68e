"""The limit: our decoding, preparing and inference in process, without HTTP."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from pathlib import Path

from porcelain.bundle import load_bundle
from porcelain.predictor import Predictor
from porcelain.preparation import decode_and_prepare


def work(predictor: Predictor, pictures: list[bytes], start: int, seconds: float) -> int:
    """Answer pictures one by one for `seconds`; returns how many."""
    deadline = time.perf_counter() + seconds
    for done in itertools.count():
        if time.perf_counter() >= deadline:
            return done
        picture = pictures[(start + done) % len(pictures)]
        predictor.predict([decode_and_prepare(picture)[0]])
    return 0


def with_threads(bundle: Path, pictures: list[bytes], seconds: float, threads: int) -> float:
    """Pictures per second of `threads` threads that share one session."""
    predictor = Predictor(load_bundle(bundle, "classifier"), threads=1)
    predictor.warm_up()
    counts = [0] * threads

    def run(number: int) -> None:
        start = number * len(pictures) // threads
        counts[number] = work(predictor, pictures, start, seconds)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - begun)


def _process(
    bundle: Path, pictures: list[bytes], start: int, seconds: float, barrier: object, queue: object
) -> None:
    predictor = Predictor(load_bundle(bundle, "classifier"), threads=1)
    predictor.warm_up()
    barrier.wait()  # type: ignore[attr-defined]
    begun = time.perf_counter()
    count = work(predictor, pictures, start, seconds)
    queue.put(count / (time.perf_counter() - begun))  # type: ignore[attr-defined]


def with_processes(bundle: Path, pictures: list[bytes], seconds: float, processes: int) -> float:
    """Pictures per second of `processes` processes with a session each."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(
            target=_process,
            args=(bundle, pictures, n * len(pictures) // processes, seconds, barrier, queue),
        )
        for n in range(processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(queue.get() for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)
