"""Groups of pictures that are compared (all, rare, each class), and what is sampled for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle, SamplingDefaults
from porcelain.errors import BundleError
from porcelain.files import open_work_folder
from porcelain.prompts import prompt_for
from porcelain.vocabulary import TASKS, load_taxonomy
from training.data.allotment import Kind
from training.generator.synthesis.candidates import Candidate, CandidateStore, Sampler, seed_of
from training.generator.synthesis.plan import labels_of

RARE_SHARE: Final = 0.5
"""A class is rare with at most this share of the photographs that its task's classes have on
average."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Pictures that belong together.

    Attributes:
        name: `all`, `rare`, or task and label.
        task: Task of the class that the group is; None for a group of several.
        label: Label of that class; None for a group of several.
        rare: Whether the class is rare, or the group that of all rare ones.
    """

    name: str
    task: str | None = None
    label: str | None = None
    rare: bool = False

    def holds(self, kind: Kind, rare: Mapping[str, frozenset[str]]) -> bool:
        """Whether pictures of `kind` belong to it."""
        if self.task is not None:
            return kind[TASKS.index(self.task)] == self.label
        return not self.rare or is_rare(kind, rare)


@dataclass(frozen=True)
class SampleCounts:
    """How often each kind is to be sampled.

    Attributes:
        alike: Pictures per kind whose kinds occur as often as among the photographs.
        rare: Further pictures of rare kinds, which occur as often as among their photographs.
    """

    alike: Mapping[Kind, int]
    rare: Mapping[Kind, int]


def rare_labels(kinds: Sequence[Kind]) -> dict[str, frozenset[str]]:
    """Per task the labels with few photographs.

    Args:
        kinds: The kind of every training photograph.
    """
    result = {}
    for i, task in enumerate(TASKS):
        counts = Counter(label for kind in kinds if (label := kind[i]) is not None)
        limit = RARE_SHARE * counts.total() / len(counts) if counts else 0.0
        result[task] = frozenset(label for label, count in counts.items() if count <= limit)
    return result


def is_rare(kind: Kind, rare: Mapping[str, frozenset[str]]) -> bool:
    """Whether any label of a kind is rare."""
    return any(label in rare[task] for task, label in zip(TASKS, kind, strict=True))


def groups_of_photographs(
    kinds: Sequence[Kind], rare: Mapping[str, frozenset[str]]
) -> Iterator[Group]:
    """All, the rare ones if there are any, and every class, each task's rarest first."""
    yield Group("all")
    if any(is_rare(kind, rare) for kind in kinds):
        yield Group("rare", rare=True)
    for i, task in enumerate(TASKS):
        counts = Counter(label for kind in kinds if (label := kind[i]) is not None)
        for label, _ in sorted(counts.items(), key=lambda item: (item[1], item[0])):
            yield Group(f"{task} {label}", task, label, label in rare[task])


def draw_sample_counts(
    kinds: Sequence[Kind], rare: Mapping[str, frozenset[str]], count: int, seed: int
) -> SampleCounts:
    """Draw what to sample, so that a class's pictures are as mixed as its photographs.

    Args:
        kinds: The kind of every training photograph.
        rare: The rare labels of each task.
        count: Pictures to draw from all kinds, and as many again from the rare ones.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    named = [kind for kind in kinds if any(kind)]
    few = [kind for kind in named if is_rare(kind, rare)]
    return SampleCounts(_draw(named, count, rng), _draw(few, count, rng))


def rows_of(
    group: Group,
    kinds: Sequence[Kind],
    rare: Mapping[str, frozenset[str]],
    extra: npt.NDArray[np.bool_] | None = None,
) -> Rows:
    """Which of some pictures a group compares.

    Args:
        group: The group.
        kinds: The kind of every picture.
        rare: The rare labels of each task.
        extra: Pictures drawn beside the others because they are rare. Where they would make
            rare kinds too frequent, among all pictures or those of a common class, they are left
            out. None where there are none.
    """
    member = np.asarray([group.holds(kind, rare) for kind in kinds], dtype=np.bool_)
    if extra is not None and not group.rare:
        member &= ~extra
    return np.flatnonzero(member)


def _draw(kinds: Sequence[Kind], count: int, rng: np.random.Generator) -> dict[Kind, int]:
    """Every photograph's kind equally often, as far as `count` goes."""
    if not kinds:
        return {}
    rounds = -(-count // len(kinds))
    order = np.concatenate([rng.permutation(len(kinds)) for _ in range(rounds)])[:count]
    return dict(Counter(kinds[int(i)] for i in order))


SampleProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class SamplingPlan:
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
    plan: SamplingPlan


def plan_samples(
    bundle: Bundle,
    kinds: Sequence[Kind],
    rare: Mapping[str, frozenset[str]],
    count: int,
    seed: int,
) -> SamplingPlan:
    """Draw what to sample from the kinds of the training photographs.

    Args:
        bundle: For prompts.
        kinds: The kind of every training photograph that the generator can make the like of.
        rare: The rare labels of each task.
        count: Pictures of all kinds, and as many again of rare ones.
        seed: Seed of the draw and of the pictures.
    """
    counts = draw_sample_counts(kinds, rare, count, seed)
    taxonomy, template = load_taxonomy(bundle.path), bundle.generator.prompt_template
    candidates, extra = [], []
    for kind in sorted({*counts.alike, *counts.rare}, key=lambda kind: [x or "" for x in kind]):
        prompt = prompt_for(labels_of(kind), taxonomy, template)
        alike = counts.alike.get(kind, 0)
        for attempt in range(alike + counts.rare.get(kind, 0)):
            candidates.append(Candidate(kind, attempt, prompt, seed_of(seed, kind, attempt)))
            extra.append(attempt >= alike)
    return SamplingPlan(tuple(candidates), np.asarray(extra, dtype=np.bool_))


def sample_variant(
    plan: SamplingPlan,
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
        plan: What to sample.
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
        on_progress(len(paths), len(plan.candidates), f"step {step}/{steps}")
        return True

    for start in range(0, len(plan.candidates), batch_size):
        paths += store.fetch(plan.candidates[start : start + batch_size], stepped)
        on_progress(len(paths), len(plan.candidates), "")
    return Sampled(tuple(paths), plan)


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
