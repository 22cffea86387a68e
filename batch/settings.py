"""Everything that decides a batch job: one frozen object per command."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from porcelain.conformal import LARGEST_COVERAGE, LEAST_COVERAGE
from porcelain.cores import available_cores
from porcelain.images import DEFAULT_LIMITS, DecodeLimits

Device = Literal["cpu", "cuda"]

TOGETHER: dict[Device, int] = {"cpu": 8, "cuda": 64}
"""Pictures in one call of the model: more are no faster per picture, and hold more memory."""

HANDED: Final = 64
"""Pictures that a process is given at a time, at most: a table of eight rows takes two thirds as
long to make and to send as one of 64."""
LEAST_TURNS: Final = 4
"""How often each process gets some, so that none is left without and progress is seen."""


class ClassifySettings(BaseModel):
    """Settings of `porcelain batch classify`.

    Attributes:
        part_size: Pictures per part: what an interruption can lose.
        top_k: Candidates kept per task.
        coverage: Of the label sets; None makes none.
        by_object: Also answer each object of a dataset folder from all its pictures. Every
            candidate is then kept for each picture, and `top_k` for each object.
        known: Tasks whose columns of a dataset folder hold facts.
        max_bytes: Most bytes of one picture.
        max_pixels: Most pixels of one picture, checked before decoding.
        batch_size: Pictures in one call of the model; None takes the device's `TOGETHER`.
        workers: Processes, or Ray actors; None means one per core. What a job holds in memory
            grows with them, and with nothing else.
        device: Where the model runs.
        ray: Address of a Ray cluster, or `local` for one on this machine; None works in process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    part_size: Annotated[int, Field(ge=1, le=100_000)] = 2000
    top_k: Annotated[int, Field(ge=1, le=1000)] = 3
    coverage: Annotated[float | None, Field(ge=LEAST_COVERAGE, le=LARGEST_COVERAGE)] = None
    by_object: bool = False
    known: tuple[str, ...] = ()
    max_bytes: Annotated[int, Field(ge=1024)] = DEFAULT_LIMITS.max_bytes
    max_pixels: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.max_pixels
    batch_size: Annotated[int | None, Field(ge=1, le=4096)] = None
    workers: Annotated[int | None, Field(ge=1, le=4096)] = None
    device: Device = "cpu"
    ray: str | None = None

    @property
    def limits(self) -> DecodeLimits:
        """The decoder's limits."""
        return DecodeLimits(self.max_bytes, self.max_pixels)

    @property
    def together(self) -> int:
        """Pictures in one call of the model."""
        return self.batch_size or TOGETHER[self.device]

    @property
    def worker_count(self) -> int:
        """Processes in all."""
        return self.workers or available_cores()

    def handed(self, pictures: int) -> int:
        """How many of `pictures` a process is given at a time: a multiple of `together`."""
        share = pictures // (self.worker_count * LEAST_TURNS)
        return self.together * max(1, min(share, HANDED) // self.together)

    def identity(self) -> dict[str, Any]:
        """What rows depend on: a run that goes on must have it in common with the first."""
        names = {"part_size", "top_k", "coverage", "by_object", "known", *_LIMITS}
        return self.model_dump(mode="json", include=names)


_LIMITS = ("max_bytes", "max_pixels")


class GenerateSettings(BaseModel):
    """Settings of `porcelain batch generate`.

    Attributes:
        seed: Of the seeds of rows that name none.
        steps: Of the sampler, for rows that name none; None takes the bundle's.
        guidance_scale: Likewise.
        width: In pixels; None takes the bundle's.
        height: Likewise.
        format: Of the pictures.
        allow_unseen: Make combinations of labels that training never saw.
        batch_size: Pictures denoised together: a part, and what an interruption can lose.
            Neighbours change a picture by rounding, so that it decides the bytes.
        base: Where the base model is, if not where the bundle says.
        device: `cpu`, `cuda` or `auto`.
        workers: Ray actors; None means one per GPU, or one on a CPU.
        ray: Address of a Ray cluster, or `local`; None works in process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    guidance_scale: Annotated[float | None, Field(ge=0, le=50)] = None
    width: Annotated[int | None, Field(ge=8)] = None
    height: Annotated[int | None, Field(ge=8)] = None
    format: Literal["png", "jpeg", "webp"] = "png"
    allow_unseen: bool = False
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 8
    base: str | None = None
    device: str = "auto"
    workers: Annotated[int | None, Field(ge=1, le=4096)] = None
    ray: str | None = None

    def identity(self) -> dict[str, Any]:
        """What pictures depend on."""
        return self.model_dump(mode="json", exclude={"base", "device", "workers", "ray"})
