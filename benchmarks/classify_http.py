"""Measures the classifier service beside its references, in turns, on this machine.

    python -m benchmarks.classify_http [--bundle DIR] [--pictures DIR] [--rounds N]

1. ours: `porcelain serve classifier`, two workers;
   nginx: two of it with one worker each, behind the shipped nginx (its limit on one address's rate
   lifted), where nginx is installed;
2. FastAPI: the same ONNX file behind FastAPI and uvicorn (benchmarks/references/fastapi_app.py);
3. in process: our decoding and inference in two threads, or two processes if faster, no HTTP.

`--originals` sends small photographs as they are. Each round measures all, so that other work on
the machine meets all alike; the ratios are medians over rounds. Processor time per picture says the
same with less noise where other work takes the cores: it is what throughput comes to on a machine
of its own. Then one 12-megapixel
request against plain Pillow, start-up and memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.corpus import ORIGINALS, SHARES, add_input_options, make_corpus, twelve_megapixels
from benchmarks.load import BOUNDARY, LoadGenerator, form_body
from benchmarks.nginx_proxy import NGINX, proxy
from benchmarks.references.in_process import Rate, with_processes, with_threads
from benchmarks.references.random_bundle import chosen_bundle
from benchmarks.servers import Running, maps, serving
from porcelain.cli.local_server import free_port

CONNECTIONS = 8
WORKERS = 2


@dataclass(frozen=True)
class Measured:
    """One measurement; latencies and processor time per picture in milliseconds."""

    throughput: float
    cpu: float
    p50: float = 0.0
    p99: float = 0.0


@dataclass
class Rounds:
    """What the rounds measured."""

    ours: list[Measured] = field(default_factory=list)
    proxied: list[Measured] = field(default_factory=list)
    fastapi: list[Measured] = field(default_factory=list)
    in_process: list[Measured] = field(default_factory=list)


def ours_command(bundle: Path, port: int, workers: int = WORKERS) -> list[str]:
    """Our service as a user starts it."""
    command = [sys.executable, "-m", "porcelain.cli.main", "serve", "classifier"]
    return [*command, "--bundle", str(bundle), "--port", str(port), "--workers", str(workers)]


def behind_nginx(stack: ExitStack, bundle: Path, folder: Path) -> Running | None:
    """Two one-worker replicas behind the shipped nginx; None where nginx is not installed."""
    if NGINX is None:
        return None
    ports = [free_port() for _ in range(WORKERS)]
    begun = time.perf_counter()
    started = [
        stack.enter_context(
            serving(ours_command(bundle, port, 1), port, "/readyz", folder / f"{port}.log")
        )
        for port in ports
    ]
    port = free_port()
    names = [f"127.0.0.1:{one}" for one in ports]
    lifted = {"rate=200r/s": "rate=100000r/s"}
    process = stack.enter_context(proxy(folder / "nginx", port, names, lifted))
    seconds = time.perf_counter() - begun
    others = tuple(one.pid for one in started)
    return Running(f"http://127.0.0.1:{port}", seconds, process.pid, others)


def fastapi_command(port: int) -> list[str]:
    """The reference as its author would start it."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.references.fastapi_app:app"]
    command += ["--workers", str(WORKERS), "--port", str(port), "--loop", "uvloop"]
    return [*command, "--http", "httptools", "--no-access-log"]


def measure_throughput(
    bundle: Path,
    pictures: list[bytes],
    ours: Running,
    proxied: Running | None,
    fastapi: Running,
    options: argparse.Namespace,
) -> Rounds:
    """Alternate between them."""
    rounds = Rounds()
    limit = fastest_in_process(bundle, pictures)
    with tempfile.TemporaryDirectory() as folder:
        load = LoadGenerator(pictures, Path(folder))
        for server in filter(None, (ours, proxied, fastapi)):
            load.run(server.url + "/v1/classify", 2, CONNECTIONS)
        for number in range(options.rounds):
            rounds.ours.append(measure(load, ours, options.seconds))
            if proxied is not None:
                rounds.proxied.append(measure(load, proxied, options.seconds))
            rounds.fastapi.append(measure(load, fastapi, options.seconds))
            rate = limit(options.seconds)
            rounds.in_process.append(Measured(rate.throughput, rate.cpu))
            print(
                f"round {number + 1}: ours {rounds.ours[-1].throughput:.1f}/s, "
                f"FastAPI {rounds.fastapi[-1].throughput:.1f}/s, "
                f"in process {rate.throughput:.1f}/s",
                file=sys.stderr,
            )
    return rounds


def measure(load: LoadGenerator, server: Running, seconds: float) -> Measured:
    """One run against one server."""
    used = server.cpu_seconds()
    result = load.run(server.url + "/v1/classify", seconds, CONNECTIONS)
    used = server.cpu_seconds() - used
    return Measured(result.throughput, used / result.requests * 1000, result.p50, result.p99)


def fastest_in_process(bundle: Path, pictures: list[bytes]) -> Callable[[float], Rate]:
    """Two threads or two processes, whichever answers more."""

    def threads(seconds: float) -> Rate:
        return with_threads(bundle, pictures, seconds, WORKERS)

    def processes(seconds: float) -> Rate:
        return with_processes(bundle, pictures, seconds, WORKERS)

    return max(threads, processes, key=lambda way: way(2.0).throughput)


