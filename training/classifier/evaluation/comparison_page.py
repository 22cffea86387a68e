"""A comparison as one self-contained HTML page, with the pictures that turned."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from porcelain.dataset import Dataset
from porcelain.files import atomic_folder, write_text
from porcelain.images import decode_image
from training.classifier.evaluation.comparison import MEASURES, Comparison
from training.pages.page import page_templates, thumbnail_uri

COMPARISON_FILE: Final = "comparison.json"
PAGE_FILE: Final = "comparison.html"
TEMPLATE: Final = "comparison.html.jinja"
SHOWN: Final = 24
"""Pictures per task that the page shows."""

_SIDE: Final = 240


def write_comparison(
    comparison: Comparison, dataset: Dataset, out: Path, *, overwrite: bool = False
) -> None:
    """Write `comparison.json` and `comparison.html` to a folder that appears whole.

    Args:
        comparison: What was found.
        dataset: Where the pictures are read.
        out: The folder.
        overwrite: Replace what is there.
    """
    names = {one.file_name for task in comparison.tasks.values() for one in task.turned[:SHOWN]}
    pictures = {name: picture_uri(dataset.root / name) for name in sorted(names)}
    page = page_templates("training.classifier.evaluation").get_template(TEMPLATE)
    with atomic_folder(out, overwrite=overwrite) as folder:
        write_text(folder / COMPARISON_FILE, comparison.model_dump_json(indent=2) + "\n")
        write_text(
            folder / PAGE_FILE,
            page.render(comparison=comparison, measures=MEASURES, pictures=pictures, shown=SHOWN),
        )


def picture_uri(path: Path, side: int = _SIDE) -> str:
    """A picture file as a small JPEG data URI."""
    return thumbnail_uri(decode_image(path.read_bytes()).pixels, side)
