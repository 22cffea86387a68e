"""The arms: which pictures each adds to the real ones, and how it learns from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from porcelain.errors import UserError
from training.experiment.records import Arm

SYNTHETIC: Final = "synthetic"
"""The role of the folder that most arms add from."""


REAL: Final = "real"
OVERSAMPLE: Final = "oversample"
UNTUNED: Final = "untuned"
UNFILTERED: Final = "unfiltered"
MIX: Final = "mix"

CONTROLS: Final = (OVERSAMPLE, UNTUNED, UNFILTERED)
"""Arms without which a gain means nothing."""


@dataclass(frozen=True)
class Recipe:
    """What an arm does.

    Attributes:
        source: The role of the folder that it adds from; None where it adds nothing.
        copies: Whether it adds copies of real pictures of the same kinds instead.
        weighted: Whether an added picture's loss counts less than a real one's.
        first: Whether it learns from added pictures first, and from real ones alone then.
        chosen: Whether ratios are chosen per task on validation.
    """

    source: str | None = SYNTHETIC
    copies: bool = False
    weighted: bool = False
    first: bool = False
    chosen: bool = False


_RECIPES: Final[Mapping[str, Recipe]] = {
    "real": Recipe(source=None),
    "mix": Recipe(),
    "oversample": Recipe(copies=True),
    "weighted": Recipe(weighted=True),
    "pretrain": Recipe(first=True),
    "routed": Recipe(chosen=True),
}
_NAMED_RATIO: Final = re.compile(r"(?P<kind>.+?)-(?P<real>[\d.]+)-(?P<added>[\d.]+)", re.ASCII)
RESERVED: Final = frozenset(_RECIPES)


def recipe_of(kind: str) -> Recipe:
    """What arms of this kind do. One that has no recipe mixes in the folder of its own name."""
    return _RECIPES.get(kind) or Recipe(source=kind)


def choose_arms(
    wanted: Sequence[str] | None, ratios: Sequence[float], roles: Sequence[str]
) -> list[Arm]:
    """The arms to compare; `real` is always the first, because every other is held against it.

    Args:
        wanted: Kinds, at every ratio, or full names such as `mix-90-10`. None takes real, mix,
            oversample, every other folder, and routed.
        ratios: Added pictures in percent.
        roles: The folders at hand: `synthetic`, `untuned`, `unfiltered` and others by name.

    Raises:
        UserError: An arm that does not exist, or whose folder is not given.
    """
    positive = [ratio for ratio in ratios if ratio > 0]
    if wanted is None:
        others = [role for role in roles if role != SYNTHETIC]
        kinds = ["real", "mix", "oversample", *others] if SYNTHETIC in roles else ["real", *others]
        wanted = [*kinds, "routed"] if SYNTHETIC in roles and positive else kinds
    arms = [Arm(kind=REAL)]
    for name in wanted:
        for arm in _expand(name, positive):
            source = recipe_of(arm.kind).source
            if source is not None and source not in roles:
                raise UserError(_no_folder(name, arm.kind, roles))
            if arm not in arms:
                arms.append(arm)
    _check_candidates(arms)
    return arms


def candidates(arms: Sequence[Arm]) -> list[Arm]:
    """What `routed` chooses among: real pictures alone, and each mix, fewest added first."""
    mixes = [arm for arm in arms if arm.kind == "mix"]
    return [Arm(kind=REAL), *sorted(mixes, key=lambda arm: arm.ratio or 0.0)]


def _expand(name: str, ratios: Sequence[float]) -> list[Arm]:
    match = _NAMED_RATIO.fullmatch(name)
    if match is not None:
        kind, real, added = match["kind"], float(match["real"]), float(match["added"])
        if abs(real + added - 100) > 1e-6 or added <= 0 or real <= 0:
            raise UserError(f"--arms {name}: the two shares must be above 0 and add to 100.")
        return [Arm(kind=kind, ratio=added)]
    recipe = recipe_of(name)
    if recipe.source is None:
        return [Arm(kind=name)]
    if recipe.chosen:
        return [Arm(kind=name, ratio=None)]
    if not ratios:
        raise UserError(f"--arms {name} needs a ratio above 0; give --ratios, such as 0,5,10.")
    return [Arm(kind=name, ratio=ratio) for ratio in ratios]


def _no_folder(name: str, kind: str, roles: Sequence[str]) -> str:
    if kind in RESERVED:
        return f"--arms {name} needs synthetic pictures; give --synthetic DIR or --generator."
    known = sorted({*RESERVED, *roles} - {SYNTHETIC})
    return (
        f"--arms {name}: there is no such arm; choose from {', '.join(known)}, or give its "
        f"pictures as --folder {kind}=DIR."
    )


def _check_candidates(arms: Sequence[Arm]) -> None:
    if any(recipe_of(arm.kind).chosen for arm in arms) and len(candidates(arms)) < 2:
        raise UserError("--arms routed chooses among real and mix; add mix to --arms.")


Family = Literal["real", "control"]


@dataclass(frozen=True)
class Pair:
    """Two arms that are compared, and the family in which Holm's correction is applied.

    `real` answers "does it help?" for every arm and task; `control` answers "does anything
    cheaper do as well?" for synthetic pictures against copies, an untuned base and no filter.
    """

    arm: Arm
    reference: Arm
    family: Family


def pairs(arms: Sequence[Arm]) -> list[Pair]:
    """Every arm against `real`; synthetic ones against each control of the same ratio.

    An arm that chooses its ratio per task is held against the controls of every ratio.
    """
    real = next((arm for arm in arms if arm.kind == REAL), None)
    found = []
    for arm in arms:
        if arm.kind == REAL:
            continue
        if real is not None:
            found.append(Pair(arm, real, "real"))
        if arm.kind not in CONTROLS:
            found += [Pair(arm, control, "control") for control in controls_of(arm, arms)]
    return found


def controls_of(arm: Arm, arms: Sequence[Arm]) -> list[Arm]:
    """The controls with as many added pictures."""
    return [
        control
        for control in arms
        if control.kind in CONTROLS and (arm.ratio is None or control.ratio == arm.ratio)
    ]
