"""The studio's component: valid, without rights, and as the studio really is."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml

from porcelain.cli.main import build_app
from services.settings import PREFIX, load_settings
from services.studio.settings import StudioSettings
from tests.k8s.rendering import Manifest, environment, of_kind, with_component
from tests.k8s.test_schemas import check
from tests.k8s.test_security import assert_without_rights


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The base with the studio."""
    return with_component(tmp_path_factory.mktemp("studio"), "studio")


@pytest.fixture
def studio(manifests: list[Manifest]) -> Manifest:
    (found,) = (m for m in of_kind(manifests, "Deployment") if m["metadata"]["name"] == "studio")
    return found


def test_it_is_valid_and_has_no_rights(manifests: list[Manifest], studio: Manifest) -> None:
    for manifest in manifests:
        check(manifest)
    assert_without_rights([studio])


def test_variables_ports_and_options_are_the_studios(
    manifests: list[Manifest],
    studio: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (container,) = studio["spec"]["template"]["spec"]["containers"]
    given = environment(container)
    assert set(given) <= {PREFIX + field.upper() for field in StudioSettings.model_fields}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(StudioSettings)
    services = {one["metadata"]["name"] for one in of_kind(manifests, "Service")}
    for url in (settings.classifier_url, settings.generator_url):
        assert url.removeprefix("http://") in services
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == "keys")
    (volume,) = (v for v in studio["spec"]["template"]["spec"]["volumes"] if v["name"] == "keys")
    mounted = {f"{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}
    assert {str(settings.classifier_key_file), str(settings.generator_key_file)} == mounted
    (port,) = container["ports"]
    command = typer.main.get_command(build_app())
    words = [*container["args"]]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert words[words.index("--port") + 1] == str(port["containerPort"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]


def test_it_reaches_the_services_and_nothing_outside(manifests: list[Manifest]) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "NetworkPolicy")}
    text = yaml.safe_dump(policies["studio"]["egress"])
    assert "ipBlock" not in text
    selected = policies["services-from-studio"]["podSelector"]["matchExpressions"][0]["values"]
    to = policies["studio"]["egress"][0]["to"][0]["podSelector"]["matchExpressions"][0]["values"]
    assert selected == to == ["porcelain-classifier", "porcelain-generator"]
    let_in = policies["services-from-studio"]["ingress"][0]["from"]
    assert let_in == [
        {"podSelector": {"matchLabels": policies["studio"]["podSelector"]["matchLabels"]}}
    ]
    assert not [i for i in of_kind(manifests, "Ingress") if i["metadata"]["name"] == "studio"]
