"""A real Prometheus that watches real servers, with the rules in fast motion."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from monitoring.rules import rule_groups
from porcelain.cli.local_server import free_port

SPEED = 60.0  # an hour of the rules passes in a minute
Targets = Mapping[str, Sequence[str]]


@dataclass
class Prometheus:
    """A running Prometheus."""

    process: subprocess.Popen[bytes]
    url: str
    targets: Path
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def watch(self, jobs: Targets) -> None:
        """Scrape these addresses, by job, from now on."""
        content = [{"targets": list(to), "labels": {"job": job}} for job, to in jobs.items()]
        beside = self.targets.with_suffix(".new")
        beside.write_text(json.dumps(content))
        beside.rename(self.targets)

    def api(self, path: str, **parameters: str) -> Any:
        response = self.client.get(f"{self.url}/api/v1/{path}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; those that are not a number left out."""
        found = self.api("query", query=expression)["result"]
        return [one for one in found if one["value"][1] != "NaN"]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.api("rules")["groups"] for rule in group["rules"]]

    def firing(self, *severities: str) -> set[str]:
        """Names of the alerts that fire, of any severity if none is named."""
        return {
            one["labels"]["alertname"]
            for one in self.active()
            if one["state"] == "firing"
            and (not severities or one["labels"]["severity"] in severities)
        }

    def active(self) -> list[dict[str, Any]]:
        found = self.api("alerts")["alerts"]
        assert isinstance(found, list)
        return found

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> float:
        """Seconds until `condition` holds."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, f"{what}: {self.active()}"
            time.sleep(0.5)
        return time.monotonic() - begun


def start_prometheus(program: str, folder: Path) -> Prometheus:
    """Start it without targets."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rule_groups(SPEED)))
    targets = folder / "targets.json"
    targets.write_text("[]")
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "any", "file_sd_configs": [{"files": [str(targets)]}]},
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [program, f"--config.file={folder / 'prometheus.yaml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    started = Prometheus(process, f"http://127.0.0.1:{port}", targets)

    def ready() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            return started.client.get(started.url + "/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    begun = time.monotonic()
    while not ready():
        assert time.monotonic() - begun < 60
        time.sleep(0.2)
    return started
