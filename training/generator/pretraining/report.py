"""What describes a base for people: a grid of samples, and the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

from porcelain.dataset import Dataset
from porcelain.files import write_text
from porcelain.prompts import prompt_for
from porcelain.vocabulary import Taxonomy
from training.generator.pretraining.settings import PretrainSettings

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
        guidance_scale: Scale of classifier-free guidance.
        seed: Seed of the first cell; each other one has the next number.
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


FRONT_MATTER = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion, latent-diffusion, ceramics, porcelain]
---
"""


def write_card(
    folder: Path,
    name: str,
    settings: PretrainSettings,
    measures: dict[str, Any],
    data_licences: list[str],
) -> None:
    """Write `README.md` of a pretrained base.

    Args:
        folder: The pipeline folder.
        name: Name of the base.
        settings: How it was trained.
        measures: The content of `measures.json`.
        data_licences: Licences that the dataset names.
    """
    text = "\n".join(
        [
            FRONT_MATTER,
            f"# {name}\n",
            _introduction(settings, measures, data_licences),
            "![Samples: forms by glazes](grid.png)\n",
            "## Measures\n",
            _measures_table(measures),
            "## Make it again\n",
            _again(settings, measures),
            "## Limits\n",
            _limits(settings, measures),
        ]
    )
    write_text(folder / "README.md", text)


def _introduction(settings: PretrainSettings, measures: dict[str, Any], licences: list[str]) -> str:
    features = measures["autoencoder"]["perceptual_loss"]
    by_features = "" if features == "none" else f"\n  with features of {features}"
    held_to = "" if _goes_on(measures) else by_features
    data = measures["data"]
    named = f" (licence: {', '.join(licences)})" if licences else ""
    return f"""\
A small latent diffusion model of Chinese porcelain, {settings.size} pixels a side, trained
{_from(measures)} in Stable Diffusion's own parts. It is a base to fine-tune with LoRA where
no hub is reached, and small enough for a CPU:

```python
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("FOLDER")
prompt = "museum photograph of a vase, celadon green glaze, Longquan ware, Song dynasty"
picture = pipeline(prompt, num_inference_steps=25, guidance_scale=3.0).images[0]
```

- **Autoencoder** (`AutoencoderKL`): to {settings.autoencoder.latent_channels} channels at an
  eighth of the size; held to absolute error, structural similarity and gradients at three
  scales{held_to}.{_decoder_alone(settings, measures, by_features)}
  Latents have zero mean and unit variance per channel (folded into its two 1 x 1 convolutions),
  so the scaling factor is 1.
- **Text encoder** (`CLIPTextModel`, `CLIPTokenizer`): trained with the UNet; its vocabulary is
  made from the prompts' words and every byte.
- **UNet** (`UNet2DConditionModel`): v-prediction, min-SNR weighting, a noise schedule that ends
  in pure noise.

It learned from the training part ({data["training_pictures"]} pictures) of a dataset with SHA-256
`{data["digest"]}`{named}; `digests.json` lists them by content. The weights' licence is Apache-2.0.
"""


