"""A small CLIP tokenizer made on the spot: words of the prompts whole, anything else in bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from porcelain.prompts import prompt_for
from porcelain.vocabulary import TASKS, Taxonomy, default_taxonomy

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


def prompt_vocabulary(taxonomy: Taxonomy, labels: dict[str, Sequence[str]], template: str) -> list:
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
