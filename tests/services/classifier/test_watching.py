"""The metrics that show drift and the loss of a worker, on real servers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from tests import pictures
from tests.services.classifier.test_running import send_at_once
from tests.services.conftest import LABELS, Server, start_server


def metrics_of_all(server: Server, workers: int) -> dict[str, float]:
    """The metrics once all are ready: one answers before the others, which it does not know."""
    deadline = time.monotonic() + 60
    while (found := server.metrics())["porcelain_workers_ready"] < workers:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_the_training_distribution_is_exposed_whole(bundle: Path, tmp_path: Path) -> None:
    server = start_server(bundle, tmp_path / "log", "--workers", "2", INFERENCE="service")
    try:
        found = metrics_of_all(server, 2)
        for task, labels in LABELS.items():
            shares = [
                found[f'porcelain_training_label_share{{label="{label}",task="{task}"}}']
                for label in labels
            ]
            assert abs(sum(shares) - 1) < 1e-9
        assert found["porcelain_workers_expected"] == found["porcelain_workers_ready"] == 2

        blue = pictures.jpeg(pictures.scene(colour="blue"))
        before = found["porcelain_inference_batch_size_sum"]  # the warm-up's
        asyncio.run(send_at_once(server, [(blue, "blue")] * 12))
        assert server.metrics()["porcelain_inference_batch_size_sum"] == before + 12
    finally:
        server.stop()


def test_a_killed_worker_is_missed_until_it_is_replaced(bundle: Path, tmp_path: Path) -> None:
    server = start_server(bundle, tmp_path / "log", "--workers", "3")
    try:
        metrics_of_all(server, 3)
        server.workers()[0].kill()
        seen = [3.0]
        begun = time.monotonic()
        while (2 not in seen or seen[-1] != 3) and time.monotonic() - begun < 60:
            answer = httpx.get(server.url + "/metrics")  # a connection each: any worker answers
            line = next(x for x in answer.text.splitlines() if x.startswith("porcelain_workers_r"))
            seen.append(float(line.split()[-1]))
            time.sleep(0.1)
        assert set(seen) == {2, 3}
        assert seen[-1] == server.metrics()["porcelain_workers_expected"] == 3
    finally:
        server.stop()
