"""Dockerfile and compose.yaml, as far as they can be read without building."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.objectives import SERVICES
from porcelain import __version__
from services.classifier.settings import ClassifierSettings
from services.generator.settings import GeneratorSettings
from services.settings import PREFIX
from services.studio.settings import StudioSettings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SETTINGS = {
    "classifier": ClassifierSettings,
    "classifier-gpu": ClassifierSettings,
    "generator": GeneratorSettings,
}


def mounts(name: str) -> list[dict[str, str]]:
    """What a service of compose.yaml mounts, and where."""
    form = re.compile(r"(?P<source>\$\{.*\}|[^:]+):(?P<target>/[^:]+)(:ro)?")
    found = []
    for volume in COMPOSE["services"][name]["volumes"]:
        match = form.fullmatch(volume)
        assert match is not None, volume
        found.append(match.groupdict())
    return found


def stage(name: str) -> str:
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("target", ["classifier", "classifier-gpu", "generator", "studio", "jobs"])
def test_images_run_as_nobody_and_have_what_they_install(target: str) -> None:
    final, installed = stage(target), stage(f"{target}-installed")
    assert f"COPY --from={target}-installed /opt/porcelain /opt/porcelain" in final
    assert "USER 10001:10001" in final
    assert "RUN" not in final  # nothing is made here, so nothing is left over
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"--extra (\S+)", installed)
    assert extras
    assert set(extras) <= set(project["optional-dependencies"])
    assert "$LIST" in installed


@pytest.mark.parametrize("target", SETTINGS)
def test_images_set_what_the_services_read(target: str) -> None:
    final = stage(target)
    fields = {PREFIX + field.upper() for field in SETTINGS[target].model_fields}
    names = set(re.findall(rf"\b({PREFIX}\w+)=", final))
    assert PREFIX + "BUNDLE" in names
    assert names <= fields
    kind = target.removesuffix("-gpu")
    port = re.search(r"EXPOSE (\d+)", final)
    assert port is not None
    assert f'CMD ["serve", "{kind}", "--host", "0.0.0.0", "--port", "{port[1]}"]' in final
    assert f"http://127.0.0.1:{port[1]}/readyz" in final


def test_the_studio_asks_the_services_by_their_names() -> None:
    final, service = stage("studio"), COMPOSE["services"]["studio"]
    assert 'CMD ["serve", "studio", "--host", "0.0.0.0", "--port", "3002"]' in final
    assert "http://127.0.0.1:3002/readyz" in final
    assert "EXPOSE 3002" in final
    assert service["ports"] == ["127.0.0.1:3002:3002"]
    settings = StudioSettings(
        **{key.removeprefix(PREFIX).lower(): url for key, url in service["environment"].items()}
    )
    for url in (settings.classifier_url, settings.generator_url):
        name, _, port = url.removeprefix("http://").partition(":")
        assert f"127.0.0.1:{port}:{port}" in COMPOSE["services"][name]["ports"]
    published = [p for one in COMPOSE["services"].values() for p in one.get("ports", [])]
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_the_context_is_what_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!")}
    assert kept == {*packages, "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}


@pytest.mark.parametrize(
    ("replica", "name"),
    [("classifier-1", "classifier"), ("classifier-2", "classifier"), ("generator", "generator")],
)
def test_compose_sets_what_the_services_read(replica: str, name: str) -> None:
    service = COMPOSE["services"][replica]
    fields = {PREFIX + field.upper() for field in SETTINGS[name].model_fields}
    names = {key for key in service["environment"] if key.startswith(PREFIX)}
    assert names <= fields
    final = stage(service["build"]["target"])
    assert "ports" not in service  # nginx alone is reached from outside
    (exposed,) = re.findall(r"EXPOSE (\d+)", final)
    assert f"server {replica}:{exposed} " in (ROOT / "nginx" / "compose.conf").read_text()
    bundle = re.search(r"PORCELAIN_BUNDLE=(\S+)", final)
    assert bundle is not None
    assert any(volume.endswith(f":{bundle[1]}:ro") for volume in service["volumes"])
    shutdown = SETTINGS[name].model_fields["shutdown_seconds"].default
    assert int(service["stop_grace_period"].removesuffix("s")) > shutdown


def test_compose_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, "compose.yaml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_hardens_every_container_and_mounts_what_there_is() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists()


def test_compose_mounts_what_its_settings_name_and_declares_what_it_uses() -> None:
    mounted = [one["target"] for one in mounts("generator")]
    assert COMPOSE["services"]["generator"]["environment"]["PORCELAIN_BASE"] in mounted
    named = {one["source"] for name in COMPOSE["services"] for one in mounts(name)}
    assert {one for one in named if not one.startswith((".", "$"))} == set(COMPOSE["volumes"])
    networks = {one for service in COMPOSE["services"].values() for one in service["networks"]}
    assert networks == set(COMPOSE["networks"])
    for name, service in COMPOSE["services"].items():
        if "build" in service:
            target = re.sub(r"-\d$", "", name)
            assert service["build"] == {"context": ".", "target": target}
            assert service["image"] == f"porcelain/{target}:{__version__}"


def test_compose_starts_on_what_the_demo_makes_and_what_ships() -> None:
    found = dict(
        re.fullmatch(r"\$\{(\w+):-\./(.+)\}", one["source"]).groups()  # type: ignore[union-attr]
        for name in ("classifier-1", "classifier-2", "generator")
        for one in mounts(name)
    )
    assert found == {
        "CLASSIFIER_BUNDLE": "demo/classifier",
        "GENERATOR_BUNDLE": "demo/generator",
        "BASE_MODEL": "models/porcelain-small",
    }
    assert (ROOT / found["BASE_MODEL"] / "model_index.json").exists()


def test_prometheus_scrapes_the_services_by_their_names() -> None:
    text = (ROOT / "monitoring" / "local" / "prometheus.yaml").read_text()
    jobs = {
        one["job_name"]: one["static_configs"] for one in yaml.safe_load(text)["scrape_configs"]
    }
    assert set(jobs) == {service.job for service in SERVICES}
    for service in SERVICES:
        for target in jobs[service.job][0]["targets"]:
            host, _, port = target.partition(":")
            assert host in COMPOSE["services"]
            assert f"EXPOSE {port}" in stage(service.kind)


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    from tests.monitoring.conftest import tool

    text = (ROOT / "monitoring" / "local" / "prometheus.yaml").read_text()
    rules = ROOT / "k8s" / "monitoring" / "rules.yaml"
    (tmp_path / "prometheus.yaml").write_text(
        text.replace("/etc/prometheus/rules.yaml", str(rules))
    )
    command = [tool("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
