"""Pictures and prompts encoded once by the base's frozen parts, and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file, save
from torch import Tensor

from porcelain.errors import ImageError
from porcelain.files import reserve, sha256_bytes, sha256_file, write_bytes, write_json
from porcelain.preparation import Pixels, ResizeRule, load_and_prepare
from sampling.embeddings import PromptEmbeddings

_LATENTS, _STATES, _IDENTITY = "latents.f32", "states.u8", "identity.json"
_TO_DO, _DONE, _UNUSABLE = 0, 1, 2
_MEAN, _DEVIATION = 0, 1

EncodingCallback = Callable[[int, int], None]
FaultCallback = Callable[[Path, str], None]


@dataclass(frozen=True)
class LatentKey:
    """What decides the latents of a list of pictures.

    Attributes:
        base: Digest of the base model.
        pictures: SHA-256 of each picture file, in order.
        size: Side in pixels.
        resize: How a picture fills the square.
        flip: Whether mirror images are there too.
    """

    base: str
    pictures: tuple[str, ...]
    size: int
    resize: ResizeRule
    flip: bool

    @classmethod
    def of(
        cls, base: str, paths: Sequence[Path], size: int, resize: ResizeRule, *, flip: bool
    ) -> LatentKey:
        """The key of the pictures at `paths`."""
        with ThreadPoolExecutor() as pool:
            digests = tuple(pool.map(sha256_file, paths))
        return cls(base, digests, size, resize, flip)

    def digest(self) -> str:
        """One name for exactly these latents."""
        return sha256_bytes(json.dumps(vars(self)).encode())


class LatentStore:
    """Posteriors of pictures on disk; several processes may fill it at once.

    Attributes:
        shape: Channels, height and width of one picture's latents.
    """

    def __init__(self, folder: Path, key: LatentKey, shape: tuple[int, int, int]) -> None:
        """Open what `create` made."""
        count, views = len(key.pictures), 2 if key.flip else 1
        self.shape = shape
        self._states = np.memmap(folder / _STATES, np.uint8, "r+", shape=(count,))
        self._values = np.memmap(
            folder / _LATENTS, np.float32, "r+", shape=(count, views, 2, *shape)
        )

    @staticmethod
    def create(folder: Path, key: LatentKey, shape: tuple[int, int, int]) -> None:
        """Make room for every picture's latents, unless it was made before."""
        if (folder / _IDENTITY).is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        count, views = len(key.pictures), 2 if key.flip else 1
        for name, size in (
            (_LATENTS, count * views * 2 * int(np.prod(shape)) * 4),
            (_STATES, count),
        ):
            (folder / name).unlink(missing_ok=True)
            reserve(folder / name, size)
        # Written last: it says that the rest is there.
        write_json(folder / _IDENTITY, {**vars(key), "shape": shape})

    def usable(self) -> list[int]:
        """Indices of the pictures whose latents are there."""
        return np.flatnonzero(self._states == _DONE).tolist()

    def missing(self) -> list[int]:
        """Indices of pictures to encode; one that could not be read is tried again."""
        return np.flatnonzero(self._states != _DONE).tolist()

    def put(self, index: int, mean: Tensor, deviation: Tensor) -> None:
        """Keep the posterior of a picture and its mirror image, each [views, C, h, w]."""
        self._values[index, :, _MEAN] = mean.float().cpu().numpy()
        self._values[index, :, _DEVIATION] = deviation.float().cpu().numpy()
        self._states[index] = _DONE

    def give_up(self, index: int) -> None:
        """Note that a picture cannot be read."""
        self._states[index] = _UNUSABLE

    def flush(self) -> None:
        """Bring everything to disk, the latents before the word that they are there."""
        self._values.flush()
        self._states.flush()

    def gather(self, indices: npt.NDArray[np.int64], flipped: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each [B, C, h, w].

        Args:
            indices: Of the pictures.
            flipped: Whether the mirror image is wanted, bool [B].
        """
        rows = torch.from_numpy(self._values[indices, flipped.long().numpy()])
        return rows[:, _MEAN], rows[:, _DEVIATION]


@torch.inference_mode()
def encode_pictures(
    vae: AutoencoderKL,
    paths: Sequence[Path],
    store: LatentStore,
    key: LatentKey,
    *,
    share: tuple[int, int] = (0, 1),
    on_progress: EncodingCallback | None = None,
    on_fault: FaultCallback | None = None,
) -> None:
    """Encode what is missing; interrupted, the next call goes on where this one stopped.

    Args:
        vae: In float32, on the device that is to work.
        paths: The pictures of `key`, in its order.
        store: Where the latents go.
        key: Says at which size, and whether mirror images are wanted.
        share: This process's number and how many there are; each takes its part.
        on_progress: Called with pictures done and in all, of this process's part.
        on_fault: Called with a picture that cannot be read, and why; it takes no other down.
    """
    number, processes = share
    mine = [i for i in store.missing() if i % processes == number]
    total = len(range(number, len(paths), processes))
    done = total - len(mine)
    if on_progress is not None:
        on_progress(done, total)
    for count, (index, pixels) in enumerate(_decoded(paths, mine, key), start=1):
        if isinstance(pixels, str):
            store.give_up(index)
            if on_fault is not None:
                on_fault(paths[index], pixels)
        else:
            posterior = vae.encode(_views(pixels, key.flip).to(vae.device)).latent_dist
            store.put(index, posterior.mean, posterior.std)
        if on_progress is not None:
            on_progress(done + count, total)
    store.flush()


def _decoded(
    paths: Sequence[Path], indices: Sequence[int], key: LatentKey
) -> Iterator[tuple[int, Pixels | str]]:
    """Pictures, or why one cannot be read; the next ones are decoded meanwhile."""

    def decode(index: int) -> Pixels | str:
        try:
            return load_and_prepare(paths[index], key.size, key.resize)
        except (ImageError, OSError) as error:
            return str(error)

    ahead = 8
    with ThreadPoolExecutor(ahead // 2) as pool:
        waiting = [pool.submit(decode, index) for index in indices[:ahead]]
        for position, index in enumerate(indices):
            pixels = waiting.pop(0).result()
            if position + ahead < len(indices):
                waiting.append(pool.submit(decode, indices[position + ahead]))
            yield index, pixels


def _views(pixels: Pixels, flip: bool) -> Tensor:
    """The picture, and its mirror image if wanted, in [-1, 1]: [views, 3, size, size]."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div(127.5).sub(1)
    return torch.stack([image, image.flip(-1)]) if flip else image[None]


_NAME = "embeddings"


def token_ids(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> Tensor:
    """Token ids of each prompt, padded or cut to the text encoder's length: int64 [P, tokens]."""
    tokenizer = pipeline.tokenizer
    ids: Tensor = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


def cut_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> list[str]:
    """The prompts that are longer than the text encoder reads."""
    longest = int(pipeline.tokenizer.model_max_length)
    return [p for p in prompts if len(pipeline.tokenizer(p).input_ids) > longest]


def embed(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], base: str, folder: Path
) -> Tensor:
    """Embeddings of each prompt, computed once: float32 [P, tokens, width].

    Args:
        pipeline: Its text encoder reads each prompt by itself.
        prompts: Without repetition.
        base: Digest of the base model.
        folder: Where they are kept.
    """
    key = sha256_bytes(json.dumps([base, list(prompts)]).encode())
    file = folder / f"prompts-{key[:32]}.safetensors"
    if file.is_file():
        return load_file(file)[_NAME]
    encoder = PromptEmbeddings(pipeline)
    with torch.inference_mode():
        embeddings = torch.cat([encoder.of(prompt).float().cpu() for prompt in prompts])
    write_bytes(file, save({_NAME: embeddings.contiguous()}))
    return embeddings
