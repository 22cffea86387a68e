"""The table of wares: which labels go together, how often, and how each ware looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from numpy.random import Generator

from porcelain.dataset import Dataset
from porcelain.errors import UserError
from training.data.rendering.forms import Potting, shape_names
from training.data.rendering.motifs import BORDERS, FIELDS

TYPES = ("bowl", "cup", "dish", "vase", "jar", "ewer", "basin", "censer", "spittoon", "box",
         "pillow", "figure", "other")  # fmt: skip
DYNASTIES = ("jin_266_420", "tang", "song", "yuan", "ming", "qing")
GLAZES = ("celadon", "white", "qingbai", "black_brown", "jun_blue", "sancai", "green", "yellow",
          "blue", "red", "blue_and_white", "underglaze_red", "polychrome", "painted_slip",
          "unglazed", "other")  # fmt: skip
KILNS = ("yue", "deqing", "changsha", "xing", "gongxian", "ding", "yaozhou", "longquan", "ru",
         "guan", "ge", "jun", "jian", "jizhou", "cizhou", "jingdezhen")  # fmt: skip

RENDERED: Mapping[str, tuple[str, ...]] = {
    "dynasty": DYNASTIES,
    "glaze": GLAZES,
    "kiln": KILNS,
    "type": TYPES,
}
"""The tasks that the renderer knows, and the labels that it can give in each."""

Labels = Mapping[str, frozenset[str]]
"""Known labels per task."""


@dataclass(frozen=True)
class Look:
    """How a ware's glaze and ornament look; colours are "#rrggbb", drawn from each list.

    Attributes:
        glaze: the glaze where it lies thick.
        thin: the glaze over edges; None takes a paler glaze.
        clay: the body where it shows.
        rim: a dressed mouth: a colour, or None.
        inside: another glaze within, or None.
        stop: how far above the foot's joint the glaze ends (negative: it covers the foot).
        gloss: 0 dry to 1 mirror-like.
        unevenness: how much the glaze's thickness varies.
        crackle: strength of the crackle net, with its colour and its scale.
        gold: whether a second, fine yellow net runs between ("gold thread, iron wire").
        effects: names in `effects.EFFECTS`, applied in order.
        paints: colours of the ornament by role, each a list to draw from.
        carved: whether ornament is cut into the body rather than painted.
    """

    glaze: tuple[str, ...]
    clay: tuple[str, ...]
    thin: str | None = None
    rim: str | None = None
    inside: str | None = None
    stop: tuple[float, float] = (-0.3, -0.1)
    gloss: tuple[float, float] = (0.75, 0.9)
    unevenness: float = 0.25
    crackle: float = 0.0
    crackle_colour: str = "#5a4a38"
    crackle_scale: tuple[float, float] = (0.5, 0.9)
    gold: bool = False
    effects: tuple[str, ...] = ()
    effect_strength: tuple[float, float] = (0.6, 1.0)
    paints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ink: float = 1.0
    bleed: float = 0.0
    carved: bool = False
    motifs: dict[str, float] = field(default_factory=dict)
    borders: tuple[str, ...] = ()
    plain: float = 0.0


@dataclass(frozen=True)
class Ware:
    """One row of the table: labels, how often, how thrown, how glazed."""

    name: str
    dynasty: str
    glaze: str
    kiln: str
    weight: float
    unattributed: float
    types: dict[str, float]
    shapes: tuple[str, ...]
    potting: Potting
    look: Look


def _tuples(value: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Lists become tuples, so that wares can be shared between threads and never changed."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return value


@lru_cache(maxsize=1)
def wares() -> tuple[Ware, ...]:
    """The table, read and checked.

    Raises:
        ValueError: a row names an unknown slug, shape or motif, or has a weight that is not
            positive.
    """
    text = resources.files("training.data.rendering").joinpath("history.yaml").read_text("utf-8")
    return tuple(_ware(name, row) for name, row in yaml.safe_load(text)["wares"].items())


def _ware(name: str, row: dict[str, Any]) -> Ware:
    ware = Ware(
        name=name,
        dynasty=row["labels"][0],
        glaze=row["labels"][1],
        kiln=row["labels"][2] or "",
        weight=float(row["weight"]),
        unattributed=float(row.get("unattributed", 0.03)),
        types={key: float(value) for key, value in row["types"].items()},
        shapes=tuple(row.get("shapes", ())),
        potting=Potting(**_tuples(row.get("potting", {}))),
        look=Look(**_tuples(row["look"])),
    )
    check(ware)
    return ware


def check(ware: Ware) -> None:
    """Refuses a row that names what does not exist or weighs nothing.

    Raises:
        ValueError: names the row and its bad fields.
    """
    known = {
        "dynasty": ware.dynasty in DYNASTIES,
        "glaze": ware.glaze in GLAZES,
        "kiln": ware.kiln in ("", *KILNS),
        "weight": ware.weight > 0 and all(share > 0 for share in ware.types.values()),
        "types": set(ware.types) <= set(TYPES),
        "shapes": all(any(s in shape_names(t) for t in ware.types) for s in ware.shapes),
        "motifs": set(ware.look.motifs) <= set(FIELDS) and set(ware.look.borders) <= set(BORDERS),
    }
    wrong = [key for key, good in known.items() if not good]
    if wrong:
        raise ValueError(f"history.yaml: ware {ware.name!r} has a bad {', '.join(wrong)}")


def vocabulary() -> Labels:
    """The labels that the renderer can give, per task."""
    return {
        "dynasty": frozenset(ware.dynasty for ware in wares()),
        "glaze": frozenset(ware.glaze for ware in wares()),
        "kiln": frozenset(ware.kiln for ware in wares()) - {""},
        "type": frozenset(kind for ware in wares() for kind in ware.types),
    }


def has_ware(known: Labels) -> bool:
    """Whether the table has anything whose labels are all among those known, per task."""
    return bool(_within(known))


def known_labels(dataset: Dataset) -> Labels:
    """The labels that a collection has, so that what is rendered for it has no others.

    Raises:
        UserError: The table has nothing with these labels.
    """
    labels = {
        task: frozenset(label for record in dataset.records if (label := record.labels.get(task)))
        for task in RENDERED
    }
    if not has_ware(labels):
        raise UserError(
            f"--like {dataset.root}: the renderer has no ware whose labels are all in that folder; "
            "its own are in training/data/rendering/history.yaml."
        )
    return labels


def draw(rng: Generator, known: Labels | None = None) -> tuple[Ware, str, str]:
    """Draws a ware, a type and a shape name, by the table's weights.

    Args:
        rng: source of randomness.
        known: the labels to stay within, per task; a task without any is not bounded. None for
            the whole table.
    """
    table = _within(known)
    weights = [ware.weight for ware in table]
    ware = table[int(rng.choice(len(table), p=[w / sum(weights) for w in weights]))]
    shares = list(ware.types.values())
    kind = str(rng.choice(list(ware.types), p=[s / sum(shares) for s in shares]))
    names = shape_names(kind)
    favoured = [name for name in names if name in ware.shapes]
    return ware, kind, str(rng.choice(favoured or names))


def _within(known: Labels | None) -> tuple[Ware, ...]:
    """The wares whose labels are known, with those of their types that are."""
    if known is None:
        return wares()

    def has(task: str, label: str) -> bool:
        return not label or not known[task] or label in known[task]

    chosen = []
    for ware in wares():
        types = {kind: share for kind, share in ware.types.items() if has("type", kind)}
        labels = {"dynasty": ware.dynasty, "glaze": ware.glaze, "kiln": ware.kiln}
        if types and all(has(task, label) for task, label in labels.items()):
            chosen.append(replace(ware, types=types))
    return tuple(chosen)
