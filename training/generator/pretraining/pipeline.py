"""From a dataset folder to a base: every step of `porcelain generator pretrain`."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from porcelain.cli.console import Stages, console
from porcelain.errors import UserError
from porcelain.files import (
    SETTINGS_FILE,
    atomic_folder,
    check_free,
    open_work_folder,
    write_json,
)
from porcelain.vocabulary import TASKS
from training.data.check import refuse_misleading
from training.data.digests import TRAIN_PART, learned_by_base, write_digests
from training.data.split import SUBSETS
from training.generator.pretraining.autoencoder_stage import (
    LATENTS_FILE,
    AutoencoderResult,
    measure_reconstruction,
    run_autoencoder_stage,
)
from training.generator.pretraining.data import (
    Captions,
    DecodedPictures,
    PretrainingData,
    build_tokenizer,
    decode_pictures,
    load_pretraining_data,
    prompt_vocabulary,
)
from training.generator.pretraining.diffusion_stage import (
    GUIDANCE_SCALE,
    DiffusionResult,
    held_out_loss,
    run_diffusion_stage,
)
from training.generator.pretraining.losses import FeatureDistance, load_feature_distance
from training.generator.pretraining.model import (
    assemble,
    count_parameters,
    encode_pictures,
    folder_bytes,
    load_latents,
    save_half_precision,
)
from training.generator.pretraining.report import commands, plan_grid, sample_grid, write_card
from training.generator.pretraining.settings import PretrainSettings
from training.generator.pretraining.stage import (
    InitialWeights,
    Reporter,
    RunContext,
    StageProgress,
    continues_base,
    open_initial_weights,
)
from training.processes import open_accelerator

LOG_SECONDS = 60.0
"""Between lines where no bar can move."""


@dataclass
class Presentation:
    """Bars at a terminal; a line a minute elsewhere."""

    stages: Stages
    _last: float = field(default=float("-inf"))

    def reporter(self) -> Reporter:
        """The hooks of a run."""
        return Reporter(self.stages.say, self._preparing, self._step)

    def _preparing(self, what: str, done: int, total: int) -> None:
        self.stages.report(what.capitalize(), done, total)

    def _step(self, progress: StageProgress) -> None:
        rate = progress.pictures_per_second
        note = f"loss {progress.loss:.4f}  {rate:.1f} pictures/s"
        if console().is_terminal:
            self.stages.report(f"Training {progress.stage}", progress.step, progress.total, note)
        elif time.monotonic() - self._last > LOG_SECONDS:
            self._last = time.monotonic()
            remaining = (progress.total - progress.step) * progress.batch_size / max(rate, 1e-9)
            self.stages.say(
                f"{time.strftime('%H:%M:%S')} {progress.stage}: step {progress.step} of "
                f"{progress.total}, {note}, {remaining / 3600:.2f} h left"
            )


GRID_FILE = "grid.png"
MEASURES_FILE = "measures.json"
PREVIEW_CELLS = 6
GRID_CELLS = 8
GRID_STEPS = 25


def pretrain(
    data: Path,
    out: Path,
    settings: PretrainSettings,
    *,
    split: Path | None = None,
    base: Path | None = None,
    autoencoder: Path | None = None,
    judge: str = "none",
    logs: Path | None = None,
    name: str = "porcelain-small",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train autoencoder, text encoder and UNet; leave a pipeline folder at `out`.

    Interrupted, it goes on from the last checkpoint when called again with settings that differ
    in nothing but steps, hours and `runtime`.

    Args:
        data: A dataset folder; only its training part is learned from.
        out: Where the pipeline folder is to appear.
        settings: How to train.
        split: A `split.json`; by default the dataset's own, or one made from the seed.
        base: An earlier result to go on from, of whose autoencoder only the decoder learns; by
            default all starts from random weights.
        autoencoder: In its place, a pipeline folder whose autoencoder alone is used as it is.
        judge: Features to measure reconstruction in, named like `perceptual`; nothing learns
            from them.
        logs: Folder for TensorBoard.
        name: Name of the base.
        overwrite: Replace what is at `out`.
        reporter: Hears of progress.

    Returns:
        The content of `measures.json`.

    Raises:
        UserError: Arguments, dataset, split or weights do not fit.
    """
    reporter = reporter or Reporter()
    check_free(out, overwrite, (data, *(path for path in (base, autoencoder) if path)))
    refuse_misleading(data, split)
    start = open_initial_weights(base, autoencoder)
    if start is not None:
        settings = start.fit(settings)
    if settings.diffusion.steps == 0 and not continues_base(start):
        raise UserError("--steps 0 keeps the UNet of a base; give --base, or let one be trained.")
    material = load_pretraining_data(data, split, settings.seed)
    settings, distance = _resolve_perceptual(settings, start, reporter)
    context = RunContext(
        settings, out.parent / f".{out.name}.training", open_accelerator(), reporter, logs
    )
    open_work_folder(context.work, _identity(context, material, start))
    training, held_out = (_decode(context, material, part) for part in ("train", "held-out"))
    first = run_autoencoder_stage(context, training.pixels, held_out.pixels, distance, start)
    tokenizer = _tokenizer(context, material, start)
    captions = Captions(training.records, material.taxonomy, settings.template, tokenizer)
    plan = plan_grid(
        material.training, material.taxonomy, settings.template, PREVIEW_CELLS, PREVIEW_CELLS
    )
    latents = load_latents(context.work / LATENTS_FILE, context.device)
    second = run_diffusion_stage(
        context, first.autoencoder, tokenizer, latents, captions, plan, start
    )
    measured_with = _judge(judge, settings, distance, reporter)
    measures = _measure(context, material, held_out, first, second, measured_with)
    measures["start"] = None if start is None else start.summary() | {"recipe": _recipe(start)}
    measures["autoencoder"] |= {
        "perceptual_loss": distance.name if distance else "none",
        "perceptual_recipe": distance.recipe if distance else None,
    }
    with atomic_folder(out, overwrite=overwrite) as folder:
        before = frozenset[str]() if start is None else learned_by_base(start.folder)
        learned = [record.file_name for record in material.training.records]
        write_digests(folder, material.dataset.root, {TRAIN_PART: learned}, before)
        measures = _write(folder, context, material, first, second, measures, name)
    shutil.rmtree(context.work)
    return measures


