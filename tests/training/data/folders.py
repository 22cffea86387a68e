"""Dataset folders for tests: vessels on a museum's backdrop, drawn from nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from porcelain.dataset import Dataset, Record, load_dataset, write_metadata
from porcelain.synthetic_mark import SOURCE_TYPE_KEY, SYNTHETIC_SOURCE_TYPE
from porcelain.vocabulary import TASKS

XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'{SOURCE_TYPE_KEY}="{SYNTHETIC_SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


def vessel(seed: int, width: int = 212, height: int = 159) -> Image.Image:
    """A decorated bowl in the middle of a grey backdrop; another for every seed."""
    rng = np.random.default_rng([seed, 77])
    shade = np.linspace(90, 170, height)[:, None, None] + np.zeros((height, width, 3))
    image = Image.fromarray(shade.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    left, right = width * rng.uniform(0.2, 0.3), width * rng.uniform(0.7, 0.8)
    top, bottom = height * rng.uniform(0.3, 0.4), height * rng.uniform(0.7, 0.8)
    draw.ellipse((left, top, right, bottom), fill=tuple(rng.integers(120, 250, 3).tolist()))
    for _ in range(25):
        x, y = rng.uniform(left + 20, right - 20), rng.uniform(top + 12, bottom - 12)
        size = rng.uniform(2, 9)
        colour = tuple(rng.integers(0, 255, 3).tolist())
        draw.ellipse((x - size, y - size, x + size, y + size), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(0.7))


def jpeg_of(image: Image.Image, quality: int = 92) -> bytes:
    return encoded(image, "JPEG", quality=quality)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def marked_png(image: Image.Image) -> bytes:
    """A PNG that says in a text chunk that a model made it."""
    info = PngInfo()
    info.add_text(SOURCE_TYPE_KEY, SYNTHETIC_SOURCE_TYPE)
    return encoded(image, "PNG", pnginfo=info)


def labels_of(*values: str | None) -> dict[str, str | None]:
    return dict(zip(TASKS, values, strict=True))


ANY = labels_of("song", "celadon", "yue", "bowl")


def record(name: str, labels: Mapping[str, str | None] = ANY, **fields: object) -> Record:
    return Record(name, dict(labels), **fields)  # type: ignore[arg-type]


def write_folder(root: Path, records: Sequence[Record], pictures: Mapping[str, bytes]) -> Path:
    """A folder with these rows and these files, whether or not they agree."""
    for name, content in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    write_metadata(root, records)
    return root


def collection(root: Path, count: int, first_seed: int = 0, synthetic: bool = False) -> Dataset:
    """`count` different vessels under a long tail of labels."""
    glazes = ("celadon", "celadon", "celadon", "white", "white", "sancai")
    records, pictures = [], {}
    for i in range(count):
        name = f"images/{i:03d}.{'png' if synthetic else 'jpg'}"
        image = vessel(first_seed + i)
        pictures[name] = marked_png(image) if synthetic else jpeg_of(image)
        form = ("bowl", "dish", "vase")[i % 3]
        labels = labels_of("song" if i % 2 else "tang", glazes[i % len(glazes)], "yue", form)
        records.append(record(name, labels, synthetic=synthetic))
    return load_dataset(write_folder(root, records, pictures))
