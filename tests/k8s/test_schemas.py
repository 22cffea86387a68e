"""Every object is one that a current Kubernetes accepts."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from tests.k8s.rendering import TARGETS as ALL
from tests.k8s.rendering import Manifest, pod_templates, render, with_component

VERSION = "1.37"
CUSTOM = {"HTTPRoute", "RayJob", "PodMonitor", "PrometheusRule"}
COMPONENTS = ("scale-on-requests", "scale-on-cpu", "bundle-in-image", "ingress")


def check(manifest: Manifest) -> None:
    if manifest["kind"] not in CUSTOM:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    # Kubernetes' own schemas know nothing of custom kinds, but the pods in them are ordinary.
    for template in pod_templates(manifest):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": template.get("metadata", {}),
            "spec": template["spec"],
        }
        kubernetes_validate.validate(pod, VERSION, strict=True)


@pytest.mark.parametrize("target", ALL)
def test_what_is_rendered_is_valid(target: str) -> None:
    manifests = render(target)
    assert manifests
    for manifest in manifests:
        check(manifest)


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_base_with_a_component_is_valid(component: str, tmp_path: Path) -> None:
    for manifest in with_component(tmp_path, component):
        check(manifest)


def test_a_wrong_field_is_found() -> None:
    deployment = next(one for one in render("overlays/cpu") if one["kind"] == "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(wrong)


@pytest.mark.parametrize("target", ALL)
def test_names_are_unique_and_everything_has_a_namespace(target: str) -> None:
    manifests = render(target)
    names = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(names)) == len(names)
    for one in manifests:
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == (
                "monitoring" if target == "monitoring" else "porcelain"
            )