def _recipe(start: InitialWeights) -> list[str]:
    """The commands that make a base to go on from, as far as is known."""
    measures = start.folder / MEASURES_FILE
    if start.settings is None or not measures.is_file():
        return []
    return commands(start.settings, json.loads(measures.read_text(encoding="utf-8")))


def _tokenizer(
    context: RunContext, material: PretrainingData, start: InitialWeights | None
) -> CLIPTokenizer:
    if continues_base(start):
        return start.load_tokenizer()
    labels = {task: material.training.classes(task) for task in TASKS}
    return build_tokenizer(
        prompt_vocabulary(material.taxonomy, labels, context.settings.template),
        context.settings.diffusion.text_length,
    )


def _resolve_perceptual(
    settings: PretrainSettings, start: InitialWeights | None, reporter: Reporter
) -> tuple[PretrainSettings, FeatureDistance | None]:
    """Settings that say what is really used, and the distance to train with."""
    if start is not None and (start.settings is None or settings.decoder.steps == 0):
        return settings, None
    stage = settings.autoencoder
    found = load_feature_distance(stage.perceptual, stage.perceptual_backbone)
    if isinstance(found, FeatureDistance):
        return settings, found
    if stage.perceptual != "none":
        reporter.message(found)
    stage = stage.model_copy(update={"perceptual": "none"})
    return settings.model_copy(update={"autoencoder": stage}), None


def _judge(
    judge: str,
    settings: PretrainSettings,
    distance: FeatureDistance | None,
    reporter: Reporter,
) -> FeatureDistance | None:
    if judge == "none":
        return distance
    found = load_feature_distance(judge, settings.autoencoder.perceptual_backbone)
    if isinstance(found, FeatureDistance):
        return found
    reporter.message(found)
    return distance


def _identity(
    context: RunContext, material: PretrainingData, start: InitialWeights | None
) -> dict[str, Any]:
    return {
        "settings": context.settings.identity(),
        "data": material.digest,
        "split": {part: list(material.split.names[part]) for part in SUBSETS},
        "start": {} if start is None else start.digests(),
    }


def _decode(context: RunContext, material: PretrainingData, part: str) -> DecodedPictures:
    return decode_pictures(
        material.training if part == "train" else material.held_out,
        part,
        context.settings.size,
        context.settings.resize,
        context.work,
        context.reporter.message,
        lambda done, total: context.reporter.preparing("decoding pictures", done, total),
    )


def _measure(
    context: RunContext,
    material: PretrainingData,
    held_out: DecodedPictures,
    first: AutoencoderResult,
    second: DiffusionResult,
    judge: FeatureDistance | None,
) -> dict[str, Any]:
    vae = first.autoencoder
    autoencoder: dict[str, Any] = asdict(first.stats)
    diffusion: dict[str, Any] = asdict(second.stats)
    if len(held_out):
        autoencoder["reconstruction"] = measure_reconstruction(vae, held_out.pixels, judge)
        if judge is not None:
            autoencoder["perceptual_measure"] = judge.name
        objective = second.objective
        captions = objective.captions.of(held_out.records)
        latents, _ = encode_pictures(vae, held_out.pixels)
        diffusion["held_out"] = held_out_loss(objective, latents, captions, context.dtype)
        count = min(len(latents), len(objective.latents))
        diffusion["training"] = held_out_loss(
            objective, objective.latents[:count], objective.captions, context.dtype
        )
    return {
        "data": {
            "digest": material.digest,
            "training_pictures": len(material.training),
            "held_out_pictures": len(held_out),
        },
        "autoencoder": autoencoder,
        "decoder": asdict(first.decoder_stats),
        "diffusion": diffusion,
    }


def _write(
    folder: Path,
    context: RunContext,
    material: PretrainingData,
    first: AutoencoderResult,
    second: DiffusionResult,
    measures: dict[str, Any],
    name: str,
) -> dict[str, Any]:
    settings, denoiser = context.settings, second.objective.denoiser
    tokenizer = second.objective.captions.tokenizer
    whole = assemble(first.autoencoder, denoiser.text_encoder, tokenizer, denoiser.unet)
    loaded = save_half_precision(whole, folder)
    context.reporter.message("Sampling the grid from the saved files")
    grid = sample_grid(
        loaded.to(context.device),
        plan_grid(material.training, material.taxonomy, settings.template, GRID_CELLS, GRID_CELLS),
        steps=GRID_STEPS,
        guidance_scale=GUIDANCE_SCALE,
        seed=settings.seed,
        size=settings.size,
    )
    grid.save(folder / GRID_FILE, optimize=True)
    published = settings.published()
    write_json(folder / SETTINGS_FILE, published.model_dump(mode="json"))
    measures = {
        "parameters": count_parameters(loaded),
        "bytes": folder_bytes(folder),
        **measures,
    }
    write_json(folder / MEASURES_FILE, measures)
    licences = {record.extra.get("license", "") for record in material.training.records}
    write_card(folder, name, published, measures, sorted(licences - {""}))
    return measures
