"""The pictures that a generator is judged by: sampled with and without its LoRA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle, SamplingDefaults
from porcelain.errors import BundleError
from porcelain.files import open_work_folder
from porcelain.prompts import prompt_for
from porcelain.vocabulary import load_taxonomy
from training.data.allotment import Kind
from training.generator.evaluation.groups import draw_kinds
from training.generator.synthesis.candidates import (
    Candidate,
    CandidateStore,
    Sampler,
    seed_of,
)
from training.generator.synthesis.kinds import labels_of

SampleProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Drawing:
    """What is to be sampled.

    Attributes:
        candidates: N pictures.
        extra: Whether each is drawn beside the others because it is rare, [N].
    """

    candidates: tuple[Candidate, ...]
    extra: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sampled:
    """Pictures that were sampled: their files, [N], and what they are to show."""

    paths: tuple[Path, ...]
    drawing: Drawing


def plan_drawing(
    bundle: Bundle,
    kinds: Sequence[Kind],
    rare: Mapping[str, frozenset[str]],
    count: int,
    seed: int,
) -> Drawing:
    """Draw what to sample from the kinds of the training photographs.

    Args:
        bundle: For prompts.
        kinds: Of every training photograph that the generator can make the like of.
        rare: Per task the rare labels.
        count: Pictures of all kinds, and as many again of rare ones.
        seed: Of draw and pictures.
    """
    drawn = draw_kinds(kinds, rare, count, seed)
    taxonomy, template = load_taxonomy(bundle.path), bundle.generator.prompt_template
    candidates, extra = [], []
    for kind in sorted({*drawn.alike, *drawn.rare}, key=lambda kind: [x or "" for x in kind]):
        prompt = prompt_for(labels_of(kind), taxonomy, template)
        alike = drawn.alike.get(kind, 0)
        for attempt in range(alike + drawn.rare.get(kind, 0)):
            candidates.append(Candidate(kind, attempt, prompt, seed_of(seed, kind, attempt)))
            extra.append(attempt >= alike)
    return Drawing(tuple(candidates), np.asarray(extra, dtype=np.bool_))


def sample_variant(
    drawing: Drawing,
    folder: Path,
    load: Callable[[], Sampler],
    *,
    sampling: SamplingDefaults,
    generator: str,
    seed: int,
    batch_size: int,
    on_progress: SampleProgress,
) -> Sampled:
    """Sample pictures into a folder, or find them there.

    Args:
        drawing: What to sample.
        folder: For the files; those of another generator or another way of sampling are removed.
        load: Makes the sampler.
        sampling: Steps, guidance and size.
        generator: The digest of what samples.
        seed: That the drawing was made with.
        batch_size: Pictures denoised at once.
        on_progress: Called with pictures sampled, in all, and a note.
    """
    recipe = {"sampling": sampling.model_dump(mode="json"), "seed": seed}
    open_work_folder(folder, {"generator": generator, **recipe})
    store = CandidateStore(folder, load, sampling, generator)
    paths: list[Path] = []

    def stepped(step: int, steps: int) -> bool:
        on_progress(len(paths), len(drawing.candidates), f"step {step}/{steps}")
        return True

    for start in range(0, len(drawing.candidates), batch_size):
        paths += store.fetch(drawing.candidates[start : start + batch_size], stepped)
        on_progress(len(paths), len(drawing.candidates), "")
    return Sampled(tuple(paths), drawing)


def load_tuned(bundle: Bundle, base: str | None, device: str) -> Sampler:
    """The generator with its LoRA."""
    from sampling.generator import Generator

    return Generator.load(bundle, base=base, device=device)


def load_untuned(bundle: Bundle, base: str | None, device: str) -> Sampler:
    """The base model alone.

    Raises:
        BundleError: It is not the one that the LoRA was trained on.
    """
    from sampling.base import digest_of, load_pipeline
    from sampling.finding import resolve_base
    from sampling.generator import Generator

    reference = bundle.generator.base
    folder = resolve_base(base or reference.reference, None if base else reference.revision)
    if digest_of(folder) != reference.digest:
        raise BundleError(f"{folder} is not the base model that {bundle.path} was trained on.")
    return Generator.from_pipeline(load_pipeline(folder, device=device))
