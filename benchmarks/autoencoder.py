r"""How much of a picture does an autoencoder take away?

The pictures outside the training part pass through it and are compared with those of the training
part, beside themselves as they were:

    python -m benchmarks.autoencoder models/porcelain-small --data DIR --classifier BUNDLE

What is printed: the kernel inception distance of both in the classifier's features, or in those of
a timm backbone (`--backbone NAME --pretrained FILE`), in which of them the classifier reads the
labels, and PSNR. No generator can do better than its autoencoder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import AutoencoderKL
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from porcelain.bundle import load_bundle
from porcelain.dataset import Dataset, load_dataset, subset
from porcelain.predictor import Predictor
from porcelain.preparation import load_and_prepare
from porcelain.vocabulary import TASKS
from training.data.split import SUBSETS, split_or_make
from training.generator.evaluation.groups import is_rare, rare_labels
from training.generator.evaluation.kernel_distance import kernel_distance
from training.generator.evaluation.sets import PictureSet, agreement, describe_set
from training.generator.evaluation.spaces import BackboneSpace, ClassifierSpace, Space
from training.generator.synthesis.kinds import kind_of


def main(
    autoencoders: Annotated[
        list[Path], typer.Argument(help="Base models, or folders with a VAE in diffusers' layout.")
    ],
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    classifier: Annotated[
        Path, typer.Option(help="Classifier bundle that learned from the same training part.")
    ],
    split: Annotated[Path | None, typer.Option(help="Default: the dataset's own.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Measure in its features instead.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="The backbone's weights.")] = None,
    size: Annotated[int, typer.Option(help="Side of the pictures that pass, in pixels.")] = 128,
) -> None:
    """Print what each autoencoder leaves of the pictures."""
    dataset = load_dataset(data)
    names = split_or_make(dataset, split, seed=0).names
    train = subset(dataset, names["train"])
    others = subset(dataset, [name for part in SUBSETS[1:] for name in names[part]])
    bundle = load_bundle(classifier, "classifier")
    graph = bundle.measured_graph
    predictor = Predictor(bundle, threads=os.cpu_count() or 1, graph=graph)
    reader = ClassifierSpace(predictor, graph, None)
    space: Space = reader
    if backbone is not None:
        if pretrained is None:
            raise typer.BadParameter("--backbone needs --pretrained.")
        space = BackboneSpace(backbone, pretrained, None)
    table = Table("", "KID, all", "KID, rare kinds", "read as labelled", "PSNR", title=space.name)
    with TemporaryDirectory() as name:
        folder = Path(name)

        def described(part: Dataset, pictures: Sequence[Path]) -> PictureSet:
            kinds = [kind_of(record.labels) for record in part.records]
            return describe_set(pictures, [p.name for p in pictures], kinds, space, reader)

        known = described(train, _save(train, size, folder / "train", None)[0])
        rare = rare_labels(known.kinds)
        for number, place in enumerate((None, *autoencoders)):
            title = "the pictures themselves" if place is None else str(place)
            paths, ratio = _save(others, size, folder / str(number), place)
            shown = described(others, paths)
            pairs = ((known, shown), (_rare(known, rare), _rare(shown, rare)))
            distances = [kernel_distance(one.features, two.features) for one, two in pairs]
            told = agreement(shown)
            table.add_row(
                title,
                *("" if d is None else f"{d.value:.3f} ± {d.std:.3f}" for d in distances),
                " / ".join(f"{told[t] or 0:.0%}" for t in TASKS),
                "" if place is None else f"{ratio:.1f} dB",
            )
    Console(width=140).print(table)


def _rare(pictures: PictureSet, rare: dict[str, frozenset[str]]) -> PictureSet:
    return pictures.take([i for i, kind in enumerate(pictures.kinds) if is_rare(kind, rare)])


def _save(
    dataset: Dataset, size: int, out: Path, autoencoder: Path | None
) -> tuple[list[Path], float]:
    """Write the pictures at `size`, through an autoencoder if there is one; with the mean PSNR."""
    out.mkdir()
    model = None if autoencoder is None else _load(autoencoder)
    paths, ratios = [], []
    for index, record in track(
        enumerate(dataset.records), description=out.name, total=len(dataset.records)
    ):
        pixels = load_and_prepare(dataset.path(record), size, "letterbox")
        if model is not None:
            passed = _pass(model, pixels)
            error = float(np.mean((passed.astype(float) - pixels) ** 2))
            ratios.append(10 * np.log10(255**2 / max(error, 1e-9)))
            pixels = passed
        paths.append(out / f"{index:06d}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths, float(np.mean(ratios)) if ratios else float("inf")


@torch.inference_mode()
def _pass(model: AutoencoderKL, pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] to what comes out at the other end, by the mean of its latents."""
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    decoded: Tensor = model.decode(model.encode(images).latent_dist.mean).sample[0]
    return ((decoded.clamp(-1, 1).permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()


def _load(place: Path) -> AutoencoderKL:
    folder = place / "vae" if (place / "vae").is_dir() else place
    if not (folder / "config.json").is_file():
        raise typer.BadParameter(f"{place} has no autoencoder in diffusers' layout.")
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()


if __name__ == "__main__":
    typer.run(main)
