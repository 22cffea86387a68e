"""What the classifier's service, and the jobs, promise for bad days; measured on this machine.

    python -m benchmarks.stress overload --bundle DIR --pictures DIR
    python -m benchmarks.stress all --seconds 60

Each scenario prints a table of promises, what was measured, and whether they were kept; the exit
status is 1 if one was broken. The callers run on the same machine and take part of its cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.corpus import SHARES, add_input_options, make_corpus
from benchmarks.references.random_bundle import chosen_bundle
from benchmarks.stressing.bundles import bundles
from benchmarks.stressing.disk import disk_full
from benchmarks.stressing.overload import overload
from benchmarks.stressing.promises import Promise, show
from benchmarks.stressing.replicas import Setting
from benchmarks.stressing.stopping import worker_killed
from benchmarks.stressing.traffic import mixed

SCENARIOS: dict[str, Callable[[Setting], list[Promise]]] = {
    "overload": overload,
    "worker-killed": worker_killed,
    "mixed": mixed,
    "bundles": bundles,
    "disk-full": disk_full,
}
ORDINARY = {"original": 0.7, "1024 px": 0.3}
"""Sizes of pictures; --mixed-sizes adds 2048 px and 12 megapixels."""


def run(options: argparse.Namespace, folder: Path) -> bool:
    """Run the scenarios that were asked for; whether all promises were kept."""
    bundle = chosen_bundle(options, folder)
    shares = SHARES if options.mixed_sizes else ORDINARY
    corpus = make_corpus(options.pictures, options.count, shares)
    print(corpus.description, flush=True)
    names = list(SCENARIOS) if options.scenario == "all" else [options.scenario]
    kept = True
    for name in names:
        work = folder / name
        work.mkdir()
        seconds, rate = options.seconds, options.rate
        setting = Setting(bundle.resolve(), corpus.pictures, work, seconds, rate)
        scenario = SCENARIOS[name]
        kept &= show(f"{name}: {(scenario.__doc__ or '').strip()}", scenario(setting))
    return kept


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scenario", choices=[*SCENARIOS, "all"])
    add_input_options(parser)
    parser.add_argument("--count", type=int, default=60, help="pictures in the mix")
    parser.add_argument("--mixed-sizes", action="store_true", help="also very large pictures")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of load, in overload and mixed"
    )
    parser.add_argument(
        "--rate", type=float, help="most requests per second in mixed; default: as many as go"
    )
    with tempfile.TemporaryDirectory(prefix="porcelain-stress-") as folder:
        kept = run(parser.parse_args(), Path(folder))
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