def _measures_table(measures: dict[str, Any]) -> str:
    autoencoder, diffusion = measures["autoencoder"], measures["diffusion"]
    decoder = measures["decoder"]
    parameters = measures["parameters"]
    rows = [
        ("parameters", f"{parameters['total']:,}"),
        ("of these autoencoder, text encoder, UNet", _three(parameters)),
        ("size of all files", f"{measures['bytes'] / 2**20:.1f} MiB, float16"),
    ]
    held_out = autoencoder.get("reconstruction")
    if held_out:
        rows += [
            (
                f"reconstruction, PSNR ({held_out['pictures']:.0f} held-out pictures)",
                f"{held_out['psnr']:.2f} dB (10th percentile "
                f"{held_out['psnr_10th_percentile']:.2f} dB)",
            ),
            ("reconstruction, structural similarity", f"{held_out['ssim']:.3f}"),
        ]
        if "perceptual" in held_out:
            what = autoencoder["perceptual_measure"]
            rows.append((f"reconstruction, distance in {what}", f"{held_out['perceptual']:.4f}"))
    rows += [
        ("autoencoder, steps and hours", _training_effort(autoencoder)),
        *([("its decoder after that", _training_effort(decoder))] if decoder["steps"] else []),
        ("diffusion, steps and hours", _training_effort(diffusion)),
    ]
    for part in ("training", "held_out"):
        if part in diffusion:
            label = part.replace("_", "-")
            rows.append((f"squared error of the velocity, {label}", f"{diffusion[part]:.4f}"))
    lines = ["| what | value |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines) + "\n"


def commands(settings: PretrainSettings, measures: dict[str, Any]) -> list[str]:
    """What to run to make the same base again, in order; the last one leaves it at OUT.

    Args:
        settings: The content of its `settings.json`.
        measures: The content of its `measures.json`.
    """
    start, whole = measures.get("start"), _goes_on(measures)
    earlier = list(start.get("recipe", [])) if start else []
    if start and earlier:
        earlier[-1] = earlier[-1].replace("--out OUT", f"--out {start['name']}")
    data, first = measures["data"], measures["autoencoder"]
    # Bases of old have no entry for the decoder: gone on with, that was all the first stage did.
    decoder = measures.get("decoder", {"steps": first["steps"] if whole else 0})
    command = [
        f"# DATA: {data['training_pictures']} pictures to learn from, SHA-256 {data['digest']}\n"
        "porcelain generator pretrain --data DATA --out OUT",
        *([f"--{'base' if whole else 'autoencoder'} {start['name']}"] if start else []),
        f"--size {settings.size} --seed {settings.seed}",
        *([] if start else [f"--autoencoder-steps {first['steps']} {_first_batch(settings)}"]),
        *([] if start and not whole else [f"--decoder-steps {decoder['steps']}"]),
        f"--steps {measures['diffusion']['steps']} --batch-size {settings.diffusion.batch_size}",
        f"--perceptual {settings.autoencoder.perceptual}",
    ]
    before = first.get("perceptual_recipe")
    known = "\n".join(earlier)
    needed = [before] if before and before not in known else []
    return [*earlier, *needed, " \\\n  ".join(command)]


def _first_batch(settings: PretrainSettings) -> str:
    return f"--autoencoder-batch-size {settings.autoencoder.batch_size}"


def _again(settings: PretrainSettings, measures: dict[str, Any]) -> str:
    return (
        "```bash\n"
        + "\n".join(commands(settings, measures))
        + "\n```\n\nEvery other setting is in `settings.json`, every number in `measures.json`.\n"
    )


def _goes_on(measures: dict[str, Any]) -> bool:
    """Whether a whole base was the start, and not an autoencoder alone."""
    start = measures.get("start")
    return start is not None and any(name.startswith("unet/") for name in start["digests"])


def _limits(settings: PretrainSettings, measures: dict[str, Any]) -> str:
    return f"""\
- It knows forms, glazes and wares by their names in prompts like the one above; other words mean
  nothing to it. Inscriptions and fine figures are texture, not drawing.
- It was trained at {settings.size} pixels; other sizes repeat or cut off the object.
- Its pictures are synthetic and say nothing of how a real object looked.
"""


def _from(measures: dict[str, Any]) -> str:
    start = measures.get("start")
    return "from scratch" if start is None else f"on from `{start['name']}`"


def _decoder_alone(settings: PretrainSettings, measures: dict[str, Any], by_features: str) -> str:
    if measures["decoder"]["steps"] == 0:
        return ""
    opponent = settings.decoder.adversarial_weight > 0
    against = " against a discriminator" if opponent else ""
    return f"\n  Its decoder then learned on alone{against}{by_features}."


def _three(parameters: dict[str, int]) -> str:
    return ", ".join(f"{parameters[part] / 1e6:.2f} M" for part in ("vae", "text_encoder", "unet"))


def _training_effort(stage: dict[str, Any]) -> str:
    if not stage.get("steps"):
        return "taken over as it was"
    return f"{stage['steps']:,} × {stage['batch_size']} pictures, {stage['hours']:.2f} h"
