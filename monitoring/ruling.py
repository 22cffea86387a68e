"""The parts that Prometheus' rules are written with."""

from __future__ import annotations

from typing import Any, Final

Rule = dict[str, Any]

API: Final = 'route=~"/v1/.*"'
"""Selects what callers ask for; probes and scrapes are no traffic."""


class Clock:
    """Writes durations; a faster one lets a test live through days in minutes."""

    def __init__(self, speed: float = 1.0) -> None:
        """Divide every duration by `speed`."""
        self.speed = speed

    def span(self, seconds: float) -> str:
        """A duration in Prometheus' notation, a second at least."""
        left = max(1, round(seconds / self.speed))
        parts = []
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            count, left = divmod(left, size)
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts)


def record(name: str, expression: str, **labels: str) -> Rule:
    """A recording rule."""
    return {"record": name, "expr": expression, **({"labels": labels} if labels else {})}


def alert(
    name: str,
    expression: str,
    severity: str,
    summary: str,
    description: str,
    *,
    lasting: str = "",
    **labels: str,
) -> Rule:
    """An alert rule; `lasting` is how long it must hold before it fires."""
    rule: Rule = {"alert": name, "expr": expression}
    if lasting:
        rule["for"] = lasting
    rule["labels"] = {"severity": severity, **labels}
    rule["annotations"] = {"summary": summary, "description": description}
    return rule
