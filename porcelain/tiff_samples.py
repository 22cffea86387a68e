"""Layouts of samples in TIFFs that Pillow does not read, or not to their true range.

Samples of 10, 12 or 14 bits, floating-point and signed ones, and colours with extra samples are
decoded here: libtiff, by way of Pillow, unpacks a file's strips or tiles as plain bytes, and NumPy
makes samples of them.

Sources: TIFF 6.0; TIFF Technical Note 3 (floating-point predictor).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from porcelain.errors import ImageTooLargeError, UnsupportedImageError
from porcelain.tiff import Directory, Entry, Tag, with_directory

Samples = npt.NDArray[Any]

_BAND: Final = 1 << 21  # samples worked on at a time
_COLOURS: Final = {0: "inverted grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK"} | {
    **{6: "YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab"},
    **{32844: "LogL", 32845: "LogLuv"},
}
_CHANNELS: Final = {0: 1, 1: 1, 2: 3, 5: 4}
_COMPRESSIONS: Final = {1: "none", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "Deflate"} | {
    **{2: "CCITT", 3: "CCITT", 4: "CCITT", 32773: "PackBits", 32946: "Deflate"},
    **{34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"},
    **{33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC"},
}
_READ: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000})
"""Compressions that Pillow's libtiff unpacks."""
_UNPACKED: Final = _READ - {2, 3, 4, 6, 7}
"""Those of them that give plain samples."""
_KINDS: Final = {1: "integer", 2: "signed integer", 3: "floating-point", 4: "integer"}


