"""The same work on Ray Data: scheduling, retries, back-pressure and GPUs are Ray's.

Inputs go in as small tables, results come back in order, and parts are written by this process,
so that what is promised of a job here is promised of it there. Every node must be able to read
the pictures; the bundle is sent to them.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import ray
import ray.data

from batch.pictures import (
    Classification,
    Entry,
    pack_loaded,
    packed_location,
    unpack_loaded,
    unpacked_location,
)
from batch.plan import Picture
from batch.sampler import Sampling
from batch.settings import ClassifySettings, GenerateSettings
from porcelain.bundle import MANIFEST_FILE, Bundle, load_bundle
from porcelain.content_credentials import Signing
from porcelain.cores import available_cores
from porcelain.errors import UserError

LOCAL: Final = "local"
CONNECT_SECONDS: Final = 10.0
BLOCK: Final = 256
"""Inputs in one of Ray's blocks: enough that its bookkeeping does not show."""

Kind = Literal["classifier", "generator"]


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """A connection to a Ray cluster, or one of our own on this machine that ends with it.

    Raises:
        UserError: There is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        options |= {"num_cpus": available_cores(), "include_dashboard": False, "address": LOCAL}
    else:
        options["address"] = address
    try:
        _check_reachable(address)
        ray.init(**options)
    # Ray raises nearly everything, plain Exception too.
    except Exception as error:
        said = str(error).partition("\n")[0]
        if address == LOCAL:
            raise UserError(f"Ray cannot be started on this machine: {said}") from error
        raise UserError(
            f"There is no Ray cluster at {address} ({said}); give its address, auto, or local."
        ) from error
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ask the address first: Ray itself tries for many minutes.

    Raises:
        OSError: Nobody listens there.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


class SentBundle:
    """A bundle's files in Ray's object store; verified again where they arrive."""

    def __init__(self, bundle: Bundle) -> None:
        """Read every file."""
        self.kind: Kind = bundle.manifest.kind
        names = [MANIFEST_FILE, *bundle.manifest.files]
        # Held by us, so that it is still there when Ray starts an actor anew.
        self._files = ray.put({name: (bundle.path / name).read_bytes() for name in names})

    def open(self) -> Bundle:
        """Write the files to a folder of this process and verify them."""
        folder = Path(tempfile.mkdtemp(prefix="porcelain-bundle-"))
        files: dict[str, bytes] = ray.get(self._files)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return load_bundle(folder, self.kind)


def map_in_order(
    tables: Iterable[pa.Table], stages: Callable[[ray.data.Dataset], ray.data.Dataset]
) -> Iterator[pa.Table]:
    """Send tables through stages of `map_batches`; each comes back in its turn.

    Args:
        tables: Of inputs; they wait in Ray's object store, which spills to disk.
        stages: Adds the stages to a dataset.
    """
    blocks = [ray.put(table) for table in tables]
    if blocks:
        result = stages(ray.data.from_arrow_refs(blocks))
        yield from result.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)


class Decode:
    """On a CPU: locations to pixels, where the model runs elsewhere."""

    def __init__(self, sent: SentBundle, settings: ClassifySettings, root: str | None) -> None:
        self._work = Classification(sent.open(), settings, root)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Loaded pictures of a table of inputs."""
        return pack_loaded(self._work.load(_entries(table)))


class Infer:
    """On a GPU: pixels to rows."""

    def __init__(self, sent: SentBundle, settings: ClassifySettings) -> None:
        self._work = Classification(sent.open(), settings)
        self._work.warm_up()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows of loaded pictures."""
        size = self._work.bundle.classifier.input_size
        return self._work.infer(unpack_loaded(table, size))


class Classify:
    """Both in one actor, which is the shorter way where the model runs on a CPU."""

    def __init__(self, sent: SentBundle, settings: ClassifySettings, root: str | None) -> None:
        self._work = Classification(sent.open(), settings, root)
        self._work.warm_up()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows of a table of inputs."""
        return self._work(_entries(table))


