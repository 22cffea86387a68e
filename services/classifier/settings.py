"""Settings of the classifier service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from porcelain.images import DEFAULT_LIMITS, DecodeLimits
from services.settings import ServiceSettings


class ClassifierSettings(ServiceSettings):
    """The classifier's settings; each is read from `PORCELAIN_` + its name in capitals.

    Attributes:
        device: `cpu`, or `cuda` with onnxruntime-gpu.
        inference: Where the model runs: `worker`, inside each API worker; `service`, in an inner
            BentoML service of its own that batches requests; `auto`, `worker` on a CPU (where a
            batch is no faster per picture) and `service` on a GPU.
        threads: ONNX Runtime threads per worker.
        jobs: With an inner service, pictures that one worker decodes at a time.
        gpus: With `cuda`, how many GPUs, each with a process of its own.
        max_wait_seconds: How long a picture may wait for the model; where it would be longer, 429
            at once.
        max_explain_wait_seconds: Likewise for an explanation, which takes a hundred times as long.
        gpu_batch: Most pictures in one batch of the inner service.
        gpu_latency_ms: Longest that a picture may wait there before 503.
        model_seconds: Longest that the inner service may take for an answer before 503.
        max_bytes: Most bytes of one picture.
        max_pixels: Most pixels of one picture, checked before decoding.
        max_batch: Most pictures in one request.
        max_batch_bytes: Most bytes of a request with several pictures.
        max_top_k: Largest `top_k`.
        check_watermark: Also look for our generators' watermark where a request does not say
            whether to. It decodes every picture once more, at full size; the marks in its metadata
            are looked for in any case.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    inference: Literal["auto", "worker", "service"] = "auto"
    threads: int = Field(1, ge=1, le=256)
    jobs: int = Field(1, ge=1, le=64)
    gpus: int = Field(1, ge=1, le=16)
    max_wait_seconds: float = Field(0.25, gt=0)
    max_explain_wait_seconds: float = Field(10.0, gt=0)
    gpu_batch: int = Field(32, ge=1, le=1024)
    gpu_latency_ms: int = Field(10_000, ge=1)
    model_seconds: float = Field(15.0, gt=0)
    max_bytes: int = Field(DEFAULT_LIMITS.max_bytes, ge=1024)
    max_pixels: int = Field(DEFAULT_LIMITS.max_pixels, ge=1)
    max_batch: int = Field(64, ge=1, le=1024)
    max_batch_bytes: int = Field(128 * 1024 * 1024, ge=1024)
    max_top_k: int = Field(50, ge=1)
    check_watermark: bool = False

    @property
    def inner_service(self) -> bool:
        """Whether the model runs in a process of its own."""
        if self.inference == "auto":
            return self.device == "cuda"
        return self.inference == "service"

    @property
    def limits(self) -> DecodeLimits:
        """The decoder's limits."""
        return DecodeLimits(self.max_bytes, self.max_pixels)