def send(url: str, picture: bytes) -> bytes:
    """One request on a connection of its own."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    request = urllib.request.Request(url, form_body(picture), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


def measure_twelve_megapixels(
    bundle: Path, ours: Running, pictures: list[bytes]
) -> tuple[float, float, int]:
    """Seconds per request of ours, seconds of plain Pillow in process, and equal top-1 labels."""
    import json

    os.environ["BUNDLE"] = str(bundle)
    from benchmarks.references import fastapi_app

    equal = 0
    served: list[float] = []
    plain: list[float] = []
    for picture in [pictures[0], *pictures]:  # the first warms both up
        begun = time.perf_counter()
        answer = json.loads(send(ours.url + "/v1/classify", picture))["predictions"]
        middle = time.perf_counter()
        expected = fastapi_app.predict(fastapi_app.load(picture), 3)
        plain.append(time.perf_counter() - middle)
        served.append(middle - begun)
        equal += all(answer[task]["label"] == expected[task][0]["label"] for task in expected)
    first = all(answer)  # every task was answered
    return statistics.median(served[1:]), statistics.median(plain[1:]), equal - int(first)


def report(rounds: Rounds, description: str) -> None:
    """Print throughput, latencies and ratios."""
    console = Console(width=110)
    table = Table(title=f"Classify over HTTP, {CONNECTIONS} connections, {WORKERS} workers")
    for column in ("", "pictures/s", "p50 ms", "p99 ms", "CPU ms/picture"):
        table.add_column(column, justify="right" if column else "left")
    for name, runs in (
        ("ours", rounds.ours),
        *([("ours, two replicas behind nginx", rounds.proxied)] if rounds.proxied else []),
        ("FastAPI", rounds.fastapi),
        ("in process, no HTTP", rounds.in_process),
    ):
        keys = ("throughput", "p50", "p99", "cpu")
        values = [statistics.median(getattr(one, key) for one in runs) for key in keys]
        table.add_row(name, *(f"{value:.1f}" if value else "" for value in values))
    console.print(table)
    console.print(description)
    pairs = list(zip(rounds.ours, rounds.fastapi, rounds.in_process, strict=True))
    ratios = {
        "throughput, ours / FastAPI": (
            [a.throughput / b.throughput for a, b, _ in pairs],
            ">= 1.3",
        ),
        "p99, ours / FastAPI": ([a.p99 / b.p99 for a, b, _ in pairs], "<= 1"),
        "throughput, ours / in process": (
            [a.throughput / c.throughput for a, _, c in pairs],
            ">= 0.85",
        ),
        "processor time, FastAPI / ours": ([b.cpu / a.cpu for a, b, _ in pairs], ">= 1.3"),
        "processor time, in process / ours": ([c.cpu / a.cpu for a, _, c in pairs], ">= 0.85"),
    }
    if rounds.proxied:
        behind = zip(rounds.proxied, rounds.ours, rounds.fastapi, strict=True)
        direct, plain = zip(
            *((a.throughput / b.throughput, a.throughput / c.throughput) for a, b, c in behind),
            strict=True,
        )
        ratios["throughput, behind nginx / ours"] = (list(direct), ">= 0.9")
        ratios["throughput, behind nginx / FastAPI"] = (list(plain), ">= 1.3")
    for name, (values, target) in ratios.items():
        console.print(
            f"{name}: {statistics.median(values):.2f} "
            f"({min(values):.2f} to {max(values):.2f}; wanted {target})"
        )


def run(options: argparse.Namespace, folder: Path) -> None:
    """Measure everything and print it."""
    bundle = chosen_bundle(options, folder)
    corpus = make_corpus(
        options.pictures, options.count, ORIGINALS if options.originals else SHARES
    )
    with ExitStack() as stack:
        port = free_port()
        ours = stack.enter_context(
            serving(ours_command(bundle, port), port, "/readyz", folder / "ours.log")
        )
        port = free_port()
        environment = {**os.environ, "BUNDLE": str(bundle)}
        fastapi = stack.enter_context(
            serving(fastapi_command(port), port, "/readyz", folder / "fastapi.log", environment)
        )
        proxied = behind_nginx(stack, bundle, folder)
        idle = ours.worker_memory()
        if not options.only_large:
            report(
                measure_throughput(bundle, corpus.pictures, ours, proxied, fastapi, options),
                corpus.description,
            )
        large = twelve_megapixels(options.pictures, options.large)
        served, plain, equal = measure_twelve_megapixels(bundle, ours, large)
        print(
            f"12 megapixels, one request: ours {served * 1000:.0f} ms, plain Pillow in process "
            f"{plain * 1000:.0f} ms: {plain / served:.2f} times faster (wanted >= 3), "
            f"same top-1 labels {equal} of {len(large)}"
        )
        busy = ours.worker_memory()
        torch = any(maps(process, "libtorch") for process in ours.processes())
        print(
            f"ready in {ours.seconds:.1f} s (wanted <= 5; FastAPI {fastapi.seconds:.1f}); "
            f"memory per worker {max(idle) / 1e6:.0f} MB idle, {max(busy) / 1e6:.0f} MB after "
            f"the load (wanted <= 350); torch loaded: {'yes' if torch else 'no'}"
        )


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_input_options(parser)
    parser.add_argument("--count", type=int, default=80, help="pictures in the mix")
    parser.add_argument("--large", type=int, default=20, help="12-megapixel pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="per measurement")
    parser.add_argument("--only-large", action="store_true", help="skip the throughput rounds")
    with tempfile.TemporaryDirectory(prefix="porcelain-bench-") as folder:
        run(parser.parse_args(), Path(folder))


if __name__ == "__main__":
    main()
