"""Whether a second run continues an experiment, and what it adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from porcelain.errors import UserError
from training.experiment.arms import candidates, recipe_of
from training.experiment.records import Arm, Experiment


def join_experiments(earlier: Experiment, wanted: Experiment, root: Path) -> Experiment:
    """The earlier experiment with the wanted seeds, arms and folders beside its own.

    Args:
        earlier: What is at `root`.
        wanted: What is asked for now, without pictures.
        root: For the message.

    Raises:
        UserError: They differ in what decides results.
    """
    for what in ("folds", "tasks", "labels", "training", "design", "digests"):
        difference = _difference(what, getattr(earlier, what), getattr(wanted, what))
        if difference is not None:
            raise UserError(
                f"{root} holds another experiment ({difference}); choose another --out, or add "
                "--overwrite."
            )
    arms = [*earlier.arms, *(arm for arm in wanted.arms if arm not in earlier.arms)]
    _check_routed(earlier.arms, arms, root)
    return earlier.model_copy(
        update={
            "data": wanted.data,
            "sources": earlier.sources | wanted.sources,
            "digests": earlier.digests | wanted.digests,
            "seeds": sorted({*earlier.seeds, *wanted.seeds}),
            "arms": arms,
        }
    )


def _check_routed(before: list[Arm], after: list[Arm], root: Path) -> None:
    routed = any(recipe_of(arm.kind).chosen for arm in before)
    if routed and candidates(before) != candidates(after):
        raise UserError(
            f"{root}: its arm routed has chosen among {len(candidates(before))} ratios; with "
            "other ratios it is another arm. Choose another --out."
        )


def _difference(what: str, one: Any, other: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Where two descriptions differ, in a few words; None where they do not."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return None if one == other else f"{what}: {_short(one)} there, {_short(other)} here"
    # A folder that only one of the runs names does not contradict the other.
    keys = one.keys() & other.keys() if what == "digests" else one.keys() | other.keys()
    for key in sorted(keys):
        if one.get(key) != other.get(key):
            return f"{what}: {key} {_short(one.get(key))} there, {_short(other.get(key))} here"
    return None


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"
