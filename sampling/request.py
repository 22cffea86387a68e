"""What is asked of a generator; without torch, so that a service's front can name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

OnStep = Callable[[int, int], bool]
"""Called after each step with the steps done and their number; False stops the sampling."""


class SamplingCancelledError(Exception):
    """`on_step` asked to stop; there are no pictures."""


@dataclass(frozen=True)
class SampleRequest:
    """One picture.

    Attributes:
        prompt: What it shows.
        seed: Seed of its own random numbers, which do not depend on the device.
        guidance_scale: Scale of classifier-free guidance; there is none up to 1, which takes half
            the time.
    """

    prompt: str
    seed: int
    guidance_scale: float
