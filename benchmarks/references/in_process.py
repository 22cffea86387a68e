"""The limit: our decoding, preparing and inference in process, without HTTP."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Rate:
    """Pictures per second, and processor time per picture in milliseconds."""

    throughput: float
    cpu: float


def with_threads(bundle: Path, pictures: list[bytes], seconds: float, threads: int) -> Rate:
    """Let `threads` threads share one session."""
    predictor = Predictor(load_bundle(bundle, "classifier"), threads=1)
    predictor.warm_up()
    counts = [0] * threads

    def run(number: int) -> None:
        start = number * len(pictures) // threads
        counts[number] = work(predictor, pictures, start, seconds)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    begun, used = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done = sum(counts)
    used = time.process_time() - used
    return Rate(done / (time.perf_counter() - begun), used / done * 1000)


def _process(
    bundle: Path, pictures: list[bytes], start: int, seconds: float, barrier: object, queue: object
) -> None:
    predictor = Predictor(load_bundle(bundle, "classifier"), threads=1)
    predictor.warm_up()
    barrier.wait()  # type: ignore[attr-defined]
    begun, used = time.perf_counter(), time.process_time()
    count = work(predictor, pictures, start, seconds)
    rate = count / (time.perf_counter() - begun)
    queue.put((count, rate, time.process_time() - used))  # type: ignore[attr-defined]


def with_processes(bundle: Path, pictures: list[bytes], seconds: float, processes: int) -> Rate:
    """Let `processes` processes have a session each."""
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
    counts, rates, used = zip(*(queue.get() for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    return Rate(sum(rates), sum(used) / sum(counts) * 1000)
