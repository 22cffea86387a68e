"""Every pod keeps to the restricted profile and to what a scanner asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.k8s.rendering import (
    JOBS,
    ROOT,
    SERVICES,
    SHARED,
    Manifest,
    containers,
    of_kind,
    pod_templates,
    render,
)

WORKLOADS = (*SERVICES, *JOBS)
CHECKOV = "checkov==3.3.30"


@pytest.mark.parametrize("target", WORKLOADS)
def test_pods_have_no_rights(target: str) -> None:
    assert_without_rights(render(target))


def assert_without_rights(manifests: list[Manifest]) -> None:
    templates = list(pod_templates(manifests))
    assert templates
    for template in templates:
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert not any("hostPath" in volume for volume in spec.get("volumes", []))
    for container in containers(manifests):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() <= container["resources"]["limits"].keys()
        for mount in container["volumeMounts"]:
            if mount["name"] in ("models", "collection", "keys"):
                assert mount["readOnly"] is True


@pytest.mark.parametrize("target", WORKLOADS)
def test_nothing_passes_unless_a_policy_says_so(target: str) -> None:
    policies = of_kind(render(target) + (render(SHARED) if target in JOBS else []), "NetworkPolicy")
    closed = [one for one in policies if one["spec"]["podSelector"] == {}]
    assert [one["spec"] for one in closed] == [
        {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ]
    ways_out = [
        peer for one in policies for rule in one["spec"].get("egress", []) for peer in rule["to"]
    ]
    assert not any("ipBlock" in peer for peer in ways_out)
    if target in SERVICES:
        assert not ways_out  # they call nobody


def test_the_namespace_enforces_the_restricted_profile() -> None:
    for target in SERVICES:
        (namespace,) = of_kind(render(target), "Namespace")
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_secret_is_in_the_repository() -> None:
    assert not [one for target in WORKLOADS for one in of_kind(render(target), "Secret")]


def test_the_job_that_fills_the_volume_has_no_rights_but_to_write_it() -> None:
    manifests = render("jobs/models")
    for template in pod_templates(manifests):
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in containers(manifests):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert [mount["name"] for mount in container["volumeMounts"]] == ["models"]


def test_deleting_a_job_deletes_no_volume() -> None:
    for target in (*JOBS, "jobs/models"):
        assert not of_kind(render(target), "PersistentVolumeClaim")
    assert len(of_kind(render(SHARED), "PersistentVolumeClaim")) == 2


@pytest.mark.slow
def test_a_scanner_finds_nothing(tmp_path: Path) -> None:
    documents = [one for target in WORKLOADS for one in render(target)]
    # The scanner does not know RayJob. As Jobs, because KubeRay gives these pods their probes.
    for ray in of_kind(documents, "RayJob"):
        for number, template in enumerate(pod_templates(ray)):
            metadata = {"name": f"ray-{number}", "namespace": "porcelain"}
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
            documents.append({**job, "spec": {"template": template}})
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    command = [sys.executable, "-m", "uv", "tool", "run", "--from", CHECKOV, "checkov"]
    command += ["--config-file", str(ROOT / "checkov.yaml"), "--file", str(file)]
    command += ["--output", "json", "--quiet", "--compact"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    report = json.loads(result.stdout)
    failed = [(c["check_id"], c["resource"]) for c in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["passed"] > 400
