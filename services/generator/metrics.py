"""Prometheus metrics of what the generator makes and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from porcelain.bundle import Bundle

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class GeneratorMetrics:
    """No series has a label that a caller chooses."""

    def __init__(self, bundle: Bundle, registry: CollectorRegistry = REGISTRY) -> None:
        self.pictures = Counter("porcelain_generated_pictures", "Pictures made.", registry=registry)
        self.failures = Counter(
            "porcelain_generation_failures", "Pictures that could not be made.", registry=registry
        )
        self.dropped = Counter(
            "porcelain_generation_dropped",
            "Pictures not made because their caller hung up.",
            registry=registry,
        )
        self.steps = Counter(
            "porcelain_denoising_steps",
            "Denoising steps, each of a whole batch.",
            registry=registry,
        )
        self.seconds_per_picture = Histogram(
            "porcelain_generation_seconds_per_picture",
            "Seconds of a batch, divided by its pictures; once per picture.",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "porcelain_generation_batch_size",
            "Pictures denoised together.",
            buckets=BATCH_SIZES,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "porcelain_generation_queue_seconds",
            "Seconds that a picture waited for its batch to begin.",
            buckets=(0.01, *SECONDS),
            registry=registry,
        )
        self.waiting = Gauge(
            "porcelain_generation_waiting",
            "Pictures that wait for a batch.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._memory = Gauge(
            "porcelain_gpu_memory_bytes",
            "GPU memory of a worker: allocated now, reserved now, and the most reserved so far.",
            ["kind"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        model = Gauge(
            "porcelain_model_info",
            "1 for the model that is served.",
            ["name", "version", "digest"],
            multiprocess_mode="max",
            registry=registry,
        )
        manifest = bundle.manifest
        model.labels(manifest.name, manifest.version, manifest.digest()).set(1)

    def made(self, size: int, steps: int, seconds: float) -> None:
        """Count one batch of `size` pictures that took `steps` and `seconds`."""
        self.batch_size.observe(size)
        self.steps.inc(steps)
        self.pictures.inc(size)
        for _ in range(size):
            self.seconds_per_picture.observe(seconds / size)

    def gpu_memory(self, kinds: Mapping[str, int]) -> None:
        """Set the bytes of GPU memory; nothing where there is none."""
        for kind, count in kinds.items():
            self._memory.labels(kind).set(count)
