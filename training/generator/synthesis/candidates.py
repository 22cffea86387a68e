"""Sampling of candidate pictures from noise or from an original, each kept as a marked file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from porcelain.bundle import SamplingDefaults
from porcelain.content_credentials import Signing
from porcelain.dataset import Dataset, Record, load_dataset
from porcelain.errors import UserError
from porcelain.files import sha256_bytes, write_bytes
from porcelain.preparation import Pixels, load_and_prepare
from porcelain.synthetic_picture import Provenance, encode_synthetic
from porcelain.vocabulary import TASKS
from sampling.request import OnStep, SampleRequest
from training.data.allotment import Kind
from training.generator.synthesis.controls import Controls
from training.generator.synthesis.plan import FORM, Plan, describe, kind_of, labels_of, shows
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.sources import Sources


@dataclass(frozen=True)
class Originals:
    """The pictures that variations begin at.

    Attributes:
        pictures: The training part, or another folder.
        strength: Share of the noise, above 0 to 1.
        side: Side of the pictures in pixels.
        names: Per kind, the pictures to begin at, in file order.
        photographed: Whether they are the collection's own.
    """

    pictures: Dataset
    strength: float
    side: int
    names: dict[Kind, tuple[str, ...]]
    photographed: bool

    def of(self, kind: Kind, attempt: int) -> str:
        """The picture that an attempt begins at: all of a kind in turns."""
        names = self.names[kind]
        return names[attempt % len(names)]

    def read(self, name: str) -> Pixels:
        """A picture as the generator has seen photographs, RGB [side, side, 3].

        Raises:
            ImageError: It cannot be read.
        """
        return load_and_prepare(self.pictures.root / name, self.side, "letterbox")


def open_originals(
    sources: Sources, plan: Plan, settings: SynthesisSettings, folder: Path | None
) -> Originals | None:
    """What each kind of a plan begins at; None where pictures begin at noise.

    Photographs must show all of a kind's labels. Of another folder those that show its form are
    taken, and among them those that share the most of its other labels: a form outlasts the
    noise, and glaze and decoration follow the prompt.

    Args:
        sources: With the photographs.
        plan: What is wanted.
        settings: Resolved.
        folder: Dataset folder to begin at in place of the training photographs.

    Raises:
        UserError: A folder without a strength, pictures that are not square, or a kind that has
            nothing to begin at.
        DatasetError: Not a dataset folder.
    """
    if settings.variation is None:
        if folder is not None:
            raise UserError("--vary-from says what to vary; say with --vary by how much.")
        return None
    pictures = sources.training if folder is None else load_dataset(folder)
    width, height = settings.sampling.width, settings.sampling.height
    if width != height:
        raise UserError(
            f"--vary makes square pictures, as the generator has seen them, not {width} x {height}."
        )
    find = _that_show if folder is None else _nearest
    names = {planned.kind: find(pictures, planned.kind) for planned in plan.kinds}
    for kind, found in names.items():
        if not found:
            place = "training photograph" if folder is None else f"picture in {folder}"
            wanted = describe(kind) if folder is None else labels_of(kind).get(FORM, describe(kind))
            raise UserError(f"No {place} shows {wanted}: nothing to vary.")
    return Originals(pictures, settings.variation, width, names, photographed=folder is None)


def _that_show(pictures: Dataset, kind: Kind) -> tuple[str, ...]:
    return tuple(r.file_name for r in pictures.records if shows(kind_of(r.labels), kind))


def _nearest(pictures: Dataset, kind: Kind) -> tuple[str, ...]:
    wanted = labels_of(kind)
    form = wanted.get(FORM)
    shared = {
        record.file_name: sum(record.labels[task] == label for task, label in wanted.items())
        for record in pictures.records
        if form is None or record.labels[FORM] == form
    }
    most = max(shared.values(), default=0)
    return tuple(name for name, count in shared.items() if count == most > 0)


VARIATION_COLUMN: Final = "variation_of"
"""Column of `metadata.csv` that names the photograph a picture is a variation of."""
BEGUN_AT_COLUMN: Final = "begun_at"
"""Column that names the picture of another folder, such as a rendered one, that it began at."""


class Sampler(Protocol):
    """What `sampling.generator.Generator` does."""

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        steps: int,
        width: int,
        height: int,
        controls: Sequence[npt.NDArray[np.uint8]] = (),
        on_step: OnStep | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        """One RGB picture [height, width, 3] per request, steered by its control picture."""
        ...

    def vary(
        self,
        requests: Sequence[SampleRequest],
        pictures: Sequence[npt.NDArray[np.uint8]],
        *,
        strength: float,
        steps: int,
        on_step: OnStep | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        """One RGB picture per request, begun at a picture [height, width, 3] each."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A picture to be sampled.

    Attributes:
        kind: What it is to show.
        attempt: Counts the candidates of a kind, from 0.
        prompt: What the generator is asked for.
        seed: Seed of its own random numbers.
        original: The picture that it is a variation of, if it is one.
        photographed: Whether that is a training photograph.
    """

    kind: Kind
    attempt: int
    prompt: str
    seed: int
    original: str | None = None
    photographed: bool = True

    @property
    def name(self) -> str:
        """The name of its file, such as `song.celadon.longquan.bowl.0003.png`."""
        labels = ".".join(label or "_" for label in self.kind)
        return f"{labels}.{self.attempt:04d}.png"

    def record(self, file_name: str, generator: str) -> Record:
        """The row of this picture in a dataset folder.

        Args:
            file_name: Where the picture is in the folder.
            generator: Digest of the bundle that made it.
        """
        known = labels_of(self.kind)
        column = VARIATION_COLUMN if self.photographed else BEGUN_AT_COLUMN
        return Record(
            file_name,
            {task: known.get(task) for task in TASKS},
            synthetic=True,
            extra={"prompt": self.prompt, "seed": str(self.seed), "generator": generator}
            | ({column: self.original} if self.original else {}),
        )


def seed_of(seed: int, kind: Kind, attempt: int) -> int:
    """The seed of one picture, 0 to 2³² - 1.

    It depends on nothing else, so that a longer plan, or one of other kinds, makes the same
    pictures again and then more.
    """
    labels = ",".join(f"{task}={label}" for task, label in labels_of(kind).items())
    return int(sha256_bytes(f"{seed}/{labels}/{attempt}".encode())[:8], 16)


class CandidateStore:
    """Samples what is not there yet."""

    def __init__(
        self,
        folder: Path,
        load: Callable[[], Sampler],
        sampling: SamplingDefaults,
        generator: str,
        signing: Signing | None = None,
        originals: Originals | None = None,
        controls: Controls | None = None,
    ) -> None:
        """Keep pictures in `folder`.

        Args:
            folder: For files of pictures that share everything but their requests.
            load: Makes the sampler, when the first picture is missing.
            sampling: Steps, guidance and size.
            generator: Digest of the generator's bundle, for the mark.
            signing: Who signs content credentials; None signs nothing.
            originals: What candidates that are variations begin at.
            controls: What steers them; None leaves them free.
        """
        self._folder = folder
        self._load = load
        self._sampler: Sampler | None = None
        self._sampling = sampling
        self._generator = generator
        self._signing = signing
        self._originals = originals
        self._controls = controls

    def path(self, candidate: Candidate) -> Path:
        """Where the picture is, or will be."""
        return self._folder / candidate.name

    def fetch(self, batch: Sequence[Candidate], on_step: OnStep | None = None) -> list[Path]:
        """The files of a batch, sampled now unless all are there.

        A batch is sampled as a whole even if some are there, so that what was interrupted ends
        with the same bytes as what was not: neighbours change a picture by rounding.

        Args:
            batch: To be denoised together.
            on_step: Called after each denoising step with the steps done and their number.
        """
        paths = [self.path(candidate) for candidate in batch]
        if all(path.is_file() for path in paths):
            return paths
        for path, candidate, pixels in zip(paths, batch, self._sample(batch, on_step), strict=True):
            if not path.is_file():
                provenance = Provenance(
                    generator=self._generator,
                    prompt=candidate.prompt,
                    seed=candidate.seed,
                    steps=self._sampling.steps,
                    guidance_scale=self._sampling.guidance_scale,
                )
                write_bytes(path, encode_synthetic(pixels, "png", provenance, self._signing))
        return paths

    def _sample(
        self, batch: Sequence[Candidate], on_step: OnStep | None
    ) -> list[npt.NDArray[np.uint8]]:
        self._sampler = self._sampler or self._load()
        guidance = self._sampling.guidance_scale
        requests = [SampleRequest(item.prompt, item.seed, guidance) for item in batch]
        if self._originals is not None:
            return self._sampler.vary(
                requests,
                [self._originals.read(item.original) for item in batch if item.original],
                strength=self._originals.strength,
                steps=self._sampling.steps,
                on_step=on_step,
            )
        steered = self._controls
        return self._sampler.sample(
            requests,
            steps=self._sampling.steps,
            width=self._sampling.width,
            height=self._sampling.height,
            controls=[steered.read(c.name, c.kind, c.seed) for c in batch] if steered else (),
            on_step=on_step,
        )
