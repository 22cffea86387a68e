"""Rules about the budgets of errors and of slow answers.

Budgets are watched in several windows at once (Beyer et al., The Site Reliability Workbook, 2018,
chapter 5): a long window for significance, and a short one so that the alert ends soon after
its cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from monitoring.objectives import SERVICES, Objectives
from monitoring.ruling import API, Clock, Rule, alert, record

WINDOWS: Final = {
    "5m": 300,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "6h": 21600,
    "1d": 86400,
    "3d": 259200,
}


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget may burn: `rate` times as fast as lasts for thirty days."""

    rate: float
    long: str
    short: str
    severity: str


BURNS: Final = (
    Burn(14.4, "1h", "5m", "page"),
    Burn(6.0, "6h", "30m", "page"),
    Burn(3.0, "1d", "2h", "ticket"),
    Burn(1.0, "3d", "6h", "ticket"),
)


def ratios(clock: Clock) -> Iterator[Rule]:
    """Shares of failed and of slow answers, in every window."""
    for name, seconds in WINDOWS.items():
        window = clock.span(seconds)
        total = f"sum by (job) (rate(porcelain_http_requests_total{{{API}}}[{window}]))"
        failed = (
            f'sum by (job) (rate(porcelain_http_requests_total{{{API},status=~"5.."}}[{window}]))'
        )
        # Where nothing ever failed there is no series to divide.
        yield record(
            f"job:porcelain_requests_failed:ratio_rate{name}",
            f"({failed} or 0 * {total}) / {total}",
        )
        for service in SERVICES:
            yield record(
                f"job:porcelain_requests_slow:ratio_rate{name}",
                f"1 - {_within(service, window)} / {_answered(service, window)}",
                service=service.kind,
            )


def burning() -> Iterator[Rule]:
    """Alerts for budgets that burn too fast."""
    for service in SERVICES:
        for burn in BURNS:
            for what, objective, words in (
                ("failed", service.available, "answers are errors of the service"),
                ("slow", service.fast, f"answers take longer than {service.seconds:g} s"),
            ):
                limit = f"{burn.rate * (1 - objective):.6g}"
                long, short = (
                    f'job:porcelain_requests_{what}:ratio_rate{window}{{job="{service.job}"}}'
                    for window in (burn.long, burn.short)
                )
                yield alert(
                    "PorcelainErrorBudgetBurn" if what == "failed" else "PorcelainSlow",
                    f"{long} > {limit} and {short} > {limit}",
                    burn.severity,
                    f"{{{{ $value | humanizePercentage }}}} of {service.kind} {words}",
                    f"Over {burn.long} the budget of {1 - objective:.1%} was spent {burn.rate:g} "
                    "times as fast as lasts for thirty days.",
                    service=service.kind,
                    window=burn.long,
                )


def _within(service: Objectives, window: str) -> str:
    selector = f'job="{service.job}",route="{service.route}",le="{service.seconds}"'
    return (
        "sum by (job) (rate(porcelain_http_request_duration_seconds_bucket"
        f"{{{selector}}}[{window}]))"
    )


def _answered(service: Objectives, window: str) -> str:
    selector = f'job="{service.job}",route="{service.route}"'
    return (
        "sum by (job) (rate(porcelain_http_request_duration_seconds_count"
        f"{{{selector}}}[{window}]))"
    )
