"""Latents are what the autoencoder makes of a picture, made once, whatever interrupts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from porcelain.preparation import load_and_prepare
from training.generator.lora.inputs import LatentKey, LatentStore, encode_pictures

SHAPE = (4, 8, 8)


class InterruptionError(Exception):
    """Stands for a kill between two pictures."""


@pytest.fixture(scope="module")
def vae(base: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(base, subfolder="vae").eval()


@pytest.fixture
def paths(photographs: Path) -> list[Path]:
    return sorted(photographs.glob("*.png"))[:6]


def key_of(paths: list[Path], *, flip: bool = True) -> LatentKey:
    return LatentKey.of("base", paths, 64, "letterbox", flip=flip)


def open_store(folder: Path, key: LatentKey) -> LatentStore:
    LatentStore.create(folder, key, SHAPE)
    return LatentStore(folder, key, SHAPE)


def values(store: LatentStore, count: int) -> torch.Tensor:
    """Everything a store holds: [4, count, C, h, w]."""
    rows = np.arange(count)
    return torch.stack(
        [part for flip in (False, True) for part in store.gather(rows, torch.full((count,), flip))]
    )


def test_they_are_the_posterior_of_the_picture_and_its_mirror_image(
    vae: AutoencoderKL, paths: list[Path], tmp_path: Path
) -> None:
    key = key_of(paths)
    store = open_store(tmp_path / "latents", key)
    encode_pictures(vae, paths, store, key)
    pixels = np.stack([load_and_prepare(path, 64, "letterbox") for path in paths])
    flips = torch.tensor([False, True, False, True, True, False])
    for i in range(len(paths)):
        if flips[i]:
            pixels[i] = pixels[i, :, ::-1]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = vae.encode(images).latent_dist
    mean, deviation = store.gather(np.arange(len(paths)), flips)
    torch.testing.assert_close(mean, expected.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(deviation, expected.std, atol=1e-5, rtol=1e-4)


def test_an_interrupted_run_goes_on_and_ends_the_same(
    vae: AutoencoderKL, paths: list[Path], tmp_path: Path
) -> None:
    key = key_of(paths)
    whole = open_store(tmp_path / "whole", key)
    encode_pictures(vae, paths, whole, key)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        encode_pictures(vae, paths, open_store(tmp_path / "parts", key), key, on_progress=stop)
    parts = open_store(tmp_path / "parts", key)
    assert parts.missing() == [4, 5]
    heard: list[tuple[int, int]] = []
    encode_pictures(vae, paths, parts, key, on_progress=lambda *count: heard.append(count))
    assert heard == [(4, 6), (5, 6), (6, 6)]
    assert torch.equal(values(whole, 6), values(parts, 6))


def test_processes_share_the_work(vae: AutoencoderKL, paths: list[Path], tmp_path: Path) -> None:
    key = key_of(paths)
    whole = open_store(tmp_path / "whole", key)
    encode_pictures(vae, paths, whole, key)
    shared = [open_store(tmp_path / "shared", key) for _ in range(2)]
    for number, store in enumerate(shared):
        encode_pictures(vae, paths, store, key, share=(number, 2))
    assert shared[0].usable() == list(range(6))
    assert torch.equal(values(whole, 6), values(shared[0], 6))


def test_a_picture_that_cannot_be_read_takes_no_other_down(
    vae: AutoencoderKL, paths: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:200])
    some = [paths[0], broken, paths[1]]
    key = key_of(some)
    store = open_store(tmp_path / "latents", key)
    faults: list[str] = []
    encode_pictures(vae, some, store, key, on_fault=lambda path, why: faults.append(path.name))
    assert faults == ["broken.png"]
    assert store.usable() == [0, 2]


def test_other_pictures_sizes_and_bases_have_latents_of_their_own(paths: list[Path]) -> None:
    keys = {
        key_of(paths),
        key_of(paths, flip=False),
        key_of(paths[:-1]),
        LatentKey.of("other", paths, 64, "letterbox", flip=True),
        LatentKey.of("base", paths, 32, "letterbox", flip=True),
        LatentKey.of("base", paths, 64, "squash", flip=True),
    }
    assert len({key.digest() for key in keys}) == len(keys)
    assert key_of(paths).digest() == key_of(paths).digest()
