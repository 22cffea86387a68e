"""`python -m monitoring`: write what is made from code, for the repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from monitoring.dashboards import dashboards
from monitoring.metrics_page import metrics_page
from monitoring.rules import rule_groups

ROOT: Final = Path(__file__).parents[1]
NOTICE: Final = "# Made by `make monitoring` from monitoring/; do not edit.\n"
WIDE: Final = 10_000  # a query stays on one line, as one reads and copies it


def generated() -> Mapping[Path, str]:
    """Every file that is made, relative to the repository, with its content."""
    groups = rule_groups()
    operator = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "porcelain"},
        "spec": groups,
    }
    folder = Path("k8s/monitoring")
    return {
        Path("docs/metrics.md"): metrics_page(),
        folder / "rules.yaml": NOTICE + _yaml(groups),
        folder / "prometheus-rule.yaml": NOTICE + _yaml(operator),
        **{
            folder / "dashboards" / name: json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            for name, content in dashboards().items()
        },
    }


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=WIDE)


def main() -> None:
    """Write all files."""
    for path, text in generated().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
