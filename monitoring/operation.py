"""Rules about whether the services run, and whether they are large enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monitoring.objectives import BAD_INPUT_SHARE, QUEUE_SECONDS, REFUSED_SHARE, SERVICES
from monitoring.ruling import API, Clock, Rule, alert, record

BAD_INPUT: Final = 'status=~"400|408|413|415|422"'


def health(clock: Clock) -> Iterator[Rule]:
    """Instances and workers that are missing; pictures that cannot be made."""
    for service in SERVICES:
        job = f'job="{service.job}"'
        yield alert(
            "PorcelainDown",
            f"up{{{job}}} == 0",
            "page",
            f"{service.kind} {{{{ $labels.instance }}}} does not answer",
            "Prometheus cannot read its metrics.",
            lasting=clock.span(120),
            service=service.kind,
        )
        yield alert(
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
        yield alert(
            "PorcelainWorkerLost",
            f"{few} and {had} >= porcelain_workers_expected{{{job}}}",
            "page",
            f"{service.kind} {{{{ $labels.instance }}}} has {{{{ $value }}}} workers left",
            "A worker died, and what replaces it does not become ready; see the log of the pod.",
            lasting=clock.span(60),
            service=service.kind,
        )
        yield alert(
            "PorcelainNotReady",
            few,
            "page",
            f"{service.kind} {{{{ $labels.instance }}}} has {{{{ $value }}}} workers ready",
            "Starting takes longer than it should; see the pod's log.",
            lasting=clock.span(service.startup),
            service=service.kind,
        )
    yield alert(
        "PorcelainGenerationFails",
        f"increase(porcelain_generation_failures_total[{clock.span(900)}]) > 0",
        "ticket",
        "generator {{ $labels.instance }} could not make {{ $value | humanize }} pictures",
        "Sampling raised; the log has the exception.",
    )


def saturation(clock: Clock) -> Iterator[Rule]:
    """Requests refused, waiting, or of no use."""
    window = clock.span(300)
    total = f"sum by (job) (rate(porcelain_http_requests_total{{{API}}}[{window}]))"
    shares = {
        "refused": f'porcelain_http_requests_total{{{API},status="429"}}',
        "bad_input": f"porcelain_http_requests_total{{{API},{BAD_INPUT}}}",
    }
    for name, selected in shares.items():
        some = f"sum by (job) (rate({selected}[{window}]))"
        yield record(
            f"job:porcelain_requests_{name}:ratio_rate5m", f"({some} or 0 * {total}) / {total}"
        )
    yield record(
        "job:porcelain_requests_in_flight:per_worker5m",
        f"sum by (job) (avg_over_time(porcelain_http_requests_in_progress[{window}])) "
        "/ sum by (job) (porcelain_workers_ready)",
    )
    queue = f"sum by (job, le) (rate(porcelain_generation_queue_seconds_bucket[{window}]))"
    yield record(
        "job:porcelain_generation_queue_seconds:p90_5m", f"histogram_quantile(0.9, {queue})"
    )
    yield alert(
        "PorcelainRefuses",
        f"job:porcelain_requests_refused:ratio_rate5m > {REFUSED_SHARE}",
        "page",
        "{{ $labels.job }} refuses {{ $value | humanizePercentage }} of its requests as too many",
        "More replicas are needed, or a caller sends too much.",
        lasting=clock.span(300),
    )
    for service in SERVICES:
        yield alert(
            "PorcelainSaturated",
            f'job:porcelain_requests_in_flight:per_worker5m{{job="{service.job}"}} '
            f"> {service.in_flight}",
            "ticket",
            f"{service.kind}: {{{{ $value | humanize }}}} requests wait or run per worker",
            "The autoscaler is at its maximum, or cannot place more pods.",
            lasting=clock.span(600),
            service=service.kind,
        )
    yield alert(
        "PorcelainQueueLong",
        f"job:porcelain_generation_queue_seconds:p90_5m > {QUEUE_SECONDS}",
        "ticket",
        "One picture in ten waits longer than {{ $value | humanizeDuration }} for its batch",
        "More generator replicas are needed, or a caller asks for too much.",
        lasting=clock.span(600),
    )
    yield alert(
        "PorcelainBadInput",
        f"job:porcelain_requests_bad_input:ratio_rate5m > {BAD_INPUT_SHARE}",
        "ticket",
        "{{ $value | humanizePercentage }} of {{ $labels.job }}'s requests are unusable",
        "See porcelain_decode_failures_total and the log's reasons for what is sent.",
        lasting=clock.span(600),
    )
