"""A generator bundle with random adapters on a given base: as fast as a trained one."""

from __future__ import annotations

from pathlib import Path

from porcelain.bundle import (
    LORA_FILE,
    BaseModelReference,
    Combination,
    GeneratorInfo,
    SamplingDefaults,
    write_manifest,
)
from porcelain.prompts import DEFAULT_TEMPLATE

LABELS = {
    "dynasty": ["ming", "qing", "song", "yuan"],
    "glaze": ["blue_and_white", "celadon", "white"],
    "kiln": ["jingdezhen", "longquan"],
    "type": ["bowl", "jar", "plate", "vase"],
}


def write_random_generator(folder: Path, base: Path, *, rank: int, size: int, steps: int) -> Path:
    """Write a bundle to `folder`.

    Args:
        folder: Must not exist.
        base: A pipeline's folder.
        rank: Of the adapters, which are on the UNet's attention as training puts them.
        size: Side of the pictures.
        steps: Of the sampler.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    from sampling.base import digest_of, load_pipeline
    from training.generator.lora.model import add_adapters, save_adapters

    torch.manual_seed(0)
    pipeline = load_pipeline(base, device="cpu")
    add_adapters(pipeline, rank, float(rank), text_encoder=False)
    for layer in pipeline.unet.modules():
        if isinstance(layer, LoraLayer):
            for second in layer.lora_B.values():  # zero before training
                torch.nn.init.normal_(second.weight, std=0.01)
    save_adapters(pipeline, (folder / LORA_FILE).parent)
    everything = [
        {"dynasty": dynasty, "glaze": glaze, "kiln": kiln, "type": form}
        for dynasty in LABELS["dynasty"]
        for glaze in LABELS["glaze"]
        for kiln in LABELS["kiln"]
        for form in LABELS["type"]
    ]
    info = GeneratorInfo(
        base=BaseModelReference(reference=str(base), digest=digest_of(base)),
        prompt_template=DEFAULT_TEMPLATE,
        labels=LABELS,
        combinations=[Combination(labels=labels, count=1) for labels in everything],
        rank=rank,
        alpha=float(rank),
        sampling=SamplingDefaults(steps=steps, guidance_scale=5.0, width=size, height=size),
    )
    write_manifest(folder, kind="generator", name="random", dataset_digest="0" * 64, generator=info)
    return folder
