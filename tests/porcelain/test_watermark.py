import io

import numpy as np
import pytest
from PIL import Image

from porcelain.watermark import FALSE_ALARM, KEY, detect_watermark, embed_watermark
from tests.training.data.folders import vessel

SEEDS = range(4)


def picture(seed, size=128):
    return vessel(seed, size, size)


def marked(seed, size=128):
    return Image.fromarray(embed_watermark(np.asarray(picture(seed, size))))


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return Image.open(buffer).convert("RGB")


def half(image):
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def crop(image):
    width, height = round(image.width * 0.9), round(image.height * 0.9)
    return image.crop((7, 3, 7 + width, 3 + height))


@pytest.mark.parametrize("size", [128, 200, 256])
@pytest.mark.parametrize("damage", [lambda image: image, jpeg, half, crop])
def test_the_mark_is_found_after_what_happens_to_pictures(size, damage):
    for seed in SEEDS:
        assert detect_watermark(damage(marked(seed, size))).present


def test_nothing_is_found_where_nothing_is():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (96, 160, 3)).astype(np.uint8) for _ in SEEDS]
    plain = [np.full((64, 64, 3), value, np.uint8) for value in (0, 127, 255)]
    stripes = np.indices((256, 256))[1][..., None] % 16 * np.full(3, 15)
    others = [*noise, *plain, stripes.astype(np.uint8)]
    for image in [*map(picture, SEEDS), *map(Image.fromarray, others)]:
        assert not detect_watermark(image).present


def test_another_pattern_is_not_ours():
    assert not detect_watermark(marked(0), KEY + b"0").present


def test_the_bound_holds_over_many_patterns():
    scores = [detect_watermark(picture(0), str(key).encode()) for key in range(300)]
    for level in (0.5, 0.1, 0.01):
        share = np.mean([one.false_alarm <= level for one in scores])
        assert share <= level
    assert min(one.false_alarm for one in scores) > FALSE_ALARM


@pytest.mark.parametrize("size", [8, 31, 64, 128, 513])
def test_the_mark_is_faint_repeatable_and_keeps_the_size(size):
    pixels = np.asarray(picture(1, max(size, 128)))[:size, : size + 5]
    once, again = embed_watermark(pixels), embed_watermark(pixels.copy())
    assert once.shape == pixels.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    error = np.mean((once.astype(float) - pixels) ** 2)
    assert 10 * np.log10(255**2 / error) >= 38


def test_pictures_equal_within_rounding_stay_so():
    pixels = np.asarray(picture(2))
    rng = np.random.default_rng(0)
    near = np.clip(pixels.astype(int) + rng.integers(-1, 2, pixels.shape), 0, 255).astype(np.uint8)
    difference = embed_watermark(pixels).astype(float) - embed_watermark(near)
    assert 10 * np.log10(255**2 / np.mean(difference**2)) >= 45


def test_pictures_too_small_to_tell_are_not_called_synthetic():
    assert detect_watermark(Image.new("RGB", (9, 500))).false_alarm == 1.0
