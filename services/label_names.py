"""What people call a bundle's labels, for pages that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from porcelain.vocabulary import load_taxonomy

Names = dict[str, dict[str, dict[str, str]]]


def label_names(bundle: Path, labels: Mapping[str, Sequence[str]]) -> Names:
    """English and, where known, Chinese name by task and label.

    Args:
        bundle: Its folder, with a `taxonomy.yaml` or without.
        labels: Slugs per task.

    Raises:
        DatasetError: The bundle's taxonomy is not valid.
    """
    taxonomy = load_taxonomy(bundle)
    return {
        task: {
            slug: taxonomy.term(task, slug).model_dump(include={"en", "zh"}, exclude_none=True)
            for slug in slugs
        }
        for task, slugs in labels.items()
    }
