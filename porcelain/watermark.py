"""An invisible mark in the pixels of generated pictures, for when their metadata is lost.

A fixed, public pattern is added to the luma: a tile of 64 x 64 pixels, repeated, whose spectrum has
constant magnitude and pseudo-random phases in a ring of low frequencies. Low frequencies survive
JPEG and halving; repetition makes any crop enough, because the detector folds the picture modulo
the tile and tries all offsets at once by FFT. It does so at three scales (a picture halved, as it
was, doubled). It carries no payload: it says that a model of ours made the picture, not which.

The detector compares phases alone. Were the pattern's phases drawn at random, then for any picture
whatever the sum over n frequencies of the cosine of their difference would exceed z standard
deviations with a probability of at most exp(-z²/2) (a cosine of a uniform phase has the
moment-generating function I0(t) <= exp(t²/4)); the union bound over offsets and scales gives
`Detection.false_alarm`. So no photographs were needed to choose the threshold.

The mark hinders nobody who wants to remove it. A picture resized by another factor than 1/2, 1 or
2, or turned, is not found.

Sources: Cox, Kilian, Leighton, Shamoon, Secure spread spectrum watermarking for multimedia (1997);
Kalker, Depovere, Haitsma, Maes, A video watermarking system for broadcast monitoring (1999: a
repeated tile, found by phase-only correlation).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels = npt.NDArray[np.uint8]
Spectrum = npt.NDArray[np.complex128]

FALSE_ALARM: Final = 1e-5
"""A picture counts as marked when chance would do as well at most this often."""

KEY: Final = b"porcelain: made by a model, 1"
"""What the public pattern is derived from."""

_TILE: Final = 64  # pixels of an embedded tile
_GRID: Final = 32  # samples of a tile where it is detected: enough for the ring
_RING: Final = (3.0, 10.5)  # cycles per tile: below it pictures are strong, above it JPEG is
_FLAT, _BUSY = 2.0, 1.8  # grey levels (rms) everywhere, and on top where texture hides them
_BUSY_AT: Final = 8  # mean absolute deviation at which a texture hides all that it can
_SMALL: Final = 128  # a picture of this side needs full strength; larger ones have more tiles
_WEAKEST: Final = 0.6
_MOST_RMS: Final = 2.9  # grey levels: 38.9 dB
_FLOOR: Final = 2.0  # grey levels added to local contrast, so that flat parts are not all noise
_SIDE: Final = 1024  # of larger pictures the middle is looked at
_SCALES: Final = 3
_LEAST_SIDE: Final = 32


@dataclass(frozen=True)
class Detection:
    """What was seen of the watermark.

    Attributes:
        score: Standard deviations above chance of the best offset and scale; 0 for a picture too
            small to tell.
        false_alarm: Upper bound of the probability that a picture without it scores as high.
    """

    score: float
    false_alarm: float

    @property
    def present(self) -> bool:
        """Whether the picture carries the watermark."""
        return self.false_alarm <= FALSE_ALARM


def embed_watermark(pixels: Pixels) -> Pixels:
    """A copy with the watermark, at least 38.5 dB from the picture; equal input, equal output.

    Args:
        pixels: RGB [height, width, 3].
    """
    height, width = pixels.shape[:2]
    deviation = _deviation(Image.fromarray(pixels).convert("L"), 3)[1]
    strength = _FLAT + _BUSY * np.minimum(deviation / _BUSY_AT, 1.0)
    strength *= max(_WEAKEST, min(1.0, (_SMALL / math.sqrt(height * width)) ** 0.25))
    strength *= min(1.0, _MOST_RMS / math.sqrt(float(np.mean(strength**2))))
    pattern = _tile()
    repeated = np.tile(pattern, (-(-height // _TILE), -(-width // _TILE)))[:height, :width]
    change = np.rint(strength * repeated).astype(np.int16)
    marked = np.clip(pixels.astype(np.int16) + change[..., np.newaxis], 0, 255)
    return np.asarray(marked, np.uint8)


def detect_watermark(picture: Image.Image, key: bytes = KEY) -> Detection:
    """Look for the watermark.

    Args:
        picture: Mode RGB or L, at full size: a picture decoded at reduced scale may have lost it.
        key: Another pattern's, to measure false alarms by.
    """
    grey = _middle(picture).convert("L")
    best, tried = 0.0, 0
    for _ in range(_SCALES):
        if min(grey.size) < _LEAST_SIDE:
            break
        best = max(best, _score(grey, key))
        tried += _TILE * _TILE
        grey = grey.reduce(2)
    bound = tried * math.exp(-best * best / 2) if tried else 1.0
    return Detection(best, min(1.0, bound))


def _score(grey: Image.Image, key: bytes) -> float:
    """The best offset's phase-only correlation, in standard deviations."""
    ring, pairs = _ring()
    spectrum = np.fft.fft2(_fold(grey))
    magnitude = np.abs(spectrum)
    phases = np.divide(spectrum, magnitude, out=np.zeros_like(spectrum), where=magnitude > 1e-9)
    product = np.where(ring, phases * _phases(key).conj(), 0)
    # Twice as many offsets as samples: between two samples the high frequencies would cancel.
    correlation = np.fft.ifft2(_spread(product)).real * (_TILE * _TILE / 2)
    return float(correlation.max()) / math.sqrt(pairs / 2)


