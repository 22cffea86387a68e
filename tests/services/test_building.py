"""Bentos: built offline from what is installed, served, and equal to the source tree's answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from porcelain.bundle import load_bundle, write_manifest
from porcelain.cli.local_server import free_port
from services.building import BENTOFILES, ROOT, Kind, pinned_requirements
from tests import pictures
from tests.services.conftest import Server, write_colour_bundle
from tests.services.generator.conftest import GeneratorServer, generator_base, generator_bundle
from tests.services.servers import check_log, start_command, start_server

__all__ = ["generator_base", "generator_bundle"]

# A build or a start that asked the network would fail.
NOWHERE = {
    **{f"{kind}_PROXY": "http://127.0.0.1:9" for kind in ("HTTP", "HTTPS", "ALL")},
    "NO_PROXY": "127.0.0.1,localhost",
    "UV_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "HF_HUB_OFFLINE": "1",
}


def build(kind: Kind, bundle: Path, home: Path) -> str:
    """Build a bento in a store of its own; returns its tag."""
    command = [sys.executable, "-m", "porcelain.cli.main", "bento", "build", kind]
    result = subprocess.run(
        [*command, "--bundle", str(bundle)],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={**os.environ, **NOWHERE, "BENTOML_HOME": str(home)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[0].removeprefix("Built ")


def serve(tag: str, home: Path, **environment: str) -> Server:
    """Serve a bento as its container does, with BentoML's own command."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("bentoml")), "serve", tag]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    given = {**NOWHERE, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", **environment}
    return start_command(command, port, home / "log", given, cwd=home)


def sources(home: Path, tag: str) -> Path:
    return home / "bentos" / tag.replace(":", "/") / "src"


@pytest.mark.parametrize("kind", BENTOFILES)
def test_a_bento_is_pinned_with_all_that_it_needs(kind: Kind) -> None:
    pins = pinned_requirements(kind)
    assert set(pins) <= set((ROOT / "constraints.txt").read_text().splitlines())
    names = {one.partition("==")[0] for one in pins}
    # Named by the project, and needed by what it names.
    assert {"bentoml", "fastapi", "numpy", "starlette", "uvicorn", "python-multipart"} <= names
    assert ("torch" in names) == (kind == "generator")


def test_the_classifiers_bento_answers_as_the_source_tree(
    bundle: Path, server: Server, tmp_path: Path
) -> None:
    tag = build("classifier", bundle, tmp_path)
    parts = {path.name for path in sources(tmp_path, tag).iterdir()}
    assert parts == {"porcelain", "services", "bentofile.yaml"}
    installed = (
        tmp_path / "bentos" / tag.replace(":", "/") / "env/python/requirements.txt"
    ).read_text()
    assert set(pinned_requirements("classifier")) <= set(installed.splitlines())
    assert not (sources(tmp_path, tag) / "services" / "generator").exists()
    built = serve(tag, tmp_path, PORCELAIN_WORKERS="1")
    try:
        for worker in built.workers():
            assert Path(worker.cwd()) == sources(tmp_path, tag)
        assert built.get("/v1/model").json() == server.get("/v1/model").json()
        for colour in ("red", "lime", "blue"):
            data = pictures.jpeg(pictures.scene(640, 480, colour))
            answer = built.classify(data, explain="true")
            assert answer.status_code == 200
            assert answer.json() == server.classify(data, explain="true").json()
        assert built.classify(pictures.PDF).status_code == 415
        assert built.metrics()["porcelain_workers_ready"] == 1
    finally:
        built.stop()
    check_log(tmp_path / "log")


@pytest.mark.slow
def test_a_bento_keeps_the_bundle_that_it_was_built_with(bundle: Path, tmp_path: Path) -> None:
    """A later bundle in the store is not what an earlier bento serves."""
    first = build("classifier", bundle, tmp_path)
    other = tmp_path / "other"
    write_colour_bundle(other)
    (other / "taxonomy.yaml").write_text("{}\n")
    (other / "bundle.json").unlink()
    info = load_bundle(bundle, "classifier").classifier
    write_manifest(other, kind="classifier", name="other", dataset_digest="1", classifier=info)
    build("classifier", other, tmp_path)
    built = serve(first, tmp_path, PORCELAIN_WORKERS="1")
    try:
        digest = load_bundle(bundle, "classifier").manifest.digest()
        assert built.get("/v1/model").json()["model"]["digest"] == digest
    finally:
        built.stop()


@pytest.mark.slow
def test_the_generators_bento_answers_as_the_source_tree(
    generator_bundle: Path, tmp_path: Path
) -> None:
    tag = build("generator", generator_bundle, tmp_path)
    environment = {"PORCELAIN_THREADS": "1", "PORCELAIN_DEVICE": "cpu"}
    built = GeneratorServer(serve(tag, tmp_path, **environment))
    try:
        ours = built.image(type="bowl", seed=7, steps=3)
        assert built.running.get("/v1/model").status_code == 200
    finally:
        built.running.stop()
    log = tmp_path / "source.log"
    source = GeneratorServer(start_server(generator_bundle, log, kind="generator", THREADS="1"))
    try:
        assert source.image(type="bowl", seed=7, steps=3) == ours
    finally:
        source.running.stop()
