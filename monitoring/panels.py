"""What the dashboards show: rows of panels, each a question with its queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitoring.objectives import CLASSIFIER, DRIFT, GENERATOR, Objectives

RATE: Final = "$__rate_interval"
QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: What it answers.
        queries: Legend, in Grafana's `{{label}}` notation, to PromQL.
        unit: Grafana's name of the unit.
        description: How to read it.
        limit: A line above which it is bad.
        gpu: Whether there is data on machines with a GPU alone.
        heat: Show a histogram's buckets over time.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    description: str = ""
    limit: float | None = None
    gpu: bool = False
    heat: bool = False


Rows = Mapping[str, tuple[Panel, ...]]


def classifier_rows() -> Rows:
    """The classifier's dashboard."""
    return {
        **_traffic(CLASSIFIER),
        "Stages": (
            *_quantiles(
                "Seconds per {stage}", "porcelain_stage_duration_seconds", "stage", CLASSIFIER
            ),
        ),
        "Saturation": (
            *_saturation(CLASSIFIER),
            _heat("Pictures per batch", "porcelain_inference_batch_size", CLASSIFIER, "short"),
        ),
        "Predictions": _predictions(),
        "GPU": _gpu(),
    }


def generator_rows() -> Rows:
    """The generator's dashboard."""
    select = _select(GENERATOR)
    counters = {
        "made": "porcelain_generated_pictures_total",
        "failed": "porcelain_generation_failures_total",
        "given up by callers": "porcelain_generation_dropped_total",
    }
    return {
        **_traffic(GENERATOR),
        "Pictures": (
            Panel(
                "Pictures per second",
                {
                    legend: f"sum(rate({name}{{{select}}}[{RATE}]))"
                    for legend, name in counters.items()
                },
            ),
            Panel(
                "Denoising steps per second",
                {"steps": f"sum(rate(porcelain_denoising_steps_total{{{select}}}[{RATE}]))"},
                description="Each of a whole batch.",
            ),
            *_quantiles(
                "Seconds per picture", "porcelain_generation_seconds_per_picture", "", GENERATOR
            ),
        ),
        "Saturation": (
            *_saturation(GENERATOR),
            Panel(
                "Pictures that wait",
                {"{{instance}}": f"porcelain_generation_waiting{{{select}}}"},
            ),
            *_quantiles(
                "Seconds of waiting for a batch",
                "porcelain_generation_queue_seconds",
                "",
                GENERATOR,
            ),
            _heat("Pictures per batch", "porcelain_generation_batch_size", GENERATOR, "short"),
        ),
        "GPU": (
            Panel(
                "GPU memory of the workers",
                {"{{instance}} {{kind}}": f"porcelain_gpu_memory_bytes{{{select}}}"},
                unit="bytes",
                gpu=True,
            ),
            *_gpu(),
        ),
    }


def _select(service: Objectives) -> str:
    return f'job="{service.job}",instance=~"$instance"'


def _quantile(quantile: float, metric: str, by: str, select: str) -> str:
    buckets = f"sum by ({by}) (rate({metric}_bucket{{{select}}}[{RATE}]))"
    return f"histogram_quantile({quantile}, {buckets})"


def _quantiles(
    title: str,
    metric: str,
    label: str,
    service: Objectives,
    more: str = "",
    limit: float | None = None,
) -> tuple[Panel, ...]:
    """One panel with the quantiles, or with a label one panel per quantile."""
    select = _select(service) + more
    if not label:
        queries = {f"p{q * 100:g}": _quantile(q, metric, "le", select) for q in QUANTILES}
        return (Panel(title, queries, unit="s", limit=limit),)
    return tuple(
        Panel(
            f"{title.format(**{label: label})}, p{q * 100:g}",
            {f"{{{{{label}}}}}": _quantile(q, metric, f"le, {label}", select)},
            unit="s",
            limit=limit,
        )
        for q in QUANTILES
    )


