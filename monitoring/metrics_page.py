"""`docs/metrics.md`: every metric of both services in one table."""

from __future__ import annotations

from monitoring.registries import KINDS, Metric, metrics

HEAD = """# Metrics

What both services expose at `/metrics`, merged over all their worker processes. Every label's
values come from the code or the bundle, never from a caller, so that the number of series is
bounded. Made by `make monitoring` from the services' own registries; do not edit.

| metric | type | labels | service | what |
| --- | --- | --- | --- | --- |
"""


def metrics_page() -> str:
    """The page, as Markdown."""
    kinds: dict[str, list[str]] = {}
    found: dict[str, Metric] = {}
    for kind in KINDS:
        for metric in metrics(kind):
            kinds.setdefault(metric.name, []).append(kind)
            found[metric.name] = metric
    return HEAD + "".join(_row(found[name], kinds[name]) for name in sorted(found))


def _row(metric: Metric, kinds: list[str]) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    service = "both" if len(kinds) == len(KINDS) else kinds[0]
    return f"| `{metric.name}` | {metric.type} | {labels} | {service} | {metric.help} |\n"
