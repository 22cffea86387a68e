"""Prometheus' recording and alert rules, made from the objectives.

Budgets are watched in several windows at once (Beyer et al., The Site Reliability Workbook, 2018,
chapter 5): a long window for significance, and a short one so that the alert ends soon after
its cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from monitoring.objectives import (
    ABSTAINED_SHARE,
    BAD_INPUT_SHARE,
    DRIFT,
    ENOUGH,
    QUEUE_SECONDS,
    REFUSED_SHARE,
    SERVICES,
    Objectives,
)

Rule = dict[str, Any]

EVALUATION_SECONDS: Final = 30
WINDOWS: Final = {
    "5m": 300,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "6h": 21600,
    "1d": 86400,
    "3d": 259200,
}
API: Final = 'route=~"/v1/.*"'
BAD_INPUT: Final = 'status=~"400|408|413|415|422"'
CLASSIFIER_JOB: Final = 'job="porcelain-classifier"'


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


def rule_groups(speed: float = 1.0) -> dict[str, Any]:
    """The content of a rule file; `speed` makes every duration so many times shorter."""
    clock = Clock(speed)
    interval = clock.span(EVALUATION_SECONDS)
    groups = {
        "porcelain-objectives": [*_ratios(clock), *_burning(clock)],
        "porcelain-health": [*_health(clock)],
        "porcelain-saturation": [*_saturation(clock)],
        "porcelain-predictions": [*_predictions(clock)],
    }
    return {
        "groups": [
            {"name": name, "interval": interval, "rules": rules} for name, rules in groups.items()
        ]
    }


def _ratios(clock: Clock) -> Iterator[Rule]:
    for name, seconds in WINDOWS.items():
        window = clock.span(seconds)
        total = f"sum by (job) (rate(porcelain_http_requests_total{{{API}}}[{window}]))"
        failed = (
            f'sum by (job) (rate(porcelain_http_requests_total{{{API},status=~"5.."}}[{window}]))'
        )
        # Where nothing ever failed there is no series to divide.
        yield _record(
            f"job:porcelain_requests_failed:ratio_rate{name}",
            f"({failed} or 0 * {total}) / {total}",
        )
        for service in SERVICES:
            yield _record(
                f"job:porcelain_requests_slow:ratio_rate{name}",
                f"1 - {_within(service, window)} / {_answered(service, window)}",
                service=service.kind,
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


def _burning(clock: Clock) -> Iterator[Rule]:
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
                yield _alert(
                    "PorcelainErrorBudgetBurn" if what == "failed" else "PorcelainSlow",
                    f"{long} > {limit} and {short} > {limit}",
                    burn.severity,
                    f"{{{{ $value | humanizePercentage }}}} of {service.kind} {words}",
                    f"Over {burn.long} the budget of {1 - objective:.1%} was spent {burn.rate:g} "
                    "times as fast as lasts for thirty days.",
                    service=service.kind,
                    window=burn.long,
                )


def _health(clock: Clock) -> Iterator[Rule]:
    for service in SERVICES:
        job = f'job="{service.job}"'
        yield _alert(
            "PorcelainDown",
            f"up{{{job}}} == 0",
            "page",
            f"{service.kind} {{{{ $labels.instance }}}} does not answer",
            "Prometheus cannot read its metrics.",
            lasting=clock.span(120),
            service=service.kind,
        )
        yield _alert(
            "PorcelainAbsent",
            f"absent(up{{{job}}})",
            "page",
            f"There is no {service.kind}",
            "Prometheus finds no instance: nothing runs, or nothing is discovered.",
            lasting=clock.span(300),
            service=service.kind,
        )
        # A pod that starts has fewer workers than it will: only after it had them all, or when
        # starting takes too long, is one missing.
        few = f"porcelain_workers_ready{{{job}}} < porcelain_workers_expected{{{job}}}"
        had = f"max_over_time(porcelain_workers_ready{{{job}}}[{clock.span(1800)}])"
        yield _alert(
            "PorcelainWorkerLost",
            f"{few} and {had} >= porcelain_workers_expected{{{job}}}",
            "page",
            f"{service.kind} {{{{ $labels.instance }}}} has {{{{ $value }}}} workers left",
            "A worker process died and was not replaced: capacity is lost until the pod restarts.",
            lasting=clock.span(60),
            service=service.kind,
        )
        yield _alert(
            "PorcelainNotReady",
            few,
            "page",
            f"{service.kind} {{{{ $labels.instance }}}} has {{{{ $value }}}} workers ready",
            "Starting takes longer than it should; see the pod's log.",
            lasting=clock.span(service.startup),
            service=service.kind,
        )
    yield _alert(
        "PorcelainGenerationFails",
        f"increase(porcelain_generation_failures_total[{clock.span(900)}]) > 0",
        "ticket",
        "generator {{ $labels.instance }} could not make {{ $value | humanize }} pictures",
        "Sampling raised; the log has the exception.",
    )


def _saturation(clock: Clock) -> Iterator[Rule]:
    window = clock.span(300)
    total = f"sum by (job) (rate(porcelain_http_requests_total{{{API}}}[{window}]))"
    for name, selector in (("refused", 'status="429"'), ("bad_input", BAD_INPUT)):
        some = f"sum by (job) (rate(porcelain_http_requests_total{{{API},{selector}}}[{window}]))"
        yield _record(
            f"job:porcelain_requests_{name}:ratio_rate5m", f"({some} or 0 * {total}) / {total}"
        )
    yield _record(
        "job:porcelain_requests_in_flight:per_worker5m",
        f"sum by (job) (avg_over_time(porcelain_http_requests_in_progress[{window}])) "
        "/ sum by (job) (porcelain_workers_ready)",
    )
    queue = f"sum by (job, le) (rate(porcelain_generation_queue_seconds_bucket[{window}]))"
    yield _record(
        "job:porcelain_generation_queue_seconds:p90_5m", f"histogram_quantile(0.9, {queue})"
    )
    yield _alert(
        "PorcelainRefuses",
        f"job:porcelain_requests_refused:ratio_rate5m > {REFUSED_SHARE}",
        "page",
        "{{ $labels.job }} refuses {{ $value | humanizePercentage }} of its requests as too many",
        "More replicas are needed, or a caller sends too much.",
        lasting=clock.span(300),
    )
    for service in SERVICES:
        yield _alert(
            "PorcelainSaturated",
            f'job:porcelain_requests_in_flight:per_worker5m{{job="{service.job}"}} '
            f"> {service.in_flight}",
            "ticket",
            f"{service.kind}: {{{{ $value | humanize }}}} requests wait or run per worker",
            "The autoscaler is at its maximum, or cannot place more pods.",
            lasting=clock.span(600),
            service=service.kind,
        )
    yield _alert(
        "PorcelainQueueLong",
        f"job:porcelain_generation_queue_seconds:p90_5m > {QUEUE_SECONDS}",
        "ticket",
        "One picture in ten waits longer than {{ $value | humanizeDuration }} for its batch",
        "More generator replicas are needed, or a caller asks for too much.",
        lasting=clock.span(600),
    )
    yield _alert(
        "PorcelainBadInput",
        f"job:porcelain_requests_bad_input:ratio_rate5m > {BAD_INPUT_SHARE}",
        "ticket",
        "{{ $value | humanizePercentage }} of {{ $labels.job }}'s requests are unusable",
        "See porcelain_decode_failures_total and the log's reasons for what is sent.",
        lasting=clock.span(600),
    )


def _predictions(clock: Clock) -> Iterator[Rule]:
    day = clock.span(86400)
    made = f"increase(porcelain_predictions_total{{{CLASSIFIER_JOB}}}[{day}])"
    unsure = f"increase(porcelain_abstentions_total{{{CLASSIFIER_JOB}}}[{day}])"
    predictions = f"sum by (job, task) ({made})"
    yield _record("job_task:porcelain_predictions:increase1d", predictions)
    yield _record(
        "job_task:porcelain_abstentions:ratio1d", f"sum by (job, task) ({unsure}) / {predictions}"
    )
    yield _record(
        "job_task_label:porcelain_predictions:share1d",
        f"sum by (job, task, label) ({made}) "
        "/ on (job, task) group_left job_task:porcelain_predictions:increase1d",
    )
    now, then = (
        f"clamp_min({share}, 0.001)"
        for share in (
            "job_task_label:porcelain_predictions:share1d",
            f"max by (job, task, label) (porcelain_training_label_share{{{CLASSIFIER_JOB}}})",
        )
    )
    yield _record(
        "job_task:porcelain_prediction_drift:psi1d",
        f"sum by (job, task) (({now} - {then}) * ln({now} / {then}))",
    )
    enough = f"and job_task:porcelain_predictions:increase1d > {ENOUGH}"
    yield _alert(
        "PorcelainAbstains",
        f"job_task:porcelain_abstentions:ratio1d > {ABSTAINED_SHARE} {enough}",
        "ticket",
        '"Not sure" about {{ $labels.task }} for {{ $value | humanizePercentage }} of pictures',
        "What is sent is unlike what the model has learned from, or hard to see.",
        lasting=clock.span(3600),
    )
    yield _alert(
        "PorcelainDrift",
        f"job_task:porcelain_prediction_drift:psi1d > {DRIFT} {enough}",
        "ticket",
        'Predicted {{ $labels.task }} differs from training (PSI {{ printf "%.2f" $value }})',
        "Other kinds are sent than the model was trained on: look at some, and think of training "
        "anew.",
        lasting=clock.span(3600),
    )


def _record(name: str, expression: str, **labels: str) -> Rule:
    return {"record": name, "expr": expression, **({"labels": labels} if labels else {})}


def _alert(
    name: str,
    expression: str,
    severity: str,
    summary: str,
    description: str,
    *,
    lasting: str = "",
    **labels: str,
) -> Rule:
    rule: Rule = {"alert": name, "expr": expression}
    if lasting:
        rule["for"] = lasting
    rule["labels"] = {"severity": severity, **labels}
    rule["annotations"] = {"summary": summary, "description": description}
    return rule