def _fold(grey: Image.Image) -> npt.NDArray[np.float32]:
    """The sum of all tiles, edges and strong textures levelled: [_GRID, _GRID]."""
    detail, deviation = _deviation(grey, 4)
    levelled = detail / (deviation + _FLOOR)
    height, width = levelled.shape
    down, across = -(-height // _GRID), -(-width // _GRID)
    padded = np.zeros((down * _GRID, across * _GRID), np.float32)
    padded[:height, :width] = levelled
    folded: npt.NDArray[np.float32] = padded.reshape(down, _GRID, across, _GRID).sum((0, 2))
    return folded


def _deviation(
    grey: Image.Image, radius: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What differs from the mean around each pixel, and how much pixels around it do so."""
    box = ImageFilter.BoxBlur(radius)
    detail = np.asarray(grey, np.int16) - np.asarray(grey.filter(box), np.int16)
    size = Image.fromarray(np.abs(detail).astype(np.uint8))
    return detail.astype(np.float32), np.asarray(size.filter(box), np.float32)


def _middle(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    if max(width, height) <= _SIDE:
        return picture
    across, down = min(width, _SIDE), min(height, _SIDE)
    left, top = (width - across) // 2, (height - down) // 2
    return picture.crop((left, top, left + across, top + down))


@cache
def _ring() -> tuple[npt.NDArray[np.bool_], float]:
    """Which frequencies are used [_GRID, _GRID], and how many conjugate pairs they are."""
    cycles = np.fft.fftfreq(_GRID, 1 / _GRID)
    radius = np.hypot(cycles[:, np.newaxis], cycles)
    ring = (radius >= _RING[0]) & (radius <= _RING[1])
    return ring, float(ring.sum()) / 2


@cache
def _phases(key: bytes) -> Spectrum:
    """The pattern's spectrum [_GRID, _GRID]: magnitude 1 in the ring, 0 elsewhere."""
    noise = np.frombuffer(hashlib.shake_256(key).digest(2 * _GRID * _GRID), "<u2")
    spectrum = np.fft.fft2(noise.astype(np.float64).reshape(_GRID, _GRID))
    return np.where(_ring()[0], spectrum / np.abs(spectrum), 0)


@cache
def _tile() -> npt.NDArray[np.float64]:
    """The pattern [_TILE, _TILE], of rms 1."""
    tile = np.fft.ifft2(_spread(_phases(KEY))).real
    normalised: npt.NDArray[np.float64] = tile / np.sqrt(np.mean(tile**2))
    return normalised


def _spread(spectrum: Spectrum) -> Spectrum:
    """The same frequencies among those of a finer grid: [_TILE, _TILE]."""
    half = _GRID // 2
    places = np.r_[0:half, _TILE - half : _TILE]
    wide = np.zeros((_TILE, _TILE), np.complex128)
    wide[np.ix_(places, places)] = spectrum
    return wide