@dataclass(frozen=True)
class Layout:
    """How samples stand in a TIFF.

    Attributes:
        directory: Where it is said.
        width: In pixels.
        height: In pixels.
        bits: Of every sample; empty where the file does not say.
        kind: TIFF's SampleFormat: 1 unsigned, 2 signed, 3 floating-point, 4 undefined.
        photometric: TIFF's PhotometricInterpretation.
        extra: TIFF's ExtraSamples: 0 unspecified, 1 premultiplied alpha, 2 alpha.
        compression: TIFF's Compression.
        predictor: TIFF's Predictor: 1 none, 2 horizontal, 3 floating-point.
        planar: Whether each channel is stored by itself.
        tile: Width and height of a tile; None where there are strips.
    """

    directory: Directory
    width: int
    height: int
    bits: tuple[int, ...]
    kind: int
    photometric: int
    extra: tuple[int, ...]
    compression: int
    predictor: int
    planar: bool
    tile: tuple[int, int] | None

    @property
    def turn(self) -> int:
        """The orientation, from 1 to 8."""
        found = self.directory.value(Tag.ORIENTATION, 1)
        return found if 1 <= found <= 8 else 1

    @property
    def profile(self) -> bytes:
        """The ICC profile; empty where there is none."""
        return self.directory.content(Tag.ICC_PROFILE)

    @property
    def compression_known(self) -> bool:
        """Whether libtiff unpacks it."""
        return self.compression in _READ

    @classmethod
    def read(cls, directory: Directory) -> Layout:
        """What a directory says."""
        per_pixel = min(directory.value(Tag.SAMPLES_PER_PIXEL, 1), 64)
        bits = tuple(int(one) for one in directory.values(Tag.BITS_PER_SAMPLE)[:64]) or (1,)
        kinds = directory.values(Tag.SAMPLE_FORMAT)[:64] or (1,)
        tiled = Tag.TILE_OFFSETS in directory
        return cls(
            directory,
            directory.value(Tag.WIDTH),
            directory.value(Tag.LENGTH),
            bits * per_pixel if len(bits) == 1 else bits,
            int(kinds[0]) if len(set(kinds)) == 1 else 0,
            directory.value(Tag.PHOTOMETRIC, -1),
            tuple(int(one) for one in directory.values(Tag.EXTRA_SAMPLES)[:64]),
            directory.value(Tag.COMPRESSION, 1),
            directory.value(Tag.PREDICTOR, 1),
            directory.value(Tag.PLANAR_CONFIGURATION, 1) == 2 and per_pixel > 1,
            (directory.value(Tag.TILE_WIDTH), directory.value(Tag.TILE_LENGTH)) if tiled else None,
        )

    @property
    def per_pixel(self) -> int:
        """Samples of a pixel."""
        return len(self.bits)

    @cached_property
    def pillow_reads(self) -> bool:
        """Whether Pillow decodes it, and to its true range."""
        if self.kind not in (1, 4) or not set(self.bits) <= {1, 2, 4, 8, 16}:
            return False
        if self.photometric not in _CHANNELS:
            return True
        spare = self.per_pixel - _CHANNELS[self.photometric]
        if 16 not in self.bits:
            return spare <= (self.photometric != 5)
        # Pillow does not invert greys of 16 bits, and knows of no range but the whole.
        planar = self.directory.value(Tag.PLANAR_CONFIGURATION, 1) == 2
        usual = self.photometric in (1, 2, 5) and not planar and self.top == 65535
        return usual and spare <= (1 if self.photometric == 2 else 0)

    @cached_property
    def top(self) -> float | None:
        """The value of white: 4095 for 12 bits, also where they stand in 16.

        None where the values must tell: floating-point ones, and integers of 32 bits and more.
        """
        bits = self.bits[0] - (self.kind == 2)
        full = float(2**bits - 1)
        stated = self.directory.values(Tag.S_MAX_SAMPLE_VALUE)
        if stated and 0 < stated[0] < (math.inf if self.kind == 3 else full):
            return stated[0]
        if self.kind == 3 or bits > 16:
            return None
        # MaxSampleValue is a statistic, unless it is the range of a known number of bits.
        largest = self.directory.value(Tag.MAX_SAMPLE_VALUE)
        if self.bits[0] == 16 and largest in {2**n - 1 for n in range(9, 16)}:
            return float(largest)
        return full

    def describe(self) -> str:
        """The layout in words: "32-bit floating-point RGB with 1 extra, LZW"."""
        bits = "/".join(str(one) for one in sorted(set(self.bits)))
        colour = _COLOURS.get(self.photometric, f"photometric {self.photometric}")
        spare = self.per_pixel - _CHANNELS.get(self.photometric, self.per_pixel)
        compression = _COMPRESSIONS.get(self.compression, f"compression {self.compression}")
        return (
            f"{bits}-bit {_KINDS.get(self.kind, 'complex')} {colour}"
            + (f" with {spare} extra" if spare > 0 else "")
            + (", planar" if self.planar else "")
            + f", {compression}" * (self.compression != 1)
            + f", predictor {self.predictor}" * (self.predictor != 1)
        )

    def check(self) -> None:
        """Refuse layouts that `decode_samples` cannot decode.

        Raises:
            UnsupportedImageError: It is one of them; the message names it.
        """
        bits = set(self.bits)
        sizes = {16, 32, 64} if self.kind == 3 else {*range(2, 17), 32, 64}
        predictors = {1} | ({2} if bits <= {8, 16, 32, 64} else set())
        if self.kind == 3:
            predictors |= {3}
        tile = self.tile or (16, 16)
        if (
            len(bits) != 1
            or not bits <= sizes
            or self.kind not in _KINDS
            or self.photometric not in _CHANNELS
            or self.per_pixel < _CHANNELS[self.photometric]
            or self.compression not in _UNPACKED
            or self.predictor not in predictors
            or tile[0] <= 0
            or tile[0] % 16
            or not 0 < tile[1] <= 65536
        ):
            raise self.unsupported()

    def unsupported(self) -> UnsupportedImageError:
        """The refusal that names this layout."""
        return UnsupportedImageError(
            f"The TIFF's layout is not one we read ({self.describe()}); save it with 8 or 16 "
            "bits per channel as grey, RGB or CMYK."
        )


