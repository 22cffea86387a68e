"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is slow; that says nothing of the code.
settings.register_profile(
    "busy machines", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machines")
