"""Bundles with damaged, exchanged or missing files, before a start and under a running service."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.load import BOUNDARY, form_body
from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import WORKERS, Replica, Setting, replica, serve_command
from porcelain.bundle import CLASSIFIER_MODEL_FILE
from porcelain.cli.local_server import free_port

MANIFEST: Final = "bundle.json"
REFUSED: Final = 2
"""Exit status of a user's mistake."""
CRASHING_SECONDS: Final = 12.0
BACK_SECONDS: Final = 40.0


def bundles(setting: Setting) -> list[Promise]:
    """A service does not start on them, and one that runs goes on."""
    damages: dict[str, Callable[[Path], None]] = {
        "a model with one other bit": _flip,
        "a model cut in half": _truncate,
        "a missing model": lambda folder: (folder / CLASSIFIER_MODEL_FILE).unlink(),
        "another bundle's model": _swap,
        "a missing manifest": lambda folder: (folder / MANIFEST).unlink(),
        "a manifest that is no JSON": lambda folder: (folder / MANIFEST).write_text("{"),
        "a manifest of the future": lambda folder: _edit(folder, "schema_version", 999),
        "a bundle of another kind": lambda folder: _edit(folder, "kind", "generator"),
        "a pickle among the files": _pickle,
    }
    rows = [_refused(setting, what, damage) for what, damage in damages.items()]
    return rows + _running(setting)


def _refused(setting: Setting, what: str, damage: Callable[[Path], None]) -> Promise:
    folder = _copy(setting, "damaged")
    damage(folder)
    begun = time.perf_counter()
    done = subprocess.run(
        serve_command(folder, free_port()), capture_output=True, text=True, timeout=120, check=False
    )
    seconds = time.perf_counter() - begun
    lines = done.stderr.strip().splitlines()
    said = (lines[0] if lines else "nothing").replace(f"{folder}", "DIR").removeprefix("Error: ")
    return Promise(
        f"{what}: refused in one line",
        f"status {done.returncode}, {len(lines)} line, {seconds:.0f} s: {said[:90]}",
        done.returncode == REFUSED and len(lines) == 1,
    )


def _running(setting: Setting) -> list[Promise]:
    """Under a running service every file is damaged, and a worker has to start again on them."""
    folder = _copy(setting, "served")
    picture = setting.pictures[0]
    with replica(replace(setting, bundle=folder)) as service:
        expected = _classify(service, picture)
        for file in folder.rglob("*"):
            if file.is_file():
                file.write_bytes(file.read_bytes()[:100])
        same = all(_classify(service, picture) == expected for _ in range(20))
        service.workers()[0].kill()
        answers, starts = _while_crashing(service, picture, expected)
        shutil.copytree(setting.bundle, folder, dirs_exist_ok=True)
        begun = time.perf_counter()
        while service.metric("porcelain_workers_ready") < WORKERS:
            if time.perf_counter() - begun > BACK_SECONDS:
                break
            time.sleep(0.25)
        back = time.perf_counter() - begun
    return [
        Promise("a running service answers as before", f"same answers: {same}", same),
        Promise(
            "also when a worker dies and cannot start again",
            f"{sum(answers)} of {len(answers)} answers are the same; {starts} starts in "
            f"{CRASHING_SECONDS:.0f} s",
            all(answers),
        ),
        Promise(
            "with the files, the lost worker comes back by itself",
            f"after {back:.1f} s",
            back < BACK_SECONDS,
        ),
    ]


def _while_crashing(service: Replica, picture: bytes, expected: Any) -> tuple[list[bool], int]:  # noqa: ANN401
    """Whether each answer is as expected, and how many processes tried to start."""
    answers, pids = [], set[int]()
    begun = time.perf_counter()
    while time.perf_counter() - begun < CRASHING_SECONDS:
        try:
            answers.append(_classify(service, picture) == expected)
        except OSError:
            answers.append(False)
        pids |= {worker.pid for worker in service.workers()}
        time.sleep(0.2)
    return answers, len(pids) - 1


def _classify(service: Replica, picture: bytes) -> Any:  # noqa: ANN401 - JSON
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    url = f"{service.running.url}/v1/classify"
    with urllib.request.urlopen(
        urllib.request.Request(url, data=form_body(picture), headers=kind), timeout=30
    ) as answer:
        return json.load(answer)


def _copy(setting: Setting, name: str) -> Path:
    folder = setting.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(setting.bundle, folder)
    return folder


def _flip(folder: Path) -> None:
    model = folder / CLASSIFIER_MODEL_FILE
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)


def _truncate(folder: Path) -> None:
    model = folder / CLASSIFIER_MODEL_FILE
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])


def _swap(folder: Path) -> None:
    """As if two bundles' files were mixed up: right in itself, not the one in the manifest."""
    model = folder / CLASSIFIER_MODEL_FILE
    model.write_bytes(
        model.read_bytes() + b"\x72\x00"
    )  # a valid graph with an empty metadata entry


def _edit(folder: Path, key: str, value: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, key: value}))


def _pickle(folder: Path) -> None:
    import hashlib

    data = pickle.dumps({"weights": [0.0]})
    (folder / "weights.pkl").write_bytes(data)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["weights.pkl"] = hashlib.sha256(data).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