def decode_samples(
    data: bytes, layout: Layout, max_bytes: int
) -> tuple[Image.Image, Image.Image | None]:
    """Decode a TIFF that Pillow does not read.

    Args:
        data: The file.
        layout: Of its picture.
        max_bytes: Most bytes of unpacked samples.

    Returns:
        The picture with 8 bits per channel, in mode L, RGB or CMYK, and its alpha (mode L) where
        it has one.

    Raises:
        UnsupportedImageError: The layout is not one we read.
        ImageTooLargeError: Unpacked, the samples are more than `max_bytes`.
    """
    layout.check()
    planes = _Planes(data, layout, max_bytes)
    colours = _CHANNELS[layout.photometric]
    alpha = next((i for i, one in enumerate(layout.extra, colours) if one in (1, 2)), None)
    if alpha is not None and alpha >= layout.per_pixel:
        alpha = None
    tops = _tops(layout, planes, colours, alpha)
    shape = (layout.height, layout.width, colours)
    picture = np.empty(shape, np.uint8)
    opacity = None if alpha is None else np.empty(shape[:2], np.uint8)
    for top, band in planes.bands():
        rows = slice(top, top + len(band))
        picture[rows] = _to_8_bits(band[..., :colours], tops[0])
        if opacity is not None:
            opacity[rows] = _to_8_bits(band[..., alpha], tops[1])
    if layout.photometric == 0:
        np.subtract(255, picture, out=picture)
    if opacity is not None and layout.extra[(alpha or 0) - colours] == 1:
        _divide(picture, opacity, paper=layout.photometric == 5)
    image = Image.fromarray(picture[..., 0] if colours == 1 else picture, {4: "CMYK"}.get(colours))
    return image, None if opacity is None else Image.fromarray(opacity)


def _tops(layout: Layout, planes: _Planes, colours: int, alpha: int | None) -> tuple[float, float]:
    """The values that become 255: of the colours and of the alpha."""
    if layout.top is not None:
        return layout.top, layout.top
    largest = [0.0, 0.0]
    for _, band in planes.bands():
        largest[0] = max(largest[0], _largest(band[..., :colours]))
        if alpha is not None:
            largest[1] = max(largest[1], _largest(band[..., alpha]))
    # White is the end of the usual range that all values lie in.
    ranges = (1.0, 255.0, 65535.0) if layout.kind == 3 else (65535.0, 2.0**24 - 1, 2.0**32 - 1)
    found = [next((white for white in ranges if most <= white), most) for most in largest]
    return found[0], found[1]


def _largest(values: Samples) -> float:
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
    return float(values.max(initial=0))


def _to_8_bits(values: Samples, top: float) -> npt.NDArray[np.uint8]:
    scaled = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=top, neginf=0.0)
    scaled *= np.float32(255.0 / top)
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _divide(picture: npt.NDArray[np.uint8], opacity: npt.NDArray[np.uint8], *, paper: bool) -> None:
    """Undo premultiplied alpha in place, row by row."""
    for row, alpha in zip(picture, opacity, strict=True):
        factor = 255.0 / np.maximum(alpha, 1)[:, None]
        row[:] = np.clip(row * factor + 0.5, 0, 255).astype(np.uint8)
        if paper:
            row[alpha == 0] = 0


