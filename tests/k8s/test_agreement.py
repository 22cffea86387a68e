"""Manifests say what the services really have: settings, routes, ports, commands, metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from monitoring.registries import KINDS, Kind, metrics
from porcelain.cli.main import build_app
from services.classifier.settings import ClassifierSettings
from services.generator.settings import GeneratorSettings
from services.settings import PREFIX, ServiceSettings, load_settings
from tests.k8s.rendering import (
    JOBS,
    ROOT,
    SERVICES,
    Manifest,
    containers,
    environment,
    of_kind,
    render,
    with_component,
)

SETTINGS: dict[Kind, type[ServiceSettings]] = {
    "classifier": ClassifierSettings,
    "generator": GeneratorSettings,
}
UPLOAD_OVERHEAD = 64 * 1024
HEALTH = {"/livez", "/readyz"}
API = "/v1/"
"""Where all routes are that need a key."""


def deployments(target: str) -> dict[str, Manifest]:
    found = {one["metadata"]["name"]: one for one in of_kind(render(target), "Deployment")}
    assert set(found) == set(KINDS)
    return found


def container_of(deployment: Manifest) -> Manifest:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def sidecar_of(spec: Manifest) -> Manifest:
    """nginx, which starts before the service and ends after it."""
    (sidecar,) = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert isinstance(sidecar, dict)
    return sidecar


def settings_of(
    name: Kind, deployment: Manifest, monkeypatch: pytest.MonkeyPatch
) -> ServiceSettings:
    """The settings as the container would read them."""
    for key, value in environment(container_of(deployment)).items():
        monkeypatch.setenv(key, value)
    return load_settings(SETTINGS[name])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("target", SERVICES)
def test_variables_are_settings_with_values_that_they_can_have(
    target: str, name: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deployments(target)[name]
    given = environment(container_of(deployment))
    fields = {PREFIX + field.upper() for field in SETTINGS[name].model_fields}
    assert {key for key in given if key.startswith(PREFIX)} <= fields
    settings = settings_of(name, deployment, monkeypatch)
    assert settings.key_file is not None
    gpu = container_of(deployment)["resources"]["limits"].get("nvidia.com/gpu")
    assert (settings.model_dump()["device"] == "cuda") == (gpu == "1") == target.endswith("gpu")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("target", SERVICES)
def test_ports_and_probes_are_the_services(target: str, name: Kind) -> None:
    spec = deployments(target)[name]["spec"]["template"]["spec"]
    container, sidecar = container_of(deployments(target)[name]), sidecar_of(spec)
    options = container["args"]
    assert "--host" not in options  # loopback: nginx alone reaches it
    port = options[options.index("--port") + 1]
    configuration = (ROOT.parent / "nginx" / f"{name}.conf").read_text()
    assert f"server 127.0.0.1:{port} " in configuration
    ports = {one["name"]: one["containerPort"] for one in sidecar["ports"]}
    assert ports == {"http": 8080, "internal": 8081}
    assert set(map(int, re.findall(r"listen (\d+);", configuration))) == set(ports.values())
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == ports["internal"]
        assert container[probe]["httpGet"]["path"] in HEALTH
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    (service,) = (s for s in of_kind(render(target), "Service") if s["metadata"]["name"] == name)
    labels = deployments(target)[name]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert [one["targetPort"] for one in service["spec"]["ports"]] == [ports["http"]]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("target", SERVICES)
def test_a_pod_has_time_to_finish_what_it_began(
    target: str, name: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deployments(target)[name]
    settings = settings_of(name, deployment, monkeypatch)
    pause = container_of(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= pause + settings.shutdown_seconds + 5


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("target", SERVICES)
def test_the_route_exposes_the_api_and_nothing_else(target: str, name: Kind) -> None:
    (route,) = (r for r in of_kind(render(target), "HTTPRoute") if r["metadata"]["name"] == name)
    (rule,) = route["spec"]["rules"]
    assert [match["path"] for match in rule["matches"]] == [{"type": "PathPrefix", "value": API}]
    (backend,) = rule["backendRefs"]
    (service,) = (
        s for s in of_kind(render(target), "Service") if s["metadata"]["name"] == backend["name"]
    )
    assert backend["port"] in {one["port"] for one in service["spec"]["ports"]}
    assert not of_kind(render(target), "Ingress")


def test_an_ingress_takes_the_routes_place_where_there_is_no_gateway(tmp_path: Path) -> None:
    manifests = with_component(tmp_path, "ingress")
    assert not of_kind(manifests, "HTTPRoute")
    found = {one["metadata"]["name"]: one for one in of_kind(manifests, "Ingress")}
    assert set(found) == set(KINDS)
    for name, ingress in found.items():
        (rule,) = ingress["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == (API, "Prefix")
        assert path["backend"]["service"]["name"] == name
        size = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
        assert int(size) == nginx_bytes(name)


def nginx_bytes(name: str) -> int:
    """Largest request that the sidecar takes."""
    text = (ROOT.parent / "nginx" / f"{name}.conf").read_text()
    number, unit = re.findall(r"client_max_body_size (\d+)([km]);", text)[0]
    return int(number) * {"k": 2**10, "m": 2**20}[unit]


@pytest.mark.parametrize("name", KINDS)
def test_nginx_takes_the_largest_request_that_the_service_takes(name: Kind) -> None:
    settings: Any = SETTINGS[name](bundle=Path("any"))
    if name == "generator":
        assert nginx_bytes(name) == settings.max_body_bytes
        return
    largest = max(settings.max_bytes, settings.max_batch_bytes) + UPLOAD_OVERHEAD
    assert largest <= nginx_bytes(name)
    assert settings.max_buffered_bytes >= largest


@pytest.mark.parametrize("target", [*SERVICES, *JOBS])
def test_commands_and_options_exist(target: str) -> None:
    root = typer.main.get_command(build_app())
    commands = [
        [*one.get("command", []), *one.get("args", [])] for one in containers(render(target))
    ]
    commands += [one["spec"]["entrypoint"].split() for one in of_kind(render(target), "RayJob")]
    commands = [one for one in commands if one]
    assert commands
    for program, *words in commands:
        if program == "nginx":
            continue
        assert program == "porcelain"
        found: Any = root
        while hasattr(found, "commands"):
            found = found.commands[words.pop(0)]
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("target", SERVICES)
def test_names_that_point_somewhere_are_there(target: str) -> None:
    manifests = render(target)
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    for deployment in of_kind(manifests, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        selectors = [deployment["spec"]["selector"]]
        selectors += [one["labelSelector"] for one in spec["topologySpreadConstraints"]]
        selectors += [
            one["spec"]["selector"]
            for one in of_kind(manifests, "PodDisruptionBudget")
            if one["metadata"]["name"] == deployment["metadata"]["name"]
        ]
        assert len(selectors) == 4
        for selector in selectors:
            assert selector["matchLabels"].items() <= labels.items()
        every = [*spec["initContainers"], *spec["containers"]]
        mounts = {m["name"]: m["mountPath"] for c in every for m in c["volumeMounts"]}
        assert set(mounts) == {volume["name"] for volume in spec["volumes"]}
        for volume in spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in names
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
        given = environment(spec["containers"][0])
        assert given["PORCELAIN_BUNDLE"].startswith(mounts["models"] + "/")
        assert given["PORCELAIN_KEY_FILE"] == mounts["keys"] + "/keys"
    for autoscaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        reference = autoscaler["spec"]["scaleTargetRef"]
        assert (reference["kind"], reference["name"]) in names


@pytest.mark.parametrize("target", SERVICES)
def test_autoscalers_ask_for_what_the_adapter_makes_of_real_metrics(target: str) -> None:
    text = (ROOT / "monitoring" / "prometheus-adapter.yaml").read_text()
    served = {}
    for rule in yaml.safe_load(text)["rules"]["custom"]:
        series = re.match(r"\w+", rule["seriesQuery"])
        assert series is not None
        served[rule["name"]["as"]] = series[0]
    for autoscaler in of_kind(render(target), "HorizontalPodAutoscaler"):
        (metric,) = autoscaler["spec"]["metrics"]
        name = autoscaler["metadata"]["name"]
        assert served[metric["pods"]["metric"]["name"]] in {one.name for one in metrics(name)}


def test_the_cpu_is_what_counts_without_an_adapter(tmp_path: Path) -> None:
    found = of_kind(with_component(tmp_path, "scale-on-cpu"), "HorizontalPodAutoscaler")
    assert len(found) == len(KINDS)
    for autoscaler in found:
        (metric,) = autoscaler["spec"]["metrics"]
        assert metric["resource"]["name"] == "cpu"


def test_a_bundle_in_the_image_needs_no_volume(tmp_path: Path) -> None:
    manifests = with_component(tmp_path, "bundle-in-image")
    assert not of_kind(manifests, "PersistentVolumeClaim")
    for deployment in of_kind(manifests, "Deployment"):
        assert "models" not in {
            v["name"] for v in deployment["spec"]["template"]["spec"]["volumes"]
        }


def test_every_shard_of_an_experiment_is_run_once() -> None:
    (job,) = of_kind(render("jobs/experiment"), "Job")
    (container,) = containers([job])
    shard = container["args"][container["args"].index("--shard") + 1]
    assert shard == f"$(JOB_COMPLETION_INDEX)/{job['spec']['completions']}"
    assert job["spec"]["completionMode"] == "Indexed"


def test_ray_is_the_version_that_the_image_has() -> None:
    pinned = (ROOT.parent / "constraints.txt").read_text().splitlines()
    for job in of_kind(render("jobs/classify-ray"), "RayJob"):
        assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']}" in pinned


def test_images_are_those_of_the_dockerfile() -> None:
    text = (ROOT.parent / "Dockerfile").read_text()
    built = set(re.findall(r"^FROM \S+ AS ([a-z-]+)$", text, re.MULTILINE))
    for target in (*SERVICES, *JOBS):
        for container in containers(render(target)):
            name = container["image"].rpartition("/")[2].partition(":")[0]
            assert name in built or name == "nginx-unprivileged"
