"""The table of wares."""

from dataclasses import replace

import numpy as np
import pytest

from training.data.rendering import history
from training.data.rendering.effects import EFFECTS
from training.data.rendering.forms import shape_names


def test_every_row_is_whole() -> None:
    for ware in history.wares():
        assert set(ware.look.effects) <= set(EFFECTS), ware.name
        assert 0 <= ware.unattributed < 1, ware.name
        assert not ware.look.motifs or ware.look.paints.get("line"), ware.name
        for colours in (ware.look.glaze, ware.look.clay, *ware.look.paints.values()):
            assert all(colour.startswith("#") and len(colour) in (7, 9) for colour in colours)


def test_every_slug_of_the_codebook_occurs() -> None:
    table = history.wares()
    assert {ware.dynasty for ware in table} == set(history.DYNASTIES)
    assert {ware.glaze for ware in table} == set(history.GLAZES)
    assert {ware.kiln for ware in table} == {*history.KILNS, ""}
    assert {kind for ware in table for kind in ware.types} == set(history.TYPES)


def test_rare_kinds_are_a_few_in_a_thousand() -> None:
    table = history.wares()
    total = sum(ware.weight for ware in table)
    shares = {ware.name: ware.weight / total for ware in table}
    assert sum(0.001 < share < 0.005 for share in shares.values()) >= 8
    assert max(shares.values()) < 0.2


def test_draws_follow_the_weights() -> None:
    table = history.wares()
    total = sum(ware.weight for ware in table)
    rng = np.random.default_rng(0)
    drawn = [history.draw(rng) for _ in range(3000)]
    share = sum(ware.name == "yue_jin" for ware, _, _ in drawn) / len(drawn)
    wanted = next(ware.weight for ware in table if ware.name == "yue_jin") / total
    assert share == pytest.approx(wanted, abs=0.025)
    for ware, kind, shape in drawn:
        assert kind in ware.types
        assert shape in shape_names(kind)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dynasty", "han"), ("glaze", "teal"), ("kiln", "sevres"), ("weight", 0.0),
     ("types", {"mug": 1.0}), ("shapes", ("vase_of_nowhere",))],
)  # fmt: skip
def test_a_bad_row_is_named(field: str, value: object) -> None:
    bad = replace(history.wares()[0], **{field: value})
    with pytest.raises(ValueError, match=field):
        history.check(bad)
