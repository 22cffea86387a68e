"""`porcelain generator synthesize`: plan, sample, filter, and leave a dataset folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from porcelain.bundle import Bundle, load_bundle
from porcelain.content_credentials import Signing
from porcelain.errors import UserError
from porcelain.files import atomic_folder, check_free, open_work_folder, sha256_bytes
from porcelain.predictor import Predictor
from porcelain.prompts import prompt_for
from porcelain.vocabulary import TASKS, load_taxonomy
from training.data.allotment import Kind
from training.generator.synthesis.candidates import (
    Candidate,
    CandidateStore,
    Originals,
    Sampler,
    open_originals,
    seed_of,
)
from training.generator.synthesis.controls import Controls, open_controls
from training.generator.synthesis.copies import (
    Photographs,
    leaked_test_warnings,
    photographs_passed,
    read_photographs,
    unknown_label_warnings,
)
from training.generator.synthesis.filtering import Filter, Verdict, rejection_sample
from training.generator.synthesis.learned import learned_by, write_learned
from training.generator.synthesis.plan import Plan, labels_of
from training.generator.synthesis.results import (
    ModelName,
    SynthesisReport,
    count_kinds,
    count_rules,
    write_output,
)
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.sources import Sources, choose_plan, open_sources


@dataclass(frozen=True)
class Inputs:
    """What a synthesis reads.

    Attributes:
        bundle: The generator.
        data: The real photographs; None counts on the bundle's own counts, and looks for no
            copies of photographs.
        split: Their split, if not the one beside them.
        classifier: A classifier bundle that reads the pictures; None does without.
        base: Where the generator's base model is, if not where its bundle says.
        device: `cpu`, `cuda` or `auto`.
        plan_file: A plan to follow to the letter.
        kinds: Kinds to be made, in place of a plan.
        signing: Who signs content credentials; None signs nothing.
        vary_from: Dataset folder whose pictures variations begin at; None takes the training
            photographs.
    """

    bundle: Path
    data: Path | None = None
    split: Path | None = None
    classifier: Path | None = None
    base: str | None = None
    device: str = "auto"
    plan_file: Path | None = None
    kinds: tuple[Kind, ...] = ()
    signing: Signing | None = None
    vary_from: Path | None = None

    def paths(self) -> list[Path]:
        """Every file and folder that is read."""
        given = (
            self.bundle,
            self.data,
            self.split,
            self.classifier,
            self.plan_file,
            self.vary_from,
        )
        return [path for path in given if path is not None]


@dataclass(frozen=True)
class Reporter:
    """What a caller hears meanwhile. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    planned: Callable[[Plan], None] = lambda plan: None
    reading: Callable[[int, int], None] = lambda done, total: None
    sampling: Callable[[int, int, str], None] = lambda kept, planned, note: None


@dataclass
class _Run:
    """One synthesis on its way."""

    sources: Sources
    classifier: Bundle | None
    settings: SynthesisSettings
    plan: Plan
    originals: Originals | None = None
    controls: Controls | None = None
    warnings: list[str] = field(default_factory=list)


def plan_synthesis(
    inputs: Inputs, settings: SynthesisSettings, message: Callable[[str], None] = lambda text: None
) -> Plan:
    """What `synthesize` would make.

    Raises:
        UserError: As `synthesize`.
    """
    sources = open_sources(inputs.bundle, inputs.data, inputs.split, message)
    return choose_plan(sources, settings, plan_file=inputs.plan_file, kinds=inputs.kinds)


