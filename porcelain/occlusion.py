"""Which parts of a picture an answer rests on, found by hiding parts of it and asking again.

The picture is answered under a fixed set of masks, as in RISE (Petsiuk et al., arXiv 1806.07421),
and the falls of the answer's log-probability are explained by a regression on what each mask
hides, as in LIME (Ribeiro et al., arXiv 1602.04938). The regression is Bayesian with a smooth
prior: neighbouring cells matter alike, and a cell can matter only as far as hiding it changes it,
so that chance does not colour an even background. Any classifier can be asked; numpy is enough.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from porcelain.preparation import Pixels

MASKS = 96
"""How often a picture is answered anew: what an explanation costs."""

HIDDEN = 0.25
"""Share of the picture that a mask hides."""

GRID = (14, 14)
"""Height and width of the maps that training asks for: cells of 16 pixels at 224."""

_PATCHES = 7  # a mask's patches are about a seventh of the side across
_CANDIDATES = 8  # random masks per mask that is kept
_OUTLINE = 28  # side at which candidates are compared
_REACH = 1 / 14  # distance, as a share of the side, over which effects are alike
_NOISE = 1.0  # variance of what the regression cannot explain, against what it can

FloatArray = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


@lru_cache(maxsize=4)
def hiding_masks(size: int) -> Masks:
    """The masks for a square picture: always the same, so that the same picture gets the same map.

    Each is the top of a smooth random field. Of many, those are kept that overlap least with one
    another, so that few masks tell the picture's parts apart.

    Args:
        size: Side of the square in pixels.

    Returns:
        bool [MASKS, size, size], true where the picture is hidden; read-only.
    """
    rng = np.random.default_rng(0)
    fields = rng.random((MASKS * _CANDIDATES, _PATCHES, _PATCHES), dtype=np.float32)
    outlines = np.stack([_top(field, _OUTLINE).ravel() for field in fields]).astype(np.float32)
    kept = [0]
    total, closest = np.zeros(len(fields)), np.zeros(len(fields))
    while len(kept) < MASKS:
        overlap = outlines @ outlines[kept[-1]]
        total += overlap
        closest = np.maximum(closest, overlap)
        score = total / len(kept) + closest / 2
        score[kept] = np.inf
        kept.append(int(score.argmin()))
    masks = np.stack([_top(fields[i], size) for i in kept])
    masks.flags.writeable = False
    return masks


def occlude(pixels: Pixels) -> Pixels:
    """A picture under every mask.

    What is hidden is replaced by the picture's mean colour under half of the masks and by a heavily
    blurred copy under the others, so that no map depends on one kind of replacement.

    Args:
        pixels: The model's input, uint8 [size, size, 3].

    Returns:
        uint8 [MASKS, size, size, 3].
    """
    masks = hiding_masks(len(pixels))[..., np.newaxis]
    mean = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
    half = MASKS // 2
    hidden = np.empty((MASKS, *pixels.shape), dtype=np.uint8)
    hidden[:half] = np.where(masks[:half], mean, pixels)
    hidden[half:] = np.where(masks[half:], _blurred(pixels), pixels)
    return hidden


def evidence(pixels: Pixels, falls: FloatArray, grid: tuple[int, int] = GRID) -> FloatArray:
    """How much each cell speaks for an answer, from what hiding did to it.

    Args:
        pixels: The model's input, uint8 [size, size, 3].
        falls: Per mask, how much lower the log-probability of each of T answers was, [MASKS, T].
        grid: Height and width of the maps.

    Returns:
        Maps [T, height, width]: the fall that hiding a cell causes. Positive speaks for the
        answer, negative against it; all 0 for a picture without any detail.
    """
    detail = _detail(pixels, grid)
    # In units of change: covering half of a cell, or a cell of half the detail, does half as much.
    hidden = _coverage(len(pixels), grid) * detail
    falls = falls.astype(np.float64)
    for kind in (slice(0, MASKS // 2), slice(MASKS // 2, MASKS)):
        hidden[kind] -= hidden[kind].mean(axis=0)
        falls[kind] -= falls[kind].mean(axis=0)
    prior = _prior(grid)
    covariance = hidden @ prior @ hidden.T
    noise = _NOISE * float(np.trace(covariance)) / MASKS
    if noise <= 0.0:
        return np.zeros((falls.shape[1], *grid), dtype=np.float32)
    covariance += noise * np.eye(MASKS)
    effects = prior @ hidden.T @ np.linalg.solve(covariance, falls)
    return (effects.T * detail).reshape(-1, *grid).astype(np.float32)


def _top(field: FloatArray, size: int) -> Masks:
    """The highest `HIDDEN` of a field, upsampled: bool [size, size]."""
    smooth = Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC)
    values = np.asarray(smooth)
    mask: Masks = values >= np.quantile(values, 1.0 - HIDDEN)
    return mask


def _blurred(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(len(pixels) / 8)))


def _detail(pixels: Pixels, grid: tuple[int, int]) -> npt.NDArray[np.float64]:
    """How much of each cell blurring takes away, relative to the mean cell: [height * width]."""
    lost = pixels.astype(np.float32) - _blurred(pixels)
    cells = _cells(np.sqrt(np.square(lost).mean(axis=2)), grid)
    return cells / max(float(cells.mean()), 1e-6)


@lru_cache(maxsize=4)
def _coverage(size: int, grid: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The share of each cell that each mask hides: [MASKS, height * width]."""
    masks = hiding_masks(size).astype(np.float32)
    return np.stack([_cells(mask, grid) for mask in masks])


@lru_cache(maxsize=4)
def _prior(grid: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Covariance of the cells' effects per unit of change: [height * width] squared."""
    rows, columns = np.mgrid[: grid[0], : grid[1]]
    places = np.stack([rows.ravel() / grid[0], columns.ravel() / grid[1]], axis=1)
    squared = np.square(places[:, np.newaxis] - places).sum(axis=2)
    covariance: npt.NDArray[np.float64] = np.exp(-squared / (2 * _REACH**2))
    return covariance


def _cells(values: FloatArray, grid: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Means over the cells of a grid: [height * width]."""
    means = Image.fromarray(values).resize((grid[1], grid[0]), Image.Resampling.BOX)
    return np.asarray(means, dtype=np.float64).ravel()
