"""The four questions asked of every picture, and how their labels are named for people."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from porcelain.errors import DatasetError

TASKS: tuple[str, ...] = ("dynasty", "glaze", "kiln", "type")
"""Task names in the order in which labels, heads and outputs are kept everywhere."""

CATCH_ALL = "other"
"""The slug, in any task, of what fits none of its labels: it names no look."""

TAXONOMY_FILE = "taxonomy.yaml"


class Term(BaseModel):
    """Names of one label: English, Chinese, and the phrase that stands for it in a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str
    zh: str | None = None
    phrase: str | None = None


TASK_NAMES: Final = {
    "dynasty": Term(en="Dynasty", zh="朝代"),
    "glaze": Term(en="Glaze", zh="釉色"),
    "kiln": Term(en="Kiln", zh="窯口"),
    "type": Term(en="Type", zh="器型"),
}
"""What people call the tasks, on every page and report."""


def task_term(task: str) -> Term:
    """The names of `task`, made from its column's name where the table has none."""
    return TASK_NAMES.get(task) or Term(en=task.replace("_", " ").capitalize())


class Taxonomy(BaseModel):
    """Names for the labels of each task. Labels without an entry are named by their slug."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dynasty: dict[str, Term] = {}
    glaze: dict[str, Term] = {}
    kiln: dict[str, Term] = {}
    type: dict[str, Term] = {}

    def term(self, task: str, label: str) -> Term:
        """The names of `label`, made from the slug where the taxonomy has none."""
        terms: dict[str, Term] = getattr(self, task)
        return terms.get(label) or Term(en=label.replace("_", " "))


def load_taxonomy(folder: Path | None = None) -> Taxonomy:
    """Read `taxonomy.yaml` from a dataset folder, or the one that ships where it has none.

    Raises:
        DatasetError: The file is not valid YAML or has unknown tasks or fields.
    """
    if folder is not None and (folder / TAXONOMY_FILE).is_file():
        return _parse((folder / TAXONOMY_FILE).read_text(encoding="utf-8"), folder / TAXONOMY_FILE)
    return default_taxonomy()


@cache
def default_taxonomy() -> Taxonomy:
    """The taxonomy that ships with the project."""
    resource = files("porcelain").joinpath(TAXONOMY_FILE)
    return _parse(resource.read_text(encoding="utf-8"), Path(TAXONOMY_FILE))


def _parse(text: str, path: Path) -> Taxonomy:
    try:
        return Taxonomy.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise DatasetError(f"{path} is not a valid taxonomy: {error}") from error
