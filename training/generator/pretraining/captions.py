"""Prompts of the training pictures as tokens, with parts dropped at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from porcelain.dataset import Record
from porcelain.prompts import prompt_for
from porcelain.vocabulary import TASKS, Taxonomy


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
            tokenizer: Its longest sequence is the length of all.
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
            indices: Of the pictures.
            dropped_labels: Chance of each label to be left out.
            empty_prompts: Chance of a prompt to be empty.
            seed: Of what is dropped.
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
