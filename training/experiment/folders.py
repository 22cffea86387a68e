"""The folders of pictures that a generator makes for an experiment, where none are given."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from porcelain.bundle import SPLIT_FILE, Bundle, load_bundle
from porcelain.dataset import load_dataset, write_metadata
from porcelain.errors import UserError
from porcelain.files import atomic_folder, open_work_folder
from porcelain.prompts import prompt_for
from porcelain.vocabulary import load_taxonomy
from training.experiment.additions import synthetic_count
from training.experiment.arms import SYNTHETIC, UNFILTERED, UNTUNED, recipe_of
from training.experiment.settings import ExperimentSettings
from training.experiment.sources import check_base_known
from training.generator.synthesis.candidates import Candidate, CandidateStore, Sampler, seed_of
from training.generator.synthesis.learned import learned_by, learned_by_base_of, write_learned
from training.generator.synthesis.plan import Plan, labels_of
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.synthesize import Inputs as SynthesisInputs
from training.generator.synthesis.synthesize import Reporter as SynthesisReporter
from training.generator.synthesis.synthesize import plan_synthesis, synthesize

SOURCES_FOLDER: Final = "sources"

OnPicture = Callable[[int, int, str], None]


@dataclass(frozen=True)
class GeneratorInputs:
    """What makes the folders.

    Attributes:
        bundle: A generator bundle that knows its split.
        classifier: A classifier bundle that filters; None filters without one.
        base: Where the generator's base model is, if not where its bundle says.
        device: `cpu`, `cuda` or `auto`.
        base_declared: Whether somebody says what the base has learned from, where it does not.
    """

    bundle: Path
    classifier: Path | None = None
    base: str | None = None
    device: str = "auto"
    base_declared: bool = False


def roles_to_make(names: Sequence[str] | None, filtered: bool) -> list[str]:
    """The roles that arms add from and a generator can fill.

    Args:
        names: The arms asked for; None stands for all that there can be.
        filtered: Whether a classifier filters, so that there is something to compare with.
    """
    if names is None:
        return [SYNTHETIC, UNTUNED, *([UNFILTERED] if filtered else [])]
    kinds = [name.split("-")[0] for name in names]
    sources = {recipe_of(kind).source for kind in kinds}
    return [role for role in (SYNTHETIC, UNTUNED, UNFILTERED) if role in sources]


def make_folders(
    generator: GeneratorInputs,
    data: Path,
    root: Path,
    settings: ExperimentSettings,
    roles: Sequence[str],
    on_picture: OnPicture,
) -> dict[str, str]:
    """Sample what experiments add, as many as the greatest ratio takes; what is there stays.

    All folders follow one plan, with the same prompts and seeds: `synthetic` is filtered,
    `unfiltered` is not, and `untuned` comes from the base without its LoRA and is not filtered
    either.

    Args:
        generator: What makes them.
        data: The photographs.
        root: The experiment's folder.
        settings: Ratios and rule.
        roles: Which folders.
        on_picture: Called with pictures made, in all, and a note.

    Returns:
        The folders by role.

    Raises:
        UserError: A bundle that does not fit, or a role that a generator cannot fill.
    """
    bundle = load_bundle(generator.bundle, "generator")
    if not (bundle.path / SPLIT_FILE).is_file():
        raise UserError(
            f"{bundle.path} has no {SPLIT_FILE}, so nobody knows what it has learned from; train "
            "the generator anew, or synthesise and give --synthetic and --learned."
        )
    if UNTUNED in roles and not generator.base_declared:
        check_base_known(learned_by_base_of(bundle), bundle.path)
    # The training part is smaller than the whole, so that the filter may fall a little short.
    count = synthetic_count(max(settings.ratios), len(load_dataset(data)))
    if count == 0:
        raise UserError("--generator has nothing to make; give a ratio above 0 in --ratios.")
    how = SynthesisSettings(count=count, rule=settings.rule, tasks=settings.plan_tasks)
    inputs = SynthesisInputs(
        generator.bundle,
        data=data,
        split=bundle.path / SPLIT_FILE,
        classifier=generator.classifier,
        base=generator.base,
        device=generator.device,
    )
    folders = {}
    for role in roles:
        out = root / SOURCES_FOLDER / role
        folders[role] = str(out)
        if out.is_dir():
            continue
        out.parent.mkdir(parents=True, exist_ok=True)
        if role == SYNTHETIC:
            synthesize(inputs, out, how, reporter=SynthesisReporter(sampling=on_picture))
        else:
            tuned = role == UNFILTERED
            plan = plan_synthesis(inputs, how)
            _sample_plan(plan, bundle, generator, out, how, tuned=tuned, on_picture=on_picture)
    return folders


def _sample_plan(
    plan: Plan,
    bundle: Bundle,
    generator: GeneratorInputs,
    out: Path,
    how: SynthesisSettings,
    *,
    tuned: bool,
    on_picture: OnPicture,
) -> None:
    """Sample a plan once and keep everything."""
    how = how.resolved(bundle.generator.sampling)
    taxonomy, template = load_taxonomy(bundle.path), bundle.generator.prompt_template
    wanted = [
        Candidate(
            planned.kind,
            attempt,
            prompt_for(labels_of(planned.kind), taxonomy, template),
            seed_of(how.seed, planned.kind, attempt),
        )
        for planned in plan.kinds
        for attempt in range(planned.count)
    ]
    name = bundle.manifest.digest() if tuned else bundle.generator.base.digest
    work = out.parent / f".{out.name}.candidates.partial"
    sampling = how.sampling
    open_work_folder(work, {"generator": name, "sampling": sampling.model_dump(mode="json")})
    store = CandidateStore(work, lambda: _load(bundle, generator, tuned=tuned), sampling, name)
    records = []
    with atomic_folder(out) as folder:
        for start in range(0, len(wanted), how.batch_size):
            batch = wanted[start : start + how.batch_size]
            on_picture(start, len(wanted), out.name)
            for candidate, path in zip(batch, store.fetch(batch), strict=True):
                shutil.copyfile(path, folder / candidate.name)
                records.append(candidate.record(candidate.name, name))
        write_metadata(folder, records)
        learned = learned_by(bundle, None) if tuned else learned_by_base_of(bundle)
        if learned is not None:
            write_learned(folder, learned)
    shutil.rmtree(work)


def _load(bundle: Bundle, generator: GeneratorInputs, *, tuned: bool) -> Sampler:
    from sampling.base import load_pipeline
    from sampling.finding import find_base
    from sampling.generator import Generator

    if tuned:
        return Generator.load(bundle, base=generator.base, device=generator.device)
    folder = find_base(bundle.generator.base, generator.base)
    return Generator.from_pipeline(load_pipeline(folder, device=generator.device))
