"""What is known of a piece moves the other answers: a prior over labels that occur together.

The classifier's heads answer independently. Where a task's label is known, each other task's
probabilities are multiplied by P(label | facts) / P(label), both counted over the label
combinations of the real training photographs, and made probabilities again: Bayes' rule with the
facts and the picture as independent evidence. They are not quite independent, because a head may
have seen the fact in the picture already; so each fact counts with a strength from 0 to 1 that is
chosen per pair of tasks on validation photographs. Counts are smoothed, so that no combination has
probability 0, and blanks in training labels count as any label. Without facts nothing changes.

The smoothed counts are a mixture: each combination i that occurred, with weight w_i, gives task t
the label y with probability (1 - e) [y = z_it] + e P(y), and tasks are independent within it. One
product of matrices per task answers any set of facts, whatever the number of tasks.
`benchmarks/known_facts.py` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from porcelain.errors import UserError

SMOOTHING: Final = 0.1
"""The share e of each combination that is spread over all labels."""

CONFLICT_PROBABILITY: Final = 0.01
"""A fact that the picture gives less than this contradicts it. Measured on 1,030 photographs: it
flags about 1 of 100 right facts and 7 of 10 wrong ones."""

UNUSUAL_EXPECTED: Final = 1.0
"""Two labels that never occur together are unusual where chance alone would have brought them
together in more training pictures than this."""

_PSEUDO_COUNT: Final = 0.5  # of a label that only synthetic pictures have

Labels = Mapping[str, Sequence[str]]
Known = Mapping[str, str]
"""What is known of one piece: label by task."""

Probabilities = Mapping[str, npt.NDArray[np.floating]]


class Combination(BaseModel):
    """Labels that occurred together in training, unknown ones left out, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str]
    count: Annotated[int, Field(ge=1)]


class FactCalibration(BaseModel):
    """What calibrates answers that rest on facts about the same tasks.

    Attributes:
        known: The tasks that are known, in the order of the bundle's tasks.
        temperatures: Softmax temperature of each other task, applied after the prior.
        abstention_thresholds: Of each other task.
        abstention_caveats: Of each other task whose threshold guarantees no accuracy: why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    known: list[str]
    temperatures: dict[str, float]
    abstention_thresholds: dict[str, float]
    abstention_caveats: dict[str, str] = {}


class KnownFacts(BaseModel):
    """What a bundle keeps to use facts.

    Attributes:
        combinations: Label combinations of the real photographs that the served graph learned
            from.
        held_out_combinations: The same of the held-out graph; empty where there is none.
        smoothing: See `SMOOTHING`.
        strengths: Per answered task and known task, how much the fact counts, from 0 to 1.
        calibrations: One per set of known tasks; a set without one uses the largest of its
            subsets that has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    combinations: list[Combination]
    held_out_combinations: list[Combination] = []
    smoothing: Annotated[float, Field(gt=0, lt=1)] = SMOOTHING
    strengths: dict[str, dict[str, float]]
    calibrations: list[FactCalibration] = []


@dataclass(frozen=True)
class UnusualCombination:
    """Two answers that never occurred together in training, though each is common.

    Attributes:
        labels: The two labels by task.
        expected: In how many training pictures chance alone would have brought them together.
    """

    labels: dict[str, str]
    expected: float


