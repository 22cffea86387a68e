"""Prometheus metrics of what the classifier decides and how long its stages take."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from porcelain.bundle import Bundle
from porcelain.predictor import TaskPrediction

CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ClassifierMetrics:
    """Labels of every series come from the bundle or the code, so that their number is bounded."""

    def __init__(self, bundle: Bundle, registry: CollectorRegistry = REGISTRY) -> None:
        predictions = Counter(
            "porcelain_predictions",
            "Pictures by task and most probable label.",
            ["task", "label"],
            registry=registry,
        )
        abstentions = Counter(
            "porcelain_abstentions",
            "Pictures whose answer to a task was under the abstention threshold.",
            ["task"],
            registry=registry,
        )
        confidence = Histogram(
            "porcelain_prediction_confidence",
            "Calibrated probability of the most probable label.",
            ["task"],
            buckets=CONFIDENCE,
            registry=registry,
        )
        stages = Histogram(
            "porcelain_stage_duration_seconds",
            "Seconds per picture in each stage.",
            ["stage"],
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        failures = Counter(
            "porcelain_decode_failures",
            "Pictures that could not be decoded, by reason.",
            ["reason"],
            registry=registry,
        )
        domain = Counter(
            "porcelain_domain_pictures",
            "Pictures by whether they are like the training pictures.",
            ["in_domain"],
            registry=registry,
        )
        model = Gauge(
            "porcelain_model_info",
            "1 for the model that is served.",
            ["name", "version", "digest"],
            multiprocess_mode="max",
            registry=registry,
        )
        share = Gauge(
            "porcelain_training_label_share",
            "Share of a label among the training pictures that have one: what drift is against.",
            ["task", "label"],
            multiprocess_mode="max",
            registry=registry,
        )
        for task, counts in bundle.classifier.label_counts.items():
            for label, count in counts.items():
                share.labels(task, label).set(count / max(1, sum(counts.values())))
        manifest = bundle.manifest
        model.labels(manifest.name, manifest.version, manifest.digest()).set(1)
        self._predictions = {
            (task, label): predictions.labels(task, label)
            for task, labels in bundle.classifier.labels.items()
            for label in labels
        }
        self._abstentions = {task: abstentions.labels(task) for task in bundle.classifier.labels}
        self._confidence = {task: confidence.labels(task) for task in bundle.classifier.labels}
        self._failures = failures
        self._domain = {value: domain.labels(str(value).lower()) for value in (False, True)}
        self.decode_seconds = stages.labels("decode")
        self.inference_seconds = stages.labels("inference")
        self.explanation_seconds = stages.labels("explanation")

    def predicted(self, answer: Mapping[str, TaskPrediction]) -> None:
        """Count one picture's answers."""
        for task, prediction in answer.items():
            self._predictions[task, prediction.label].inc()
            self._confidence[task].observe(prediction.probability)
            if prediction.abstained:
                self._abstentions[task].inc()

    def judged(self, in_domain: bool) -> None:
        """Count one picture that the bundle's score of likeness was compared for."""
        self._domain[in_domain].inc()

    def not_decoded(self, reason: str) -> None:
        """Count one picture that could not be decoded."""
        self._failures.labels(reason).inc()


class InferenceMetrics:
    """What the inner service counts in its own process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._batch_size = Histogram(
            "porcelain_inference_batch_size",
            "Pictures in one call of the model; only where the model is an inner service.",
            buckets=BATCH_SIZES,
            registry=registry,
        )

    def ran(self, pictures: int) -> None:
        """Count one call with `pictures`."""
        self._batch_size.observe(pictures)
