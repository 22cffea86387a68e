"""The generator that the studio asks is the one of the generator's own tests."""

from __future__ import annotations

from tests.services.generator.conftest import generator, generator_base, generator_bundle

__all__ = ["generator", "generator_base", "generator_bundle"]
