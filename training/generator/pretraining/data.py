"""What pretraining learns from: decoded pictures, and their prompts as tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import CLIPTokenizer

from porcelain.dataset import Dataset, Record, load_dataset, subset
from porcelain.errors import DatasetError
from porcelain.preparation import ResizeRule
from porcelain.prompts import prompt_for
from porcelain.vocabulary import TASKS, Taxonomy, default_taxonomy, load_taxonomy
from training.classifier.pictures import prepare_pictures
from training.data.split import Split, split_or_make

Pixels = npt.NDArray[np.uint8]

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
MOST_TOKENS = 8192


def build_tokenizer(texts: Iterable[str], length: int) -> CLIPTokenizer:
    """Byte-pair encoding learned from `texts` until their words are whole.

    Its alphabet is every byte, so that any text can be put into tokens, as CLIP's does (Radford
    et al., arXiv 2103.00020).

    Args:
        texts: Prompts.
        length: Longest sequence in tokens, with start and end.
    """
    learner: Tokenizer = CLIPTokenizer().backend_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    learner.train_from_iterator(
        sorted(set(texts)),
        BpeTrainer(
            vocab_size=MOST_TOKENS,
            initial_alphabet=alphabet,
            end_of_word_suffix=END_OF_WORD,
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)


def prompt_vocabulary(
    taxonomy: Taxonomy, labels: Mapping[str, Sequence[str]], template: str
) -> list[str]:
    """Prompts that hold every phrase a user may ask for.

    Args:
        taxonomy: The dataset's.
        labels: Labels of the dataset per task.
        template: How labels become a prompt.

    Returns:
        One prompt per label of the dataset, of its taxonomy, and of the one that ships.
    """
    texts = [prompt_for({}, taxonomy, template)]
    for names in (taxonomy, default_taxonomy()):
        for task in TASKS:
            for label in (*getattr(names, task), *labels.get(task, ())):
                texts.append(prompt_for({task: label}, names, template))
    return texts


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save it for `CLIPTokenizer.from_pretrained`, in today's layout and in the older one."""
    tokenizer.save_pretrained(str(folder))
    # vocab.json and merges.txt, which transformers before 5 reads.
    tokenizer.backend_tokenizer.model.save(str(folder))


class Captions:
    """Makes the prompt of a picture anew each time it is seen; tokens are remembered."""

    def __init__(
        self,
        records: Sequence[Record],
        taxonomy: Taxonomy,
        template: str,
        tokenizer: CLIPTokenizer,
    ) -> None:
        """Take the labels of the pictures.

        Args:
            records: One per picture, in the order of the latents.
            taxonomy: Gives labels their phrases.
            template: How labels become a prompt.
            tokenizer: The tokenizer; its longest sequence is the length of every prompt.
        """
        self.labels = [record.labels for record in records]
        self.taxonomy = taxonomy
        self.template = template
        self.tokenizer = tokenizer
        self._tokens: dict[str, Tensor] = {}

    def tokens(
        self,
        indices: Sequence[int],
        *,
        dropped_labels: float = 0.0,
        empty_prompts: float = 0.0,
        seed: Sequence[int] = (0,),
    ) -> Tensor:
        """Token ids [B, length] of these pictures' prompts.

        Args:
            indices: Which pictures.
            dropped_labels: Chance of each label to be left out.
            empty_prompts: Chance of a prompt to be empty.
            seed: Seed of what is dropped.
        """
        chances = np.random.default_rng(list(seed)).random((len(indices), len(TASKS) + 1))
        rows = []
        for index, chance in zip(indices, chances, strict=True):
            if chance[0] < empty_prompts:
                rows.append(self._encode(""))
                continue
            labels = self.labels[index]
            kept = {
                task: labels[task]
                for task, lot in zip(TASKS, chance[1:], strict=True)
                if lot >= dropped_labels
            }
            rows.append(self._encode(prompt_for(kept, self.taxonomy, self.template)))
        return torch.stack(rows)

    def of(self, records: Sequence[Record]) -> Captions:
        """Captions of other pictures, in the same words."""
        return Captions(records, self.taxonomy, self.template, self.tokenizer)

    def _encode(self, prompt: str) -> Tensor:
        if prompt not in self._tokens:
            ids = self.tokenizer(
                prompt,
                padding="max_length",
                truncation=True,
                max_length=self.tokenizer.model_max_length,
            ).input_ids
            self._tokens[prompt] = torch.tensor(ids)
        return self._tokens[prompt]


MOST_HELD_OUT = 256
"""Held-out pictures to measure on; more would only take longer."""


@dataclass(frozen=True)
class PretrainingData:
    """A dataset whose split is decided; no picture has been decoded yet.

    Attributes:
        dataset: Every row.
        digest: Digest of the dataset.
        split: Its training, validation and test part.
        taxonomy: Names and phrases.
        training: The rows of the training part alone.
        held_out: The first rows of the validation part, to measure on.
    """

    dataset: Dataset
    digest: str
    split: Split
    taxonomy: Taxonomy
    training: Dataset
    held_out: Dataset


@dataclass(frozen=True)
class DecodedPictures:
    """Decoded pictures uint8 [N, H, W, 3] and their rows."""

    pixels: Pixels
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)


def load_pretraining_data(data: Path, split: Path | None, seed: int) -> PretrainingData:
    """Read a dataset folder and decide what is learned from.

    Raises:
        DatasetError: The folder or its split is not as it should be, or nothing is to be trained
            on.
    """
    dataset = load_dataset(data)
    parts = split_or_make(dataset, split, seed=seed)
    training = subset(dataset, parts.names["train"])
    if not len(training):
        raise DatasetError(f"{data} has no training pictures; make another split.")
    held_out = subset(dataset, parts.names["validation"][:MOST_HELD_OUT])
    return PretrainingData(
        dataset, dataset.digest(), parts, load_taxonomy(data), training, held_out
    )


def decode_pictures(
    part: Dataset,
    name: str,
    size: int,
    rule: ResizeRule,
    work: Path,
    on_fault: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> DecodedPictures:
    """Decode the pictures of one part; those that cannot be read are said and left out.

    Args:
        part: Rows of the part.
        name: Name of the file that keeps the pixels.
        size: Side in pixels.
        rule: How a photograph fills the square.
        work: Folder of that file.
        on_fault: Hears of each picture that is left out.
        on_progress: Called with pictures done and in all.
    """
    records: Sequence[Record] = part.records
    pictures = prepare_pictures(
        [part.path(record) for record in records],
        size,
        rule,
        work / f"{name}.pixels",
        on_progress,
    )
    for index, fault in pictures.unusable.items():
        on_fault(f"Left out {records[index].file_name}: {fault}")
    if not pictures.unusable:
        return DecodedPictures(pictures.pixels, tuple(records))
    usable = [i for i in range(len(records)) if i not in pictures.unusable]
    return DecodedPictures(np.asarray(pictures.pixels[usable]), tuple(records[i] for i in usable))