def synthesize(
    inputs: Inputs,
    out: Path,
    settings: SynthesisSettings,
    *,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> SynthesisReport:
    """Make pictures after a plan, drop what is wrong, and leave the rest at `out`.

    Interrupted, it goes on from the last batch when called again with the same generator, way of
    sampling and seed; what was sampled is judged anew.

    Args:
        inputs: What to read.
        out: Where the dataset folder is to appear.
        settings: What to make and how.
        overwrite: Replace what is at `out`.
        reporter: Hears of plan and progress.

    Returns:
        The counts, which also lie in the folder.

    Raises:
        UserError: Options, bundles and folders that do not fit, or a plan that cannot be.
    """
    reporter = reporter or Reporter()
    check_free(out, overwrite, inputs.paths())
    work = out.parent / f".{out.name}.candidates.partial"
    run = _prepare(inputs, settings, reporter, work)
    predictor = None
    if run.classifier is not None:
        graph = run.classifier.measured_graph
        predictor = Predictor(run.classifier, threads=os.cpu_count() or 1, graph=graph)
    photographs = _read_photographs(run, predictor, reporter)
    judge = Filter(
        predictor=predictor,
        photographs=photographs,
        agreement=run.settings.agreement,
        defects=run.settings.defects,
    )
    identity = _sampling_identity(run)
    if inputs.signing is not None:
        identity["certificate"] = sha256_bytes(inputs.signing.certificate)
    open_work_folder(work, identity)
    verdicts = _sample(run, inputs, work, judge, reporter)
    report = _report(run, judge, photographs, verdicts)
    with atomic_folder(out, overwrite=overwrite) as folder:
        write_output(folder, run.sources, run.plan, verdicts, report, run.controls)
        learned = learned_by(run.sources.bundle, run.classifier)
        if learned is not None:
            write_learned(folder, learned)
    shutil.rmtree(work)
    return report


def _prepare(inputs: Inputs, settings: SynthesisSettings, reporter: Reporter, work: Path) -> _Run:
    """Load what is read, make the plan, and say which rules cannot be applied."""
    warnings: list[str] = []
    sources = open_sources(inputs.bundle, inputs.data, inputs.split, warnings.append)
    plan = choose_plan(sources, settings, plan_file=inputs.plan_file, kinds=inputs.kinds)
    classifier = None if inputs.classifier is None else load_bundle(inputs.classifier, "classifier")
    if classifier is None:
        warnings.append(
            "No classifier: nothing reads the labels of the pictures, and copies are not looked "
            "for by features. Give --classifier."
        )
    else:
        warnings += unknown_label_warnings(plan, classifier)
    if sources.photographs is None:
        warnings.append(
            "No photographs: copies of training pictures are not looked for. Give --data."
        )
    resolved = settings.resolved(sources.bundle.generator.sampling)
    for warning in warnings:
        reporter.message(warning)
    reporter.planned(plan)
    originals = open_originals(sources, plan, resolved, inputs.vary_from)
    size = (resolved.sampling.width, resolved.sampling.height)
    controls = open_controls(plan, resolved.control, resolved.control_model, size, work)
    if originals is not None and controls is not None:
        raise UserError("--vary begins at a picture and --control at noise; give one of them.")
    return _Run(sources, classifier, resolved, plan, originals, controls, warnings)


def _read_photographs(
    run: _Run, predictor: Predictor | None, reporter: Reporter
) -> Photographs | None:
    dataset = run.sources.photographs
    if dataset is None or run.sources.split is None:
        return None
    photographs = read_photographs(
        dataset,
        frozenset(run.sources.split.names["train"]),
        predictor,
        run.settings.copy_quantile,
        reporter.reading,
    )
    if run.classifier is not None:
        found = leaked_test_warnings(run.classifier, photographs, run.sources.split)
        run.warnings += found
        for warning in found:
            reporter.message(warning)
    return photographs


def _sampling_identity(run: _Run) -> dict[str, object]:
    """What pictures sampled earlier must have in common with these."""
    identity: dict[str, object] = {
        "generator": run.sources.bundle.manifest.digest(),
        "sampling": run.settings.sampling.model_dump(mode="json"),
        "seed": run.settings.seed,
    }
    if run.originals is not None:
        identity["variation"] = run.originals.strength
        identity["photographs"] = run.originals.pictures.digest()
    if run.controls is not None:
        identity |= run.controls.identity()
    return identity


def _sample(
    run: _Run, inputs: Inputs, work: Path, judge: Filter, reporter: Reporter
) -> list[Verdict]:
    bundle, settings = run.sources.bundle, run.settings

    def load() -> Sampler:
        from sampling.generator import Generator

        net = None if run.controls is None else run.controls.controlnet
        return Generator.load(bundle, base=inputs.base, controlnet=net, device=inputs.device)

    store = CandidateStore(
        work,
        load,
        settings.sampling,
        bundle.manifest.digest(),
        inputs.signing,
        run.originals,
        run.controls,
    )
    taxonomy = load_taxonomy(bundle.path)
    template = bundle.generator.prompt_template
    prompts = {
        planned.kind: prompt_for(labels_of(planned.kind), taxonomy, template)
        for planned in run.plan.kinds
    }

    def candidate(kind: Kind, attempt: int) -> Candidate:
        seed = seed_of(settings.seed, kind, attempt)
        if run.originals is None:
            return Candidate(kind, attempt, prompts[kind], seed)
        original, own = run.originals.of(kind, attempt), run.originals.photographed
        return Candidate(kind, attempt, prompts[kind], seed, original, own)

    state = {"kept": 0, "sampled": 0}

    def tell(note: str = "") -> None:
        text = f"{state['sampled']} sampled{note}"
        reporter.sampling(state["kept"], run.plan.total, text)

    def stepped(step: int, steps: int) -> bool:
        tell(f", step {step}/{steps}")
        return True

    def fetch(batch: Sequence[Candidate]) -> list[Path]:
        return store.fetch(batch, stepped)

    def on_progress(kept: int, sampled: int) -> None:
        state.update(kept=kept, sampled=sampled)
        tell()

    tell()
    return rejection_sample(
        run.plan,
        candidate,
        attempts=settings.attempts,
        batch_size=settings.batch_size,
        fetch=fetch,
        judge=judge.judge,
        on_progress=on_progress,
    )


def _report(
    run: _Run, judge: Filter, photographs: Photographs | None, verdicts: Sequence[Verdict]
) -> SynthesisReport:
    dataset = run.sources.photographs
    passed = None
    if photographs is not None and run.sources.split is not None:
        passed = photographs_passed(photographs, run.sources.split, run.settings.agreement)
    return SynthesisReport(
        generator=ModelName.of(run.sources.bundle),
        classifier=None if run.classifier is None else ModelName.of(run.classifier),
        classifier_graph=None if run.classifier is None else run.classifier.measured_graph,
        data_digest=None if dataset is None else dataset.digest(),
        settings=run.settings,
        planned=run.plan.total,
        sampled=len(verdicts),
        kept=sum(verdict.kept for verdict in verdicts),
        kinds=count_kinds(run.plan, verdicts),
        rules=count_rules(verdicts),
        misread={task: sum(task in v.misread for v in verdicts) for task in TASKS},
        photographs_passed=passed,
        copy_limits=judge.thresholds,
        warnings=run.warnings,
    )
