"""A generator bundle on a tiny random pipeline, with a LoRA that changes what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from porcelain.bundle import (
    LORA_FILE,
    SPLIT_FILE,
    BaseModelReference,
    Combination,
    GeneratorInfo,
    SamplingDefaults,
    write_manifest,
)
from porcelain.prompts import DEFAULT_TEMPLATE
from porcelain.vocabulary import TASKS
from sampling.layout import digest_of
from tests.sampling.tiny_bundle import ALPHA, RANK, make_tiny_lora
from tests.sampling.tiny_pipeline import SIZE
from training.data.allotment import Kind
from training.data.split import Split, write_split
from training.generator.synthesis.plan import labels_of


def make_generator_bundle(
    folder: Path, base: Path, kinds: Mapping[Kind, int], split: Split | None = None, steps: int = 2
) -> Path:
    """Write a bundle that has seen `kinds` so many times each."""
    folder.mkdir(parents=True)
    make_tiny_lora((folder / LORA_FILE).parent, base)
    if split is not None:
        write_split(folder / SPLIT_FILE, split)
    info = GeneratorInfo(
        base=BaseModelReference(reference=str(base), digest=digest_of(base)),
        prompt_template=DEFAULT_TEMPLATE,
        labels={
            task: sorted({labels_of(kind)[task] for kind in kinds if task in labels_of(kind)})
            for task in TASKS
        },
        combinations=[Combination(labels=labels_of(kind), count=n) for kind, n in kinds.items()],
        rank=RANK,
        alpha=ALPHA,
        sampling=SamplingDefaults(steps=steps, guidance_scale=2.0, width=SIZE, height=SIZE),
    )
    write_manifest(folder, kind="generator", name="tiny", dataset_digest="0" * 64, generator=info)
    return folder