class LabelPrior:
    """The smoothed counts of a bundle's label combinations, ready to be asked."""

    def __init__(self, labels: Labels, facts: KnownFacts, *, held_out: bool = False) -> None:
        """Prepare the matrices.

        Args:
            labels: Slugs per task in index order: the bundle's.
            facts: What the bundle keeps.
            held_out: Take the combinations of the held-out graph, where there is one.
        """
        self.labels = {task: list(names) for task, names in labels.items()}
        self.facts = facts
        rows = (facts.held_out_combinations if held_out else []) or facts.combinations
        self._weights = np.array([row.count for row in rows], dtype=np.float64)
        self._index = {
            task: {name: i for i, name in enumerate(names)} for task, names in self.labels.items()
        }
        self._labels_of = {  # class index of each combination [M], -1 where blank
            task: np.array([index.get(row.labels.get(task, ""), -1) for row in rows], np.int64)
            for task, index in self._index.items()
        }
        self._marginals = {task: self._marginal(task) for task in self.labels}
        self._emissions = {task: self._emission(task) for task in self.labels}
        self._base = {
            task: self._weights @ table / self._weights.sum()
            for task, table in self._emissions.items()
        }
        self._calibrations = {frozenset(one.known): one for one in facts.calibrations}
        self._absent = {pair: self._expected_if_absent(*pair) for pair in combinations(labels, 2)}

    def condition(
        self, probabilities: Probabilities, known: Sequence[Known], *, calibrated: bool = True
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Every task's probabilities, given what is known of each picture.

        Args:
            probabilities: Per task, the heads' calibrated probabilities [N, classes].
            known: Per picture, label by task; empty where nothing is known.
            calibrated: Apply the temperatures that were fitted for these facts.

        Returns:
            Per task [N, classes]; rows add to 1. A known task keeps the heads' probabilities, and
            so does a picture of which nothing is known.

        Raises:
            KeyError: A task or label that the bundle does not have; `parse_known` and
                `check_known` say so to a user.
        """
        facts = self._indices(known)
        sets = [frozenset(one) for one in known]
        result = {}
        for task, rows in probabilities.items():
            asked = np.array([bool(one) and task not in one for one in sets], dtype=bool)
            answer = np.array(rows, dtype=np.float64)
            if asked.any():
                given = {other: column[asked] for other, column in facts.items() if other != task}
                logarithms = np.log(np.maximum(answer[asked], np.finfo(np.float32).tiny))
                logarithms += self._log_ratio(task, given)
                if calibrated:
                    temperatures = [
                        self._temperature(task, one)
                        for one, wanted in zip(sets, asked, strict=True)
                        if wanted
                    ]
                    logarithms /= np.array(temperatures)[:, np.newaxis]
                shares = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
                answer[asked] = shares / shares.sum(axis=1, keepdims=True)
            result[task] = answer
        return result

    def calibration(self, known: frozenset[str]) -> FactCalibration | None:
        """The calibration for a set of known tasks, or for the largest subset that has one."""
        for size in range(len(known), 0, -1):
            for chosen in combinations(sorted(known), size):
                if (found := self._calibrations.get(frozenset(chosen))) is not None:
                    return found
        return None

    def unusual(self, labels: Known) -> UnusualCombination | None:
        """The pair of labels that is the most unusual together; None where none is.

        Args:
            labels: One piece's label per task.
        """
        best: UnusualCombination | None = None
        tasks = [task for task in self.labels if labels.get(task) in self._index[task]]
        for one, other in combinations(tasks, 2):
            row, column = self._index[one][labels[one]], self._index[other][labels[other]]
            expected = float(self._absent[one, other][row, column])
            if expected > max(UNUSUAL_EXPECTED, best.expected if best else 0.0):
                best = UnusualCombination({one: labels[one], other: labels[other]}, expected)
        return best

    def _expected_if_absent(self, one: str, other: str) -> npt.NDArray[np.float64]:
        """Pictures expected by chance of pairs that never occurred; 0 of those that did."""
        both = (self._labels_of[one] >= 0) & (self._labels_of[other] >= 0)
        counts = np.zeros((len(self.labels[one]), len(self.labels[other])))
        places = (self._labels_of[one][both], self._labels_of[other][both])
        np.add.at(counts, places, self._weights[both])
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1.0)
        return np.where(counts > 0, 0.0, expected)

    def _indices(self, known: Sequence[Known]) -> dict[str, npt.NDArray[np.int64]]:
        """Per task, each picture's fact [N]; -1 where it is not known."""
        facts = {task: np.full(len(known), -1, dtype=np.int64) for task in self.labels}
        for row, one in enumerate(known):
            for task, label in one.items():
                facts[task][row] = self._index[task][label]
        return facts

    def _log_ratio(
        self, task: str, facts: Mapping[str, npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.float64]:
        """Logarithms of P(label | facts) / P(label) of every picture [N, classes]."""
        count = len(next(iter(facts.values())))
        weights = np.broadcast_to(self._weights, (count, len(self._weights)))
        for other, given in facts.items():
            strength = self.facts.strengths.get(task, {}).get(other, 0.0)
            if strength <= 0 or (given < 0).all():
                continue
            share = strength * (1 - self.facts.smoothing)
            there = self._labels_of[other]
            agrees = there[np.newaxis] == given[:, np.newaxis]
            odds = (1 - share) + share * agrees / self._marginals[other][given][:, np.newaxis]
            unknown = (there < 0)[np.newaxis] | (given < 0)[:, np.newaxis]
            weights = weights * np.where(unknown, 1.0, odds)
        conditional = weights @ self._emissions[task]
        conditional /= conditional.sum(axis=1, keepdims=True)
        ratio: npt.NDArray[np.float64] = np.log(conditional) - np.log(self._base[task])
        return ratio

    def _marginal(self, task: str) -> npt.NDArray[np.float64]:
        there = self._labels_of[task] >= 0
        counts = np.bincount(
            self._labels_of[task][there],
            weights=self._weights[there],
            minlength=len(self.labels[task]),
        )
        smoothed: npt.NDArray[np.float64] = counts.astype(np.float64) + _PSEUDO_COUNT
        smoothed /= smoothed.sum()
        return smoothed

    def _emission(self, task: str) -> npt.NDArray[np.float64]:
        """P(label | combination) [M, classes]."""
        there = self._labels_of[task]
        marginal = self._marginals[task]
        smoothing = self.facts.smoothing
        table: npt.NDArray[np.float64] = np.where(
            there[:, np.newaxis] < 0, marginal, smoothing * marginal
        )
        rows = np.flatnonzero(there >= 0)
        table[rows, there[rows]] += 1 - smoothing
        return table

    def _temperature(self, task: str, known: frozenset[str]) -> float:
        found = self.calibration(known)
        return 1.0 if found is None else found.temperatures.get(task, 1.0)


def parse_known(text: str, labels: Labels) -> dict[str, str]:
    """Read facts as people and requests write them: `dynasty:ming,kiln:jingdezhen`.

    Args:
        text: Facts between commas; blank where nothing is known.
        labels: Slugs per task: the bundle's.

    Raises:
        UserError: A part is no fact, a task is named twice, or a task or label is not the
            bundle's. The message lists the valid ones.
    """
    known: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        task, colon, label = (piece.strip() for piece in part.partition(":"))
        if not colon or not task or not label:
            raise UserError(
                f"known: {part!r} is not task:label; write for example {_example(labels)}."
            )
        if task in known:
            raise UserError(f"known names {task} twice; a piece has one {task}.")
        known[task] = label
    check_known(known, labels)
    return known


def check_known(known: Known, labels: Labels) -> None:
    """Refuse facts that the bundle has no word for.

    Raises:
        UserError: A task or label is not the bundle's. The message lists the valid ones.
    """
    for task, label in known.items():
        if task not in labels:
            raise UserError(f"known: there is no task {task!r}; the tasks are {', '.join(labels)}.")
        if label not in labels[task]:
            raise UserError(
                f"known: {task} has no label {label!r}; its labels are "
                f"{', '.join(sorted(labels[task]))}."
            )


def _example(labels: Labels) -> str:
    return ",".join(f"{task}:{next(iter(names), '')}" for task, names in list(labels.items())[:2])
