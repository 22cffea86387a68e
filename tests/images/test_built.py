"""Every target of the Dockerfile, built for real and run. Minutes and gigabytes each."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from porcelain.cli.local_server import free_port
from tests import pictures
from tests.images.building import ROOT, Builder, lacking
from tests.services.conftest import write_colour_bundle
from tests.services.generator.conftest import GeneratorServer, generator_base, generator_bundle
from tests.services.servers import Server, start_command
from tests.services.studio.running import start_and_wait

__all__ = ["generator_base", "generator_bundle"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]

HAS = {
    "classifier": {"onnxruntime", "bentoml"},
    "classifier-gpu": {"onnxruntime-gpu", "bentoml"},
    "generator": {"torch", "diffusers", "bentoml"},
    "studio": {"nicegui", "httpx"},
    "jobs": {"torch", "ray", "timm", "diffusers"},
}
LACKS = {
    "classifier": {"torch", "diffusers", "timm", "onnxruntime-gpu", "pip", "uv"},
    "classifier-gpu": {"torch", "diffusers", "timm", "onnxruntime", "pip", "uv"},
    "generator": {"timm", "onnxruntime", "pip", "uv"},
    "studio": {"torch", "onnxruntime", "timm", "pip", "uv"},
    "jobs": {"pip", "uv", "bentoml-gpu"},
}
COMPILERS = ("gcc", "cc", "g++", "clang", "ld", "make")


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    """The base is kept for the next time: making it takes longest."""
    made = Builder(ROOT / "build" / "images")
    made.make_base()
    yield made
    made.run("rm", "--all")


def packages(files: Path) -> set[str]:
    """What the bill of materials lists."""
    content = json.loads((files / "opt/porcelain/sbom.cdx.json").read_text())
    assert content["bomFormat"] == "CycloneDX"
    return {component["name"].lower() for component in content["components"]}


def written(files: Path, since: float) -> list[str]:
    """Files that were changed after `since`, other than under /tmp."""
    passing = ("tmp/", "proc/", "sys/", "dev/", "run/")
    inside = {path.relative_to(files).as_posix(): path for path in files.rglob("*")}
    return [
        name
        for name, path in inside.items()
        if not name.startswith(passing)
        and path.is_file()
        and not path.is_symlink()
        and path.stat().st_mtime > since
    ]


def stop(server: Server) -> None:
    """Stop what runs in the container: buildah does not pass the signal on."""
    inside = psutil.Process(server.process.pid).children(recursive=True)
    porcelain = [one for one in inside if "/opt/porcelain/bin/porcelain" in one.cmdline()]
    porcelain[0].terminate()
    _, alive = psutil.wait_procs(inside, timeout=60)
    assert not alive
    server.stop()


@pytest.mark.parametrize("target", HAS)
def test_an_image_has_what_it_runs_and_nothing_else(
    target: str,
    builder: Builder,
    generator_bundle: Path,
    generator_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = time.monotonic()
    container = builder.container(builder.build(target))
    seconds = time.monotonic() - begun
    files = builder.files(container)
    listed = packages(files)
    assert HAS[target] <= listed
    assert not LACKS[target] & listed
    assert not [c for c in COMPILERS for d in ("usr/bin", "bin") if (files / d / c).exists()]
    assert not list(files.glob("root/.cache/*"))
    assert not (files / "source").exists()
    assert not (files / "opt/uv").exists()

    run = builder.serve(container, {}, ["sh", "-c", "id -u; porcelain --version; touch /opt/x; :"])
    said = subprocess.run(
        run, capture_output=True, text=True, check=True, env=builder.environment()
    )
    assert re.match(r"10001\nporcelain \d", said.stdout), said.stdout
    assert "denied" in said.stderr

    started = ""
    marker = time.time()
    port = free_port()
    if target == "classifier":
        bundle = write_colour_bundle(tmp_path / "colours")
        words = ["porcelain", "serve", "classifier", "--port", str(port)]
        command = builder.serve(container, {bundle: "/models/classifier"}, words)
        server = start_command(command, port, tmp_path / "log", builder.environment())
        try:
            blue = pictures.jpeg(pictures.scene(640, 480, "blue"))
            answer = server.classify(blue, explain="true")
            assert answer.json()["predictions"]["dynasty"]["label"] == "blue"
            assert "data:image/png" in answer.json()["explanation"]["glaze"]
        finally:
            stop(server)
        started = f", ready after {server.seconds_to_ready:.1f} s"
    elif target == "generator":
        words = ["porcelain", "serve", "generator", "--port", str(port), "--base", "/models/base"]
        volumes = {generator_bundle: "/models/generator", generator_base: "/models/base"}
        command = builder.serve(container, volumes, words)
        server = start_command(command, port, tmp_path / "log", builder.environment())
        try:
            assert GeneratorServer(server).image(type="bowl", steps=2)["data"]
        finally:
            stop(server)
        started = f", ready after {server.seconds_to_ready:.1f} s"
    elif target == "studio":
        words = ["porcelain", "serve", "studio", "--port", str(port)]
        command = builder.serve(container, {}, words)
        server = start_and_wait(command, [port], tmp_path / "log", builder.environment())
        try:
            assert "Porcelain studio" in server.client.get(server.url).text
        finally:
            stop(server)
    elif target == "jobs":
        bundle = write_colour_bundle(tmp_path / "colours")
        photos = tmp_path / "photos"
        photos.mkdir()
        (photos / "a.jpg").write_bytes(pictures.jpeg(pictures.scene(640, 480, "red")))
        words = ["porcelain", "batch", "classify", "/data", "--bundle", "/models/classifier"]
        words += ["--out", "/tmp/labels.parquet", "--json"]
        volumes = {bundle: "/models/classifier", photos: "/data"}
        command = builder.serve(container, volumes, words)
        subprocess.run(command, check=True, capture_output=True, env=builder.environment())
        assert (files / "tmp/labels.parquet").stat().st_size > 0
    assert written(files, marker) == []
    with capsys.disabled():
        print(f"\n{target}: {builder.size(files) / 1e6:,.0f} MB, built in {seconds:.0f} s{started}")
    builder.run("rm", container)
    builder.run("rmi", f"localhost/porcelain/{target}:test")
