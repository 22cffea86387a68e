"""Which pictures an arm adds to a fold's real ones, and for which tasks they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch

from porcelain.dataset import Record
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS
from training.data.allotment import allot, draw, group_by_kind
from training.data.ratio import Ratio, Rule
from training.experiment.arms import recipe_of
from training.experiment.folds import Parts
from training.experiment.material import Material
from training.experiment.paired import Pool, Purpose, Randomness, Rows
from training.experiment.records import Arm
from training.generator.synthesis.candidates import VARIATION_COLUMN

IGNORED = -1


def synthetic_count(ratio: float, real: int) -> int:
    """Pictures to add to `real` ones so that `ratio` percent of all are added."""
    share = Fraction(str(ratio)) / 100
    return Ratio(1 - share, share).synthetic_count(real)


def usable_records(
    records: Sequence[Record], pictures: Sequence[Record], train: Sequence[int]
) -> list[Record]:
    """The added pictures that a fold may learn from.

    Args:
        records: Of a source.
        pictures: The real ones, `object_id` naming their group.
        train: Those that the fold trains on. A variation is left out unless all photographs of
            its object are among them.
    """
    group = {picture.file_name: picture.object_id for picture in pictures}
    trained = {pictures[i].object_id for i in train}
    chosen = []
    for record in records:
        base = record.extra.get(VARIATION_COLUMN)
        if not base or group.get(base) in trained:
            chosen.append(record)
    return chosen


def plan_records(
    records: Sequence[Record],
    real: Sequence[Record],
    ratio: float,
    rule: Rule,
    tasks: Sequence[str],
    seed: int,
) -> list[Record]:
    """Choose added pictures as `porcelain data mix` does.

    Args:
        records: Those at hand.
        real: The fold's real training pictures.
        ratio: Added pictures in percent of all.
        rule: Which kinds receive them.
        tasks: Tasks by whose labels kinds are told apart.
        seed: Of the draw within a kind.

    Raises:
        UserError: There are not enough.
    """
    wanted = synthetic_count(ratio, len(real))
    if wanted > len(records):
        raise UserError(
            f"{ratio:g} % beside {len(real)} real pictures takes {wanted} added ones, and there "
            f"are {len(records)} usable; synthesise more, or choose smaller --ratios."
        )
    available = {kind: len(members) for kind, members in group_by_kind(records, tasks).items()}
    counts = [Counter(x for r in real if (x := r.labels[task])) for task in tasks]
    return draw(records, tasks, allot(wanted, rule, available, counts), seed)


def matching_copies(added: Sequence[Record], real: Sequence[Record], seed: int) -> list[int]:
    """For each added picture a real one that is most of its kind; none is taken twice too soon.

    Real pictures that share the most of its labels qualify, a shared label counting the more the
    rarer it is, so that copies meet the same plan as the added pictures do.

    Args:
        added: What copies stand in for.
        real: The real training pictures.
        seed: Of the choice among equals.

    Returns:
        Positions in `real`.
    """
    counts = {task: Counter(record.labels[task] for record in real) for task in TASKS}
    rng = np.random.default_rng(seed)
    taken = np.zeros(len(real), dtype=np.int64)
    chosen = []
    for record in added:
        likeness = np.asarray(
            [
                sum(
                    1 + 1 / counts[task][label]
                    for task, label in record.labels.items()
                    if label is not None and label == other.labels[task]
                )
                for other in real
            ]
        )
        best = np.flatnonzero(likeness >= likeness.max() - 1e-12)
        fewest = best[taken[best] == taken[best].min()]
        pick = int(rng.choice(fewest))
        taken[pick] += 1
        chosen.append(pick)
    return chosen


def pool_for(
    material: Material,
    arm: Arm,
    parts: Parts,
    randomness: Randomness,
    used_for: Mapping[str, float] | None,
) -> tuple[Pool, list[Record]]:
    """What an arm adds.

    Args:
        material: The pictures.
        arm: Which arm.
        parts: The fold's parts.
        randomness: Of the seed and fold.
        used_for: Ratio per task, for an arm whose ratios are chosen.

    Returns:
        The pool, and the row of each of its pictures.
    """
    recipe = recipe_of(arm.kind)
    design, tasks = material.experiment.design, material.experiment.tasks
    if recipe.source is None:
        return _no_pool(material), []
    source = material.added(recipe.source, randomness.fold)
    real = [material.records[i] for i in parts.train]
    usable = usable_records(source.records, material.records, parts.train)
    ratios = {arm.ratio or 0.0} if used_for is None else {*used_for.values()} - {0.0}
    plans = {
        ratio: plan_records(
            usable,
            real,
            ratio,
            Rule(design["rule"]),
            design["plan_tasks"],
            randomness.number(Purpose.CHOICE),
        )
        for ratio in sorted(ratios)
    }
    if recipe.copies:
        (planned,) = plans.values()
        copies = matching_copies(planned, real, randomness.number(Purpose.COPIES))
        rows = np.asarray([parts.train[i] for i in copies], dtype=np.int64)
        return Pool(material.training_pixels, rows, material.labels[rows]), [
            material.records[i] for i in rows
        ]
    position = {record.file_name: i for i, record in enumerate(source.records)}
    chosen = {record.file_name for plan in plans.values() for record in plan}
    rows = np.asarray(sorted(position[name] for name in chosen), dtype=np.int64)
    labels = source.labels[torch.from_numpy(rows)].clone()
    for column, task in enumerate(tasks):
        if used_for is not None:
            labels[~_counting(rows, plans, used_for[task], position), column] = IGNORED
    weight = float(design["weight"]) if recipe.weighted else 1.0
    return Pool(source.pixels, rows, labels, weight), [source.records[i] for i in rows]


def _counting(
    rows: Rows, plans: Mapping[float, Sequence[Record]], ratio: float, position: Mapping[str, int]
) -> torch.Tensor:
    """Which rows a task's chosen ratio holds."""
    own = [position[record.file_name] for record in plans.get(ratio, ())]
    return torch.from_numpy(np.isin(rows, own))


def _no_pool(material: Material) -> Pool:
    nothing = np.zeros(0, dtype=np.int64)
    return Pool(material.training_pixels, nothing, material.labels[nothing])
