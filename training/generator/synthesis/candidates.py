"""Pictures on their way: sampled in batches, each kept as a marked file from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from porcelain.bundle import SamplingDefaults
from porcelain.content_credentials import Signing
from porcelain.dataset import Record
from porcelain.files import sha256_bytes, write_bytes
from porcelain.synthetic_picture import Provenance, encode_synthetic
from porcelain.vocabulary import TASKS
from sampling.request import OnStep, SampleRequest
from training.data.allotment import Kind
from training.generator.synthesis.kinds import labels_of
from training.generator.synthesis.variation import Originals

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
        on_step: OnStep | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        """One RGB picture [height, width, 3] per request."""
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
        seed: Of its own random numbers.
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
        """Its row in a dataset folder.

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
    ) -> None:
        """Keep pictures in `folder`.

        Args:
            folder: For files of pictures that share everything but their requests.
            load: Makes the sampler, when the first picture is missing.
            sampling: Steps, guidance and size.
            generator: Its digest, for the mark.
            signing: Who signs content credentials; None signs nothing.
            originals: What candidates that are variations begin at.
        """
        self._folder = folder
        self._load = load
        self._sampler: Sampler | None = None
        self._sampling = sampling
        self._generator = generator
        self._signing = signing
        self._originals = originals

    def path(self, candidate: Candidate) -> Path:
        """Where the picture is, or will be."""
        return self._folder / candidate.name

    def fetch(self, batch: Sequence[Candidate], on_step: OnStep | None = None) -> list[Path]:
        """The files of a batch, sampled now unless all are there.

        A batch is sampled as a whole even if some are there, so that what was interrupted ends
        with the same bytes as what was not: neighbours change a picture by rounding.

        Args:
            batch: To be denoised together.
            on_step: As for `Generator.sample`.
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
        return self._sampler.sample(
            requests,
            steps=self._sampling.steps,
            width=self._sampling.width,
            height=self._sampling.height,
            on_step=on_step,
        )
