"""Sampling: our generator against a plain `StableDiffusionPipeline` with the LoRA loaded.

    python -m benchmarks.sample [--bundle DIR | --base REF] [--rounds N]

1. plain: `StableDiffusionPipeline.from_pretrained` and `load_lora_weights`, one request at a time;
2. in process: `sampling.generator.Generator`, as many requests at a time as there are connections;
3. HTTP: `porcelain serve generator`, each connection sending its next request when answered.

All three make the same pictures (same labels, seeds, steps, guidance and scheduler), which are
compared. Each round measures all three, so that other work on the machine meets all alike; the
ratios are medians over rounds. Processor time per picture says the same with less noise. All get
the same number of threads, which sleep rather than spin while they wait (OMP_WAIT_POLICY): plain
too is many times slower otherwise where other work takes the cores.

Without --bundle the adapters are random, on --base: by default the base that ships, or with
`--base scaled` Stable Diffusion 1.5's proportions, scaled down.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.servers import Running, serving
from porcelain.bundle import LORA_FILE, Bundle, load_bundle
from porcelain.cli.local_server import free_port
from porcelain.prompts import prompt_for
from porcelain.vocabulary import load_taxonomy
from porcelain.watermark import embed_watermark

TARGET = 2.0
ALIKE = 40.0  # dB
SHIPPED = "porcelain-small"
SCALED = "scaled"

Pixels = npt.NDArray[np.uint8]
Ask = dict[str, Any]


@dataclass
class Runs:
    """What one way measured, round by round: pictures per second, processor time per picture."""

    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: int = 0

    def measure(
        self, work: Callable[[], list[Pixels]], processor: Callable[[], float]
    ) -> list[Pixels]:
        """Time one round."""
        used, begun = processor(), time.perf_counter()
        pictures = work()
        seconds = time.perf_counter() - begun
        self.rates.append(len(pictures) / seconds)
        self.processor.append((processor() - used) / len(pictures))
        return pictures


def asks_for(bundle: Bundle, count: int) -> list[Ask]:
    """Requests that differ in labels and seeds."""
    combinations = itertools.cycle(one.labels for one in bundle.generator.combinations)
    return [
        {**labels, "seed": seed} for seed, labels in zip(range(count), combinations, strict=False)
    ]


def plain_way(
    bundle: Bundle, base: Path, device: str, dtype: str
) -> Callable[[Sequence[Ask]], list[Pixels]]:
    """A plain pipeline as its documentation loads it, one request at a time."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        base, dtype=getattr(torch, dtype), safety_checker=None
    ).to(device)
    pipeline.load_lora_weights((bundle.path / LORA_FILE).parent)
    pipeline.set_progress_bar_config(disable=True)
    prompt, sampling = prompter(bundle), bundle.generator.sampling

    def make(asks: Sequence[Ask]) -> list[Pixels]:
        return [
            np.asarray(
                pipeline(
                    prompt(ask),
                    num_inference_steps=sampling.steps,
                    guidance_scale=sampling.guidance_scale,
                    width=sampling.width,
                    height=sampling.height,
                    generator=torch.Generator("cpu").manual_seed(ask["seed"]),
                ).images[0]
            )
            for ask in asks
        ]

    return make


def batched_way(
    bundle: Bundle, device: str, dtype: str, connections: int, compile_ours: bool
) -> Callable[[Sequence[Ask]], list[Pixels]]:
    """Our generator without HTTP."""
    import torch

    from sampling.generator import Generator, SampleRequest

    generator = Generator.load(
        bundle, device=device, dtype=getattr(torch, dtype), compile_unet=compile_ours
    )
    prompt, sampling = prompter(bundle), bundle.generator.sampling

    def make(asks: Sequence[Ask]) -> list[Pixels]:
        requests = [
            SampleRequest(prompt(ask), ask["seed"], sampling.guidance_scale) for ask in asks
        ]
        pictures: list[Pixels] = []
        for start in range(0, len(requests), connections):
            pictures += generator.sample(
                requests[start : start + connections],
                steps=sampling.steps,
                width=sampling.width,
                height=sampling.height,
            )
        return pictures

    return make


