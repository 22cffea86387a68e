"""The generator fetches nothing for a caller and reads no pickle, on any of its doors."""

from __future__ import annotations

from pathlib import Path

from tests.services.attacks import check_doors, exploit_everywhere, nobody_calls
from tests.services.generator.conftest import GeneratorServer


def test_no_door_of_the_generator_reads_a_pickle(
    generator: GeneratorServer, tmp_path: Path
) -> None:
    check_doors(generator.running, sockets=0)
    statuses = exploit_everywhere(generator.running, tmp_path / "exploited")
    assert set(statuses) <= {400, 404, 405, 415}


def test_the_generator_fetches_nothing(generator: GeneratorServer) -> None:
    statuses = nobody_calls(generator.running)
    assert {404, 422} <= statuses
    assert all(status < 500 for status in statuses)
