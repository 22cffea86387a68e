"""Training inputs: pictures and prompts encoded once, and what each step sees of them.

Latents are kept as mean and standard deviation of the posterior: every step draws anew, exactly as
if it encoded the picture again. Everything random in a step is drawn from (seed, step), on the CPU,
for all devices together: a run gives the same result, within rounding, on one device or several,
and whether or not it was interrupted.
"""

from __future__ import annotations

import json
from collections import Counter
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

from porcelain.dataset import Record
from porcelain.errors import ImageError
from porcelain.files import reserve, sha256_bytes, sha256_file, write_bytes, write_json
from porcelain.preparation import Pixels, ResizeRule, load_and_prepare
from porcelain.vocabulary import TASKS
from sampling.denoising import PromptEmbeddings
from training.generator.lora.settings import LoraSettings
from training.loop import EpochSampler, Indices, seed_of

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

    def mark_unreadable(self, index: int) -> None:
        """Note that a picture cannot be read."""
        self._states[index] = _UNUSABLE

    def flush(self) -> None:
        """Bring everything to disk, the latents before the word that they are there."""
        self._values.flush()
        self._states.flush()

    def gather(self, indices: npt.NDArray[np.int64], flipped: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each [B, C, h, w].

        Args:
            indices: Which pictures.
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
            store.mark_unreadable(index)
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


def truncated_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> list[str]:
    """The prompts that are longer than the text encoder reads."""
    longest = int(pipeline.tokenizer.model_max_length)
    return [p for p in prompts if len(pipeline.tokenizer(p).input_ids) > longest]


def embed(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], base: str, folder: Path
) -> Tensor:
    """Embeddings of each prompt, computed once: float32 [P, tokens, width].

    Args:
        pipeline: The pipeline whose text encoder reads each prompt by itself.
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


EMPTY_PROMPT = 0
"""Row of the empty prompt in the table of texts."""


def rarity_weights(records: Sequence[Record], power: float) -> npt.NDArray[np.float64]:
    """How often each picture is shown, as shares that add to 1.

    A label that n training pictures carry asks for the weight n ** -power, and a picture has the
    largest weight that any of its labels asks for: being rare in one task is enough. With a power
    of 1/2, a class with a hundredth of another's pictures is seen a tenth as often as that one, and
    each of its pictures ten times as often. A picture without any label has the weight of one
    whose label everything carries.

    Args:
        records: The training pictures.
        power: 0 shows all alike; 1 balances the labels of a task, if it were the only one.
    """
    weights = np.full(len(records), float(max(1, len(records))) ** -power)
    for task in TASKS:
        labels = [record.labels.get(task) for record in records]
        counts = Counter(labels)
        asked = [0.0 if label is None else counts[label] ** -power for label in labels]
        weights = np.maximum(weights, asked)
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


@dataclass(frozen=True)
class StepSample:
    """The random numbers of one step, for B pictures.

    Attributes:
        pictures: Indices [B].
        flipped: Whether each is seen as its mirror image, bool [B].
        prompted: Whether each is shown with its prompt, bool [B].
        timesteps: Noise levels [B].
        posterior: Standard normal numbers for the autoencoder's posterior [B, C, h, w].
        noise: What is added to the latents [B, C, h, w].
    """

    pictures: Indices
    flipped: Tensor
    prompted: Tensor
    timesteps: Tensor
    posterior: Tensor
    noise: Tensor


class StepRandomness:
    """The source of the random numbers of every step of a run."""

    def __init__(
        self,
        sampler: EpochSampler,
        settings: LoraSettings,
        shape: tuple[int, int, int],
        levels: int,
    ) -> None:
        """Prepare to draw.

        Args:
            sampler: Which pictures are shown when.
            settings: Seed, batch size, shares.
            shape: Channels, height and width of one picture's latents.
            levels: Number of noise levels.
        """
        self._sampler = sampler
        self._settings = settings
        self._shape = shape
        self._levels = levels

    def sample(self, step: int) -> StepSample:
        """The random numbers of a step, from 0."""
        settings, size = self._settings, self._settings.batch_size
        random = torch.Generator().manual_seed(seed_of(settings.seed, step))
        flipped = torch.rand(size, generator=random) < (0.5 if settings.flip else 0.0)
        prompted = torch.rand(size, generator=random) >= settings.prompt_dropout
        timesteps = torch.randint(0, self._levels, (size,), generator=random)
        posterior = torch.randn((size, *self._shape), generator=random)
        noise = torch.randn((size, *self._shape), generator=random)
        if settings.noise_offset > 0:
            # Guttenberg, Diffusion with Offset Noise, crosslabs.org, 2023.
            offset = torch.randn((size, self._shape[0], 1, 1), generator=random)
            noise += settings.noise_offset * offset
        pictures = self._sampler.batch(step, size)
        return StepSample(pictures, flipped, prompted, timesteps, posterior, noise)


@dataclass(frozen=True)
class Batch:
    """Of B pictures: clean latents, noise [B, C, h, w], noise levels [B] and texts [B, ...]."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    texts: Tensor

    def split(self, pieces: int) -> list[Batch]:
        """Divide into nearly equal pieces."""
        parts = (self.latents, self.noise, self.timesteps, self.texts)
        return [Batch(*some) for some in zip(*(p.tensor_split(pieces) for p in parts), strict=True)]


@dataclass(frozen=True)
class TrainingInputs:
    """The training pictures as the model is given them.

    Attributes:
        latents: The latents of every picture.
        rows: Where each of the N pictures that can be used stands in `latents`.
        prompts: Where each one's prompt stands in `texts` [N].
        texts: Embeddings [P, tokens, width], or token ids [P, tokens] where the text encoder
            learns; the first is the empty prompt's.
        shares: How often each picture is shown [N].
        scaling: What latents are multiplied by for the UNet.
    """

    latents: LatentStore
    rows: Indices
    prompts: Indices
    texts: Tensor
    shares: npt.NDArray[np.float64]
    scaling: float

    def batch(self, sample: StepSample, positions: slice, device: torch.device) -> Batch:
        """What some positions of a batch show, on the device."""
        pictures = sample.pictures[positions]
        mean, deviation = self.latents.gather(self.rows[pictures], sample.flipped[positions])
        latents = (mean + deviation * sample.posterior[positions]) * self.scaling
        prompts = torch.from_numpy(self.prompts[pictures])
        texts = self.texts[torch.where(sample.prompted[positions], prompts, EMPTY_PROMPT)]
        tensors = [latents, sample.noise[positions], sample.timesteps[positions], texts]
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))
