"""Settings of the generator service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.settings import ServiceSettings


class GeneratorSettings(ServiceSettings):
    """The generator's settings; each is read from `PORCELAIN_` + its name in capitals.

    Attributes:
        workers: Processes, each with the whole model; 0 means one. With several GPUs, one each.
        shutdown_seconds: How long requests in progress may take to finish on shutdown.
        base: Where the base model is, if not where the bundle says: a folder or a hub id.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.
        dtype: Of the weights; `auto` is float32 on a CPU and float16 on a GPU.
        compile: Compile the UNet: faster on a GPU, minutes slower to be ready.
        threads: torch's threads per worker; 0 means the cores shared out among the workers.
        max_batch: Most pictures denoised at a time.
        gather_ms: A batch that is not full begins when this passes without a new request; ten
            times this while fewer wait than were just answered together.
        max_waiting: Most pictures that may wait per worker; beyond it 429.
        max_count: Most pictures in one request.
        max_steps: Most steps of one request.
        max_guidance_scale: Largest guidance of one request.
        max_body_bytes: Most bytes of a request's body.
        certificate: Chain (PEM) that signs pictures' content credentials; none signs nothing.
        certificate_key: Its private key (PEM).
        demo_certificate: A folder with a chain of one's own, made there on first use; to try
            content credentials without an authority.
    """

    shutdown_seconds: int = Field(120, ge=1)
    base: str | None = None
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = False
    threads: int = Field(0, ge=0, le=256)
    max_batch: int = Field(8, ge=1, le=256)
    gather_ms: float = Field(10.0, ge=0, le=1000)
    max_waiting: int = Field(64, ge=1)
    max_count: int = Field(16, ge=1)
    max_steps: int = Field(100, ge=1, le=1000)
    max_guidance_scale: float = Field(20.0, ge=1, le=50)
    max_body_bytes: int = Field(64 * 1024, ge=1024)
    certificate: Path | None = None
    certificate_key: Path | None = None
    demo_certificate: Path | None = None

    @property
    def worker_count(self) -> int:
        """`workers`, or one: the model fills a device."""
        return self.workers or 1

    @property
    def count_limit(self) -> int:
        """Most pictures in one request: what could never wait is refused for good."""
        return min(self.max_count, self.max_waiting)
