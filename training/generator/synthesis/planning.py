"""The plan that options, bundle and photographs make together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from porcelain.errors import UserError
from training.data.allotment import Kind
from training.data.ratio import Ratio
from training.generator.synthesis.plan import (
    Plan,
    check_plan,
    make_plan,
    plan_by_rule,
    read_plan,
)
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.sources import Sources


def choose_plan(
    sources: Sources,
    settings: SynthesisSettings,
    *,
    plan_file: Path | None = None,
    kinds: Sequence[Kind] = (),
) -> Plan:
    """What is to be made.

    Args:
        sources: What is known of the kinds.
        settings: Ratio, count and rule.
        plan_file: A plan to follow to the letter.
        kinds: Kinds of which `settings.count` pictures are to be made each.

    Raises:
        UserError: The options contradict each other, ask for nothing, or for what cannot be.
    """
    if plan_file is not None and (kinds or settings.count is not None):
        raise UserError("--plan says how many of what; leave out --labels and --count.")
    if plan_file is not None:
        plan = read_plan(plan_file, sources.known)
    elif kinds:
        if settings.count is None:
            raise UserError("--labels needs --count, the number of pictures of each.")
        plan = make_plan(dict.fromkeys(kinds, settings.count), sources.known)
    else:
        wanted = Ratio.parse(settings.ratio).synthetic_count(sources.pictures)
        total = wanted if settings.count is None else settings.count
        if total == 0:
            raise UserError(
                f"A ratio of {settings.ratio} to {sources.pictures} training photographs makes no "
                "picture; give a larger synthetic share, or --count."
            )
        plan = plan_by_rule(total, settings.rule, sources.known, settings.tasks)
    if plan.total == 0:
        raise UserError("The plan asks for no picture; give a count above 0.")
    check_plan(plan, sources.bundle.generator.labels, settings.allow_unseen)
    return plan
