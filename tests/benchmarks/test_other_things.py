"""The pictures of other things: each kind can be made, again the same, and found ones are laid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.other_materials import SIZE
from benchmarks.other_things import MADE, drawn, found, made


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_is_a_picture_of_something(kind: str) -> None:
    one, other = made(MADE[kind], 2, 0)
    assert (one.size, one.mode) == ((SIZE, SIZE), "RGB")
    assert one.tobytes() != other.tobytes()
    if kind != "walls":
        assert np.asarray(one).std() > 3


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, again = (next(made(MADE["glass"], 1, 7)) for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_a_drawing_is_dark_where_the_picture_changes() -> None:
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste("black", (0, 0, 32, 64))
    lines = np.asarray(drawn(picture, np.random.default_rng(0)).convert("L")).astype(int)
    assert lines[:, 30:34].mean() < lines[:, :20].mean() - 50


def test_found_pictures_have_their_folder_s_kind_and_cut_outs_a_ground(tmp_path: Path) -> None:
    (tmp_path / "fruit").mkdir()
    cut_out = Image.new("RGBA", (120, 100), (0, 0, 0, 0))
    cut_out.paste((200, 30, 30, 255), (20, 20, 100, 80))
    cut_out.save(tmp_path / "fruit/apple.png")
    cut_out.save(tmp_path / "fruit/copy.png")
    Image.new("RGB", (120, 100), "blue").save(tmp_path / "scene.jpg")
    Image.new("RGB", (20, 20), "green").save(tmp_path / "button.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (kind, apple), (other, scene) = found(tmp_path)
    assert (kind, other) == ("fruit", tmp_path.name)
    assert apple.size == (150, 150)
    assert apple.getpixel((75, 75)) == (200, 30, 30)
    assert apple.getpixel((1, 1)) != (0, 0, 0)
    assert scene.size == (120, 100)