def served_way(server: Running, connections: int) -> Callable[[Sequence[Ask]], list[Pixels]]:
    """Our service, asked over so many connections at a time."""

    def ask_for(ask: Ask) -> Pixels:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            server.url + "/v1/generate", json.dumps(ask).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=600) as response:
            (image,) = json.loads(response.read())["images"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["data"]))))

    def make(asks: Sequence[Ask]) -> list[Pixels]:
        with ThreadPoolExecutor(connections) as pool:
            return list(pool.map(ask_for, asks))

    return make


def prompter(bundle: Bundle) -> Callable[[Ask], str]:
    """How a request's labels become a prompt."""
    taxonomy = load_taxonomy(bundle.path)
    return lambda ask: prompt_for(ask, taxonomy, bundle.generator.prompt_template)


def psnr(ours: Pixels, theirs: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    error = float(np.mean((ours.astype(np.float64) - theirs) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def batch_size(server: Running) -> float:
    """Mean pictures per batch that the service has denoised so far."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    name = "porcelain_generation_batch_size"
    return float(found[f"{name}_sum"]) / float(found[f"{name}_count"])


def serve_command(bundle: Path, port: int, device: str) -> list[str]:
    """Our service as a user starts it."""
    command = [sys.executable, "-m", "porcelain.cli.main", "serve", "generator"]
    return [*command, "--bundle", str(bundle), "--port", str(port), "--device", device]


def report(ways: dict[str, Runs], worst: float, batch: float, title: str) -> None:
    """Print rates, ratios and how alike the pictures are."""
    console = Console(width=110)
    table = Table(title=title)
    for column in ("", "pictures/s", "min", "max", "CPU s/picture", "peak GPU GB"):
        table.add_column(column, justify="right" if column else "left")
    for name, runs in ways.items():
        table.add_row(
            name,
            *(f"{of(runs.rates):.3f}" for of in (statistics.median, min, max)),
            f"{statistics.median(runs.processor):.2f}",
            f"{runs.memory / 1e9:.1f}" if runs.memory else "",
        )
    console.print(table)
    plain, *ours = ways.items()
    for name, runs in ours:
        pairs = list(zip(plain[1].rates, runs.rates, strict=True))
        times = list(zip(plain[1].processor, runs.processor, strict=True))
        for what, ratios in (
            (f"pictures/s, {name} / plain", [b / a for a, b in pairs]),
            (f"processor time, plain / {name}", [a / b for a, b in times]),
        ):
            console.print(
                f"{what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
                f"{max(ratios):.2f}; wanted >= {TARGET:.0f})"
            )
    console.print(
        f"pictures of one batch over HTTP: {batch:.1f} on average; least likeness to plain's "
        f"pictures: {worst:.1f} dB (wanted >= {ALIKE:.0f})"
    )


@dataclass(frozen=True)
class Options:
    """What is measured."""

    count: int
    connections: int
    rounds: int
    device: str
    dtype: str
    our_dtype: str
    threads: int
    compile_ours: bool


def measure(bundle: Bundle, base: Path, options: Options, log: Path) -> None:
    """Measure all three in turns, and print it."""
    import torch

    torch.set_num_threads(options.threads)
    asks = asks_for(bundle, options.count)
    plain = plain_way(bundle, base, options.device, options.dtype)
    batched = batched_way(
        bundle, options.device, options.our_dtype, options.connections, options.compile_ours
    )
    ways = {name: Runs() for name in ("plain, one at a time", "in process", "HTTP")}
    worst = math.inf
    environment = {
        **os.environ,
        "PORCELAIN_THREADS": str(options.threads),
        "PORCELAIN_DTYPE": options.our_dtype,
        "PORCELAIN_MAX_BATCH": str(options.connections),
        "PORCELAIN_COMPILE": str(options.compile_ours),
        "PORCELAIN_BASE": str(base),
    }
    port = free_port()
    command = serve_command(bundle.path, port, options.device)
    with serving(command, port, "/readyz", log, environment, patience=600) as server:
        served = served_way(server, options.connections)
        works = dict(zip(ways, (plain, batched, served), strict=True))
        for work in works.values():  # warm
            work(asks[: options.connections])
        before = time.process_time, time.process_time, server.cpu_seconds
        for number in range(options.rounds):
            made = {}
            for (name, work), clock in zip(works.items(), before, strict=True):
                if torch.cuda.is_available():
                    torch.cuda.reset_peak_memory_stats()
                made[name] = ways[name].measure(lambda work=work: work(asks), clock)
                if torch.cuda.is_available() and name != "HTTP":
                    ways[name].memory = torch.cuda.max_memory_allocated()
            reference, batch, answers = made.values()
            # What leaves the service has the watermark; plain's pictures get it to be compared.
            marked = [embed_watermark(picture) for picture in reference]
            pairs = [*zip(batch, reference, strict=True), *zip(answers, marked, strict=True)]
            worst = min(worst, *(psnr(ours, theirs) for ours, theirs in pairs))
            rates = ", ".join(f"{name} {runs.rates[-1]:.3f}/s" for name, runs in ways.items())
            print(f"round {number + 1}: {rates}; {worst:.1f} dB", file=sys.stderr)
        together = batch_size(server)
    sampling, info = bundle.generator.sampling, bundle.generator
    title = (
        f"{base.name}, LoRA rank {info.rank}, {sampling.width} px, {sampling.steps} steps, "
        f"{options.device} {options.dtype} (ours {options.our_dtype}), {options.threads} threads, "
        f"{options.connections} at a time"
    )
    report(ways, worst, together, title)


def prepare(folder: Path, base: str, rank: int, size: int | None, steps: int) -> Path:
    """A bundle with random adapters on `base`."""
    from benchmarks.references.random_generator import write_random_generator
    from benchmarks.references.scaled_diffusion import write_scaled_diffusion
    from sampling.finding import resolve_base

    place = write_scaled_diffusion(folder / SCALED) if base == SCALED else resolve_base(base)
    side = size or native_size(place)
    return write_random_generator(folder / "bundle", place, rank=rank, size=side, steps=steps)


def native_size(base: Path) -> int:
    """Side of the pictures that a base was made for."""
    unet = json.loads((base / "unet" / "config.json").read_text())
    vae = json.loads((base / "vae" / "config.json").read_text())
    return int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)


def main(
    bundle: Annotated[Path | None, typer.Option(help="A trained bundle.")] = None,
    base: Annotated[
        str, typer.Option(help=f"Without a bundle: a base model, or '{SCALED}'.")
    ] = SHIPPED,
    rank: Annotated[int, typer.Option(min=1, help="Of random adapters.")] = 16,
    size: Annotated[int | None, typer.Option(help="Of random adapters; the base's own.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of random adapters.")] = 25,
    connections: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    count: Annotated[int, typer.Option(min=1, help="Pictures per round.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all three.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda; cuda where there is one.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="Of plain: float32, float16 or bfloat16; the device's.")
    ] = None,
    our_dtype: Annotated[str | None, typer.Option(help="Of ours, if not the same.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of each; one per core.")] = None,
    compile_ours: Annotated[bool, typer.Option("--compile", help="Compile our UNet.")] = False,
) -> None:
    """Measure and print."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported
    from porcelain.cores import available_cores
    from sampling.base import choose_device, default_dtype
    from sampling.finding import find_base

    place = choose_device(device)
    reference_dtype = dtype or str(default_dtype(place)).removeprefix("torch.")
    options = Options(
        count=count,
        connections=connections,
        rounds=rounds,
        device=place.type,
        dtype=reference_dtype,
        our_dtype=our_dtype or reference_dtype,
        threads=threads or available_cores(),
        compile_ours=compile_ours,
    )
    with tempfile.TemporaryDirectory(prefix="porcelain-bench-") as name:
        folder = Path(name)
        given = bundle or prepare(folder, base, rank, size, steps)
        loaded = load_bundle(given, "generator")
        measure(loaded, find_base(loaded.generator.base), options, folder / "log")


if __name__ == "__main__":
    typer.run(main)
