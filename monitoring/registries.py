"""The metrics and routes that the services really have, taken from their own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from porcelain.bundle import Bundle, ClassifierInfo, Manifest
from services.classifier.metrics import ClassifierMetrics, InferenceMetrics
from services.generator.metrics import SECONDS, GeneratorMetrics
from services.metrics import HttpMetrics, WorkerMetrics

Kind = Literal["classifier", "generator"]
KINDS: tuple[Kind, ...] = ("classifier", "generator")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: As its series begin; a counter's with `_total`.
        type: counter, gauge or histogram.
        labels: Label names, in order.
        buckets: A histogram's upper bounds, the infinite one left out.
    """

    name: str
    type: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> set[str]:
        """Names that queries may use."""
        if self.type == "histogram":
            return {f"{self.name}_{end}" for end in ("bucket", "sum", "count")}
        return {self.name}


def metrics(kind: Kind) -> list[Metric]:
    """A service's metrics, in order of name."""
    registry = CollectorRegistry()
    bundle = Bundle(path=Path(), manifest=_manifest(kind))
    WorkerMetrics(1, registry)
    if kind == "classifier":
        HttpMetrics(registry=registry)
        ClassifierMetrics(bundle, registry)
        InferenceMetrics(registry)
    else:
        HttpMetrics(SECONDS, registry)
        GeneratorMetrics(bundle, registry)
    return sorted((_metric(one) for one in _collectors(registry)), key=lambda metric: metric.name)


def _collectors(registry: CollectorRegistry) -> Sequence[MetricWrapperBase]:
    found = list(registry._collector_to_names)
    assert all(isinstance(one, MetricWrapperBase) for one in found)
    return [one for one in found if isinstance(one, MetricWrapperBase)]


def _metric(collector: MetricWrapperBase) -> Metric:
    total = "_total" if isinstance(collector, Counter) else ""
    bounds = collector._upper_bounds[:-1] if isinstance(collector, Histogram) else ()
    return Metric(
        f"{collector._name}{total}",
        str(collector._type),
        collector._documentation or "",
        tuple(collector._labelnames),
        tuple(bounds),
    )


def _manifest(kind: Kind) -> Manifest:
    info = ClassifierInfo(
        labels={"glaze": ["celadon"]},
        label_counts={"glaze": {"celadon": 1}},
        input_size=224,
        resize="letterbox",
        backbone="any",
        temperatures={"glaze": 1.0},
        abstention_thresholds={"glaze": 0.5},
        selective_accuracy=0.95,
        activation_grid=(7, 7),
    )
    return Manifest(
        kind=kind,
        name="any",
        version="1",
        created=datetime.now(UTC),
        code_version="1",
        dataset_digest="0",
        files={},
        classifier=info if kind == "classifier" else None,
    )