def _traffic(service: Objectives) -> Rows:
    select = _select(service)
    budget = 1 - service.available
    return {
        "Traffic": (
            Panel(
                "Requests per second",
                {
                    "{{route}}": "sum by (route) (rate(porcelain_http_requests_total"
                    f"{{{select}}}[{RATE}]))"
                },
                unit="reqps",
            ),
            Panel(
                "Answers per second by status",
                {
                    "{{status}}": "sum by (status) (rate(porcelain_http_requests_total"
                    f'{{{select},route=~"/v1/.*"}}[{RATE}]))'
                },
                unit="reqps",
            ),
            Panel(
                "Share of errors of the service",
                {
                    "5 minutes": "job:porcelain_requests_failed:ratio_rate5m"
                    f'{{job="{service.job}"}}',
                    "1 hour": f'job:porcelain_requests_failed:ratio_rate1h{{job="{service.job}"}}',
                    "6 hours": f'job:porcelain_requests_failed:ratio_rate6h{{job="{service.job}"}}',
                },
                unit="percentunit",
                description=f"The objective is at most {budget:.1%} over thirty days.",
                limit=budget,
            ),
            Panel(
                f"Share of answers over {service.seconds:g} s",
                {
                    "5 minutes": f'job:porcelain_requests_slow:ratio_rate5m{{job="{service.job}"}}',
                    "1 hour": f'job:porcelain_requests_slow:ratio_rate1h{{job="{service.job}"}}',
                    "6 hours": f'job:porcelain_requests_slow:ratio_rate6h{{job="{service.job}"}}',
                },
                unit="percentunit",
                description=f"The objective is at most {1 - service.fast:.1%} over thirty days.",
                limit=1 - service.fast,
            ),
        ),
        "Latency": _quantiles(
            "Seconds by {route}",
            "porcelain_http_request_duration_seconds",
            "route",
            service,
            ',route=~"/v1/.*"',
            service.seconds,
        ),
    }


def _saturation(service: Objectives) -> tuple[Panel, ...]:
    select = _select(service)
    return (
        Panel(
            "Requests in progress",
            {"{{instance}}": f"porcelain_http_requests_in_progress{{{select}}}"},
        ),
        Panel(
            "Requests in progress per worker",
            {"5 minutes": f'job:porcelain_requests_in_flight:per_worker5m{{job="{service.job}"}}'},
            limit=service.in_flight,
        ),
        Panel(
            "Share refused as too many",
            {"full": f'job:porcelain_requests_refused:ratio_rate5m{{job="{service.job}"}}'},
            unit="percentunit",
        ),
        Panel(
            "Workers",
            {
                "{{instance}} ready": f"porcelain_workers_ready{{{select}}}",
                "{{instance}} expected": f"porcelain_workers_expected{{{select}}}",
            },
        ),
    )


def _heat(title: str, metric: str, service: Objectives, unit: str) -> Panel:
    query = f"sum by (le) (increase({metric}_bucket{{{_select(service)}}}[{RATE}]))"
    return Panel(title, {"{{le}}": query}, unit=unit, heat=True)


def _predictions() -> tuple[Panel, ...]:
    select = _select(CLASSIFIER)
    by_label = tuple(
        Panel(
            f"Predicted {task}",
            {
                "{{label}}": "sum by (label) (rate(porcelain_predictions_total"
                f'{{{select},task="{task}"}}[{RATE}]))'
            },
            description="Pictures per second by most probable label.",
        )
        for task in ("dynasty", "glaze", "kiln", "type")
    )
    return (
        *by_label,
        Panel(
            "Median confidence",
            {
                "{{task}}": "histogram_quantile(0.5, sum by (le, task) "
                f"(rate(porcelain_prediction_confidence_bucket{{{select}}}[{RATE}])))"
            },
            unit="percentunit",
        ),
        Panel(
            'Share of "not sure"',
            {
                "{{task}}": " / ".join(
                    f"sum by (task) (rate(porcelain_{what}_total{{{select}}}[{RATE}]))"
                    for what in ("abstentions", "predictions")
                )
            },
            unit="percentunit",
        ),
        Panel(
            "Drift from the training distribution, one day",
            {"{{task}}": "job_task:porcelain_prediction_drift:psi1d"},
            description="Population stability index of predicted labels: under 0.1 little, above "
            "0.25 significant. Needs some hundreds of predictions.",
            limit=DRIFT,
        ),
        Panel(
            "Pictures like and unlike the training pictures, per second",
            {
                "{{in_domain}}": "sum by (in_domain) (rate(porcelain_domain_pictures_total"
                f"{{{select}}}[{RATE}]))"
            },
            description="A bundle made before there was such a score has none.",
        ),
        Panel(
            "Pictures that cannot be decoded, per second",
            {
                "{{reason}}": "sum by (reason) (rate(porcelain_decode_failures_total"
                f"{{{select}}}[{RATE}]))"
            },
        ),
    )


def _gpu() -> tuple[Panel, ...]:
    """From NVIDIA's DCGM exporter, where the cluster has it."""
    return tuple(
        Panel(
            title,
            {"{{Hostname}} GPU {{gpu}}": f'{metric}{{exported_namespace="porcelain"}}'},
            unit=unit,
            gpu=True,
        )
        for title, metric, unit in (
            ("GPU utilisation", "DCGM_FI_DEV_GPU_UTIL", "percent"),
            ("GPU memory used", "DCGM_FI_DEV_FB_USED", "decmbytes"),
        )
    )
