"""Steady requests from threads, until told otherwise."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

Send = Callable[[], httpx.Response]


@contextmanager
def steadily(*senders: Send, pause: float = 0.1) -> Iterator[Counter[int]]:
    """Call each of `senders` over and over in a thread of its own; yields statuses so far."""
    stop = threading.Event()
    statuses: Counter[int] = Counter()

    def run(send: Send) -> None:
        while not stop.wait(pause):
            try:
                statuses[send().status_code] += 1
            except httpx.TransportError:
                statuses[0] += 1

    threads = [threading.Thread(target=run, args=(send,)) for send in senders]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()
