"""Every target of the Dockerfile, built for real and run. Minutes and gigabytes each."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """Stop what runs in the container: buildah does not pass the signal on.

    buildah's own process has the command among its words too; with it everything would be killed
    but the workers, which nobody would tell to stop.
    """
    inside = psutil.Process(server.process.pid).children(recursive=True)
    command = ["/opt/porcelain/bin/python", "/opt/porcelain/bin/porcelain"]
    (porcelain,) = [one for one in inside if one.cmdline()[:2] == command]
    porcelain.terminate()
    _, alive = psutil.wait_procs(inside, timeout=60)
    assert not alive
    server.stop()


@dataclass(frozen=True)
class Trial:
    """A container of an image, and what it is tried with."""

    builder: Builder
    container: str
    folder: Path
    fixtures: pytest.FixtureRequest

    def serve(self, kind: str, volumes: dict[Path, str], *options: str) -> Server:
        """Start a service in it and wait until it is ready."""
        port = free_port()
        words = ["porcelain", "serve", kind, "--port", str(port), *options]
        command = self.builder.serve(self.container, volumes, words)
        log, environment = self.folder / "log", self.builder.environment()
        if kind == "studio":
            return start_and_wait(command, [port], log, environment)
        return start_command(command, port, log, environment)


def classify(trial: Trial) -> float:
    """Seconds until the classifier was ready, which then answers right.

    The image for GPUs, too, runs on a processor when told so.
    """
    bundle = write_colour_bundle(trial.folder / "colours")
    server = trial.serve("classifier", {bundle: "/models/classifier"}, "--device", "cpu")
    try:
        blue = pictures.jpeg(pictures.scene(640, 480, "blue"))
        answer = server.classify(blue, explain="true").json()
        assert answer["predictions"]["dynasty"]["label"] == "blue"
        assert "data:image/png" in answer["explanation"]["glaze"]
    finally:
        stop(server)
    return server.seconds_to_ready


def generate(trial: Trial) -> float:
    """Seconds until the generator was ready, which then makes a picture."""
    fixture = trial.fixtures.getfixturevalue
    volumes = {fixture("generator_bundle"): "/models/generator"}
    volumes[fixture("generator_base")] = "/models/base"
    server = trial.serve("generator", volumes, "--base", "/models/base")
    try:
        assert GeneratorServer(server).image(type="bowl", steps=2)["data"]
    finally:
        stop(server)
    return server.seconds_to_ready


def show_page(trial: Trial) -> float:
    """Seconds until the studio was ready, which then shows its page."""
    server = trial.serve("studio", {})
    try:
        assert "Porcelain studio" in server.client.get(server.url).text
    finally:
        stop(server)
    return server.seconds_to_ready


def run_job(trial: Trial) -> float:
    """Seconds of a job that classifies one picture."""
    bundle = write_colour_bundle(trial.folder / "colours")
    photos = trial.folder / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(pictures.jpeg(pictures.scene(640, 480, "red")))
    words = ["porcelain", "batch", "classify", "/data", "--bundle", "/models/classifier"]
    words += ["--out", "/tmp/labels.parquet", "--json"]
    volumes = {bundle: "/models/classifier", photos: "/data"}
    command = trial.builder.serve(trial.container, volumes, words)
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=trial.builder.environment())
    seconds = time.monotonic() - begun
    out = trial.builder.files(trial.container) / "tmp/labels.parquet"
    assert out.stat().st_size > 0
    return seconds


DOES: dict[str, tuple[str, Callable[[Trial], float]]] = {
    "classifier": ("ready after", classify),
    "classifier-gpu": ("on a processor ready after", classify),
    "generator": ("ready after", generate),
    "studio": ("ready after", show_page),
    "jobs": ("one picture classified in", run_job),
}


@pytest.mark.parametrize("target", HAS)
def test_an_image_has_what_it_runs_and_nothing_else(
    target: str,
    builder: Builder,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = time.monotonic()
    container = builder.container(builder.build(target))
    built = time.monotonic() - begun
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

    marker = time.time()
    what, do = DOES[target]
    seconds = do(Trial(builder, container, tmp_path, request))
    assert written(files, marker) == []
    megabytes = builder.size(files) / 1e6
    with capsys.disabled():
        print(f"\n{target}: {megabytes:,.0f} MB, built in {built:.0f} s, {what} {seconds:.1f} s")
    builder.run("rm", container)
    builder.run("rmi", f"localhost/porcelain/{target}:test")