class _Planes:
    """The samples of a TIFF, unpacked by libtiff as bytes and read band by band."""

    def __init__(self, data: bytes, layout: Layout, max_bytes: int) -> None:
        self._layout = layout
        self._channels = 1 if layout.planar else layout.per_pixel
        bits = layout.bits[0] * self._channels
        tile_width, tile_height = layout.tile or (layout.width, 1)
        self._columns = -(-layout.width // tile_width)
        self._tile_bytes = -(-tile_width * bits // 8)
        self._row_bytes = self._columns * self._tile_bytes
        # Pillow bounds pixels, not bytes: as few pixels as the bytes of a row can be divided into.
        self._bytes_per_pixel = next(n for n in (4, 3, 1) if self._tile_bytes % n == 0)
        self._rows = -(-layout.height // tile_height) * tile_height
        count = layout.per_pixel if layout.planar else 1
        if self._row_bytes * self._rows * count > max_bytes:
            raise ImageTooLargeError(
                f"The picture ({layout.width}x{layout.height}, {layout.describe()}) has more than "
                f"{max_bytes:,} bytes unpacked; send a smaller one."
            )
        self._planes = [self._plane(data, number, count) for number in range(count)]

    def bands(self) -> Iterator[tuple[int, Samples]]:
        """The first row of each band, and its samples [rows, width, samples per pixel]."""
        layout = self._layout
        step = max(1, _BAND // max(1, layout.width * layout.per_pixel))
        for top in range(0, layout.height, step):
            end = min(top + step, layout.height)
            box = (0, top, self._row_bytes // self._bytes_per_pixel, end)
            planes = (np.asarray(plane.crop(box)) for plane in self._planes)
            parts = [self._samples(plane.reshape(end - top, -1)) for plane in planes]
            yield top, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _plane(self, data: bytes, number: int, count: int) -> Image.Image:
        """One plane of samples as a picture (CMYK, RGB or grey) whose channels are its bytes."""
        kept, layout = self._layout.directory, self._layout
        tags = (
            (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS)
            if layout.tile
            else (Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS)
        )
        strips = [[int(one) for one in kept.values(tag)] for tag in tags]
        per_plane = len(strips[0]) // count
        numbers = {
            Tag.WIDTH: [self._row_bytes // self._bytes_per_pixel],
            Tag.LENGTH: [self._rows],
            Tag.BITS_PER_SAMPLE: [8] * self._bytes_per_pixel,
            Tag.COMPRESSION: [layout.compression],
            Tag.PHOTOMETRIC: [{1: 1, 3: 2, 4: 5}[self._bytes_per_pixel]],
            Tag.FILL_ORDER: [kept.value(Tag.FILL_ORDER, 1)],
            Tag.SAMPLES_PER_PIXEL: [self._bytes_per_pixel],
        }
        if layout.tile:
            numbers |= {
                Tag.TILE_WIDTH: [self._tile_bytes // self._bytes_per_pixel],
                Tag.TILE_LENGTH: [layout.tile[1]],
            }
        else:
            numbers[Tag.ROWS_PER_STRIP] = [
                min(kept.value(Tag.ROWS_PER_STRIP) or self._rows, self._rows)
            ]
        for tag, all_planes in zip(tags, strips, strict=True):
            if all_planes:
                numbers[tag] = all_planes[number * per_plane : (number + 1) * per_plane]
        entries: dict[int, Entry] = {tag: kept.longs(some) for tag, some in numbers.items()}
        file = io.BytesIO(with_directory(data, kept.order, entries))
        plane = Image.open(file, formats=["TIFF"])
        plane.load()
        return plane

    def _samples(self, rows: npt.NDArray[np.uint8]) -> Samples:
        layout = self._layout
        bits, width = layout.bits[0], layout.width
        if bits % 8:
            return _unpack_bits(rows, bits, width * self._channels).reshape(
                len(rows), width, self._channels
            )
        tiles = np.split(rows, self._columns, axis=1) if layout.predictor != 1 else [rows]
        return np.concatenate([self._numbers(tile) for tile in tiles], axis=1)[:, :width]

    def _numbers(self, rows: npt.NDArray[np.uint8]) -> Samples:
        """Bytes of one tile's or strip's rows as numbers [rows, pixels, channels]."""
        layout, size = self._layout, self._layout.bits[0] // 8
        order = layout.directory.order
        if layout.predictor == 3:
            shuffled = rows.reshape(len(rows), -1, self._channels)
            rows = np.cumsum(shuffled, axis=1, dtype=np.uint8).reshape(len(rows), size, -1)
            rows, order = rows.swapaxes(1, 2), ">"
        kind = {2: "i", 3: "f"}.get(layout.kind, "u")
        differences = layout.predictor == 2
        dtype = np.dtype(f"{order}{'u' if differences else kind}{size}")
        numbers: Samples = np.ascontiguousarray(rows).reshape(len(rows), -1).view(dtype)
        numbers = numbers.astype(dtype.newbyteorder("=")).reshape(len(rows), -1, self._channels)
        if differences:
            numbers = np.cumsum(numbers, axis=1, dtype=numbers.dtype).view(f"{kind}{size}")
        return numbers


def _unpack_bits(rows: npt.NDArray[np.uint8], bits: int, count: int) -> Samples:
    """Numbers of 2 to 16 bits, the highest bit first (TIFF 6.0, BitsPerSample).

    Taken in groups that fill whole bytes: four numbers of 10 bits are five bytes.
    """
    group = 8 // math.gcd(bits, 8)
    size = group * bits // 8
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % size)))
    columns = padded.reshape(len(rows), -1, size)
    numbers = np.empty((len(rows), columns.shape[1], group), np.uint16)
    for i in range(group):
        first, last = i * bits // 8, ((i + 1) * bits - 1) // 8
        number = np.zeros(columns.shape[:2], np.uint32)
        for place in range(first, last + 1):
            number = number << 8 | columns[..., place]
        unused = (last + 1) * 8 - (i + 1) * bits
        numbers[..., i] = (number >> unused) & ((1 << bits) - 1)
    return numbers.reshape(len(rows), -1)[:, :count]