def classify_on_ray(work: Classification, chunks: Iterable[Sequence[Entry]]) -> Iterator[pa.Table]:
    """Rows of every input, in order.

    Args:
        work: What each actor does, with its settings.
        chunks: Inputs.
    """
    sent, settings = SentBundle(work.bundle), work.settings
    shared: dict[str, Any] = {"batch_format": "pyarrow", "zero_copy_batch": True}
    rows = {**shared, "batch_size": settings.together}
    pool = _actors(settings.workers)

    def stages(inputs: ray.data.Dataset) -> ray.data.Dataset:
        if settings.device == "cpu":
            arguments = (sent, settings, work.root)
            return inputs.map_batches(
                Classify, fn_constructor_args=arguments, compute=pool, num_cpus=1, **rows
            )
        decoded = inputs.map_batches(
            Decode,
            fn_constructor_args=(sent, settings, work.root),
            compute=_actors(None),
            num_cpus=1,
            **rows,
        )
        return decoded.map_batches(
            Infer, fn_constructor_args=(sent, settings), compute=pool, num_gpus=1, **rows
        )

    return map_in_order(_blocks(chunks), stages)


def _actors(most: int | None) -> ray.data.ActorPoolStrategy:
    """As many actors as there is room for, or `most`."""
    return ray.data.ActorPoolStrategy(min_size=1, max_size=most)


def _blocks(chunks: Iterable[Sequence[Entry]]) -> Iterator[pa.Table]:
    """Inputs as tables of `BLOCK` rows."""
    held: list[Entry] = []
    for entry in chain.from_iterable(chunks):
        held.append(entry)
        if len(held) == BLOCK:
            yield _table(held)
            held = []
    if held:
        yield _table(held)


def _table(entries: Sequence[Entry]) -> pa.Table:
    columns: Mapping[str, Any] = {
        "index": pa.array([entry.index for entry in entries], pa.int64()),
        "location": pa.array([packed_location(e.location) for e in entries], pa.binary()),
        "known": pa.array([json.dumps(dict(entry.known)) for entry in entries], pa.string()),
    }
    return pa.table(columns)


def _entries(table: pa.Table) -> list[Entry]:
    return [
        Entry(row["index"], unpacked_location(row["location"]), json.loads(row["known"]))
        for row in table.to_pylist()
    ]


class Generate:
    """Makes a batch of pictures."""

    def __init__(
        self, sent: SentBundle, settings: GenerateSettings, signing: Signing | None
    ) -> None:
        self._sampling = Sampling(sent.open(), settings, signing)

    def __call__(self, table: pa.Table) -> pa.Table:
        """The encoded pictures of one batch."""
        batch = [Picture(**json.loads(text)) for text in table["picture"].to_pylist()]
        contents = pa.array(self._sampling.make(batch), pa.large_binary())
        return table.append_column("content", contents)


def generate_on_ray(
    sampling: Sampling, batches: Iterable[Sequence[Picture]]
) -> Iterator[tuple[list[Picture], list[bytes]]]:
    """Batches with their encoded pictures, in order.

    Args:
        sampling: What each actor does, with its settings.
        batches: Each is made as a whole by one actor.
    """
    settings = sampling.settings
    gpus = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    place = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    sent = SentBundle(sampling.bundle)

    def stages(inputs: ray.data.Dataset) -> ray.data.Dataset:
        return inputs.map_batches(
            Generate,
            fn_constructor_args=(sent, settings, sampling.signing),
            batch_format="pyarrow",
            batch_size=None,  # a block is a batch
            compute=_actors(settings.workers),
            **place,
        )

    tables = (
        pa.table({"picture": [json.dumps(asdict(picture)) for picture in batch]})
        for batch in batches
    )
    for table in map_in_order(tables, stages):
        pictures = [Picture(**json.loads(text)) for text in table["picture"].to_pylist()]
        yield pictures, table["content"].to_pylist()
