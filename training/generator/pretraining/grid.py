"""One picture of samples: a form per row, a glaze per column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

from porcelain.dataset import Dataset
from porcelain.prompts import prompt_for
from porcelain.vocabulary import Taxonomy

MARGIN = 92
HEADER = 34
INK = (40, 40, 40)


@dataclass(frozen=True)
class GridPlan:
    """What a grid shows.

    Attributes:
        types: Slugs of forms, one per row.
        glazes: Slugs of glazes, one per column.
        prompts: One per cell, row by row.
        names: English names of rows and columns.
    """

    types: tuple[str, ...]
    glazes: tuple[str, ...]
    prompts: tuple[str, ...]
    names: dict[str, str]


def plan_grid(
    dataset: Dataset, taxonomy: Taxonomy, template: str, rows: int, columns: int
) -> GridPlan:
    """The most frequent forms and glazes of a dataset that have a phrase of their own.

    Args:
        dataset: Whose labels are shown.
        taxonomy: Gives phrases and names.
        template: How labels become a prompt.
        rows: Forms at most.
        columns: Glazes at most.
    """
    types = _most_frequent(dataset, taxonomy, "type", rows)
    glazes = _most_frequent(dataset, taxonomy, "glaze", columns)
    prompts = [
        prompt_for({"type": form, "glaze": glaze}, taxonomy, template)
        for form in types or (None,)
        for glaze in glazes or (None,)
    ]
    names = {form: taxonomy.term("type", form).en for form in types}
    names |= {glaze: taxonomy.term("glaze", glaze).en for glaze in glazes}
    return GridPlan(types, glazes, tuple(prompts), names)


def sample_grid(
    pipeline: StableDiffusionPipeline,
    plan: GridPlan,
    *,
    steps: int,
    guidance_scale: float,
    seed: int,
    size: int,
    batch_size: int = 16,
) -> Image.Image:
    """Sample every cell; the seed of a cell depends on its place alone.

    Args:
        pipeline: What is to be seen.
        plan: Forms, glazes and prompts.
        steps: Denoising steps.
        guidance_scale: Of classifier-free guidance.
        seed: Of the first cell.
        size: Side of a sample in pixels.
        batch_size: Samples at once.
    """
    pictures: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(plan.prompts), batch_size):
        prompts = list(plan.prompts[start : start + batch_size])
        generators = [
            torch.Generator("cpu").manual_seed(seed + start + i) for i in range(len(prompts))
        ]
        pictures.extend(
            pipeline(
                prompts,
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                generator=generators,
                width=size,
                height=size,
                output_type="np",
            ).images
        )
    rows = [plan.names[form] for form in plan.types] or [""]
    columns = [plan.names[glaze] for glaze in plan.glazes] or [""]
    return draw_grid([_to_image(picture) for picture in pictures], rows, columns)


def draw_grid(
    pictures: Sequence[Image.Image], rows: Sequence[str], columns: Sequence[str]
) -> Image.Image:
    """Put pictures of one size, row by row, under names of columns and beside names of rows."""
    size = pictures[0].size[0]
    sheet = Image.new("RGB", (MARGIN + size * len(columns), HEADER + size * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for column, name in enumerate(columns):
        place = (MARGIN + size * column + size // 2, HEADER // 2)
        pen.text(place, name, fill=INK, font=font, anchor="mm")
    for row, name in enumerate(rows):
        top = HEADER + size * row
        pen.text((8, top + size // 2), name, fill=INK, font=font, anchor="lm")
        for column in range(len(columns)):
            sheet.paste(pictures[row * len(columns) + column], (MARGIN + size * column, top))
    return sheet


def draw_pairs(
    originals: npt.NDArray[np.uint8], copies: npt.NDArray[np.uint8], columns: int = 8
) -> Image.Image:
    """Originals uint8 [N, H, W, 3], each with its reconstruction below it."""
    count = min(len(originals), len(copies))
    columns = min(columns, count)
    pictures, rows = [], []
    for start in range(0, count - columns + 1, columns):
        chosen = slice(start, start + columns)
        pictures += [Image.fromarray(p) for p in (*originals[chosen], *copies[chosen])]
        rows += ["original", "reconstructed"]
    return draw_grid(pictures, rows, [""] * columns)


def _most_frequent(dataset: Dataset, taxonomy: Taxonomy, task: str, most: int) -> tuple[str, ...]:
    counts = sorted(dataset.counts(task).items(), key=lambda pair: (-pair[1], pair[0]))
    known = getattr(taxonomy, task)
    named = [label for label, _ in counts if label not in known or known[label].phrase]
    return tuple(named[:most])


def _to_image(picture: npt.NDArray[np.float32]) -> Image.Image:
    return Image.fromarray((np.nan_to_num(picture) * 255).round().astype(np.uint8))
