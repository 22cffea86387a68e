"""The classifier as services, batch jobs and evaluation run it: ONNX Runtime on prepared pictures.

Knows nothing of HTTP. ONNX Runtime is imported when a predictor is made, so that the rest of the
core works without it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from porcelain.bundle import CLASSIFIER_MODEL_FILE, Bundle, ClassifierInfo
from porcelain.conformal import label_sets, limits
from porcelain.domain import DOMAIN_FILE, likeness, load_domain
from porcelain.errors import BundleError, UserError
from porcelain.label_prior import CONFLICT_PROBABILITY, Known, LabelPrior
from porcelain.occlusion import evidence, occlude
from porcelain.preparation import Pixels

INPUT = "image"
FEATURES = "features"

_TOGETHER = 8
"""Pictures in one call when a picture is explained: bounds the memory that it takes."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """What the graph returns for a batch of N pictures.

    Attributes:
        probabilities: Per task, calibrated probabilities [N, classes].
        features: Shared features [N, F]; None unless asked for.
        activation: How much each part of the picture speaks for each task's most probable class
            [N, tasks, h, w], tasks in the order of `Predictor.tasks`; None unless asked for.
        domain: How like the training pictures each is [N]; None where the bundle cannot say.
    """

    probabilities: dict[str, FloatArray]
    features: FloatArray | None = None
    activation: FloatArray | None = None
    domain: FloatArray | None = None


@dataclass(frozen=True)
class Candidate:
    """A label with its calibrated probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class TaskPrediction:
    """The answer to one task: the best label, whether it is too unsure to count, the top few.

    Attributes:
        label: The most probable one.
        probability: Its calibrated probability.
        abstained: Whether that is under the task's threshold.
        top: The most probable labels, the best first.
        label_set: The labels among which the true one is with the chance that was asked for; None
            unless it was, and the bundle is calibrated for it. Where anything is known of the
            piece there is none: the sets are calibrated for pictures alone.
        none_of_these: Whether the picture may show a label that the model does not know; None
            where the bundle cannot tell, or anything is known of the piece.
        known: Whether the label is a fact that was given: its probability is 1 then, and `top` is
            what the picture alone says.
        model_probability: The picture's own probability of the fact; None where it is no fact.
        conflict: Whether the picture speaks strongly against the fact.
    """

    label: str
    probability: float
    abstained: bool
    top: tuple[Candidate, ...]
    label_set: tuple[str, ...] | None = None
    none_of_these: bool | None = None
    known: bool = False
    model_probability: float | None = None
    conflict: bool = False

    def conflict_note(self, task: str) -> str:
        """One sentence on a conflict, for people."""
        best = self.top[0]
        return (
            f"The picture speaks against {task} {self.label}: it gives that a probability of "
            f"{self.model_probability or 0:.2g}, and {best.label} one of {best.probability:.2g}."
        )


class Predictor:
    """Runs a classifier bundle.

    Attributes:
        bundle: The verified bundle.
        tasks: The tasks it answers, in output order.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        device: str = "cpu",
        graph: str = CLASSIFIER_MODEL_FILE,
    ) -> None:
        """Load the graph.

        Args:
            bundle: A verified classifier bundle.
            threads: Threads of ONNX Runtime for one call.
            device: `cpu`, or `cuda` with onnxruntime-gpu installed.
            graph: The graph's file in the bundle.

        Raises:
            BundleError: The graph cannot be loaded or lacks an output.
            UserError: The device is not available.
        """
        # Read when it is loaded: its releases would send an id of the device and events home.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        self.bundle = bundle
        self.info = bundle.classifier
        self.tasks: tuple[str, ...] = tuple(self.info.labels)
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device)
        if provider not in onnxruntime.get_available_providers():
            raise UserError(
                f"ONNX Runtime has no {device} here; use cpu, or install porcelain[classifier-gpu] "
                "in place of porcelain[classifier]."
            )
        if device == "cuda":  # CUDA's libraries may be wheels, where the loader finds none
            onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the core from the decoder beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.path / graph, options, providers=[provider]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(f"{bundle.path / graph}: {error}") from error
        if provider not in self._session.get_providers():  # it goes on with the CPU silently
            raise UserError(
                f"ONNX Runtime cannot use {device} here: see its warnings for the library or the "
                "driver that is missing."
            )
        outputs = {output.name for output in self._session.get_outputs()}
        missing = {*self.tasks, FEATURES} - outputs
        if missing:
            raise BundleError(f"{bundle.path} lacks the outputs {', '.join(sorted(missing))}.")
        # Another graph's features are not comparable: each has its own, in its folder.
        remembered = PurePosixPath(graph).with_name(DOMAIN_FILE)
        knows = self.info.in_domain_threshold is not None and str(remembered) in (
            bundle.manifest.files
        )
        self._domain = load_domain(bundle.path / remembered) if knows else None

    def run(
        self, images: npt.NDArray[np.uint8], *, features: bool = False, activation: bool = False
    ) -> Outputs:
        """Run the graph.

        Args:
            images: uint8 [N, size, size, 3], RGB, as `porcelain.preparation.prepare` returns.
            features: Also return the shared features.
            activation: Also explain the answers, which costs a hundred times as much.
        """
        outputs = self._answer(images, features or self._domain is not None)
        if self._domain is not None and outputs.features is not None:
            scores = likeness(outputs.features, self._domain)
            kept = outputs.features if features else None
            outputs = replace(outputs, features=kept, domain=scores)
        return replace(outputs, activation=self.explain(images, outputs)) if activation else outputs

    def explain(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> FloatArray:
        """What each task's most probable class rests on: see `porcelain.occlusion`.

        Args:
            images: As given to `run`.
            outputs: What it returned.

        Returns:
            Maps [N, tasks, h, w] of the bundle's `activation_grid`.
        """
        best = np.stack([outputs.probabilities[task].argmax(axis=1) for task in self.tasks], axis=1)
        maps = np.empty((*best.shape, *self.info.activation_grid), dtype=np.float32)
        for index, (pixels, answers) in enumerate(zip(images, best, strict=True)):
            maps[index] = self._explain_one(pixels, answers)
        return maps

    def _explain_one(self, pixels: Pixels, answers: npt.NDArray[np.intp]) -> FloatArray:
        hidden = occlude(pixels)
        parts = [
            self._answer(hidden[start : start + _TOGETHER]).probabilities
            for start in range(0, len(hidden), _TOGETHER)
        ]
        columns = [
            np.concatenate([part[task][:, answer] for part in parts])
            for task, answer in zip(self.tasks, answers, strict=True)
        ]
        # Falls are compared with one another, so that where they fall from does not matter.
        falls = -np.log(np.maximum(np.stack(columns, axis=1), np.finfo(np.float32).tiny))
        return evidence(pixels, falls, self.info.activation_grid)

    def _answer(self, images: npt.NDArray[np.uint8], features: bool = False) -> Outputs:
        names = [*self.tasks, FEATURES] if features else [*self.tasks]
        values = dict(zip(names, self._session.run(names, {INPUT: images}), strict=True))
        return Outputs({task: values[task] for task in self.tasks}, values.get(FEATURES))

    def predict(
        self, images: Sequence[Pixels], *, top_k: int = 3
    ) -> list[dict[str, TaskPrediction]]:
        """Answer every task for each prepared picture, in order."""
        if not images:
            return []
        return interpret(self.info, self.run(np.stack(images)), top_k=top_k)

    def warm_up(self) -> None:
        """Run once on a blank picture, so that the first caller does not pay for set-up."""
        size = self.info.input_size
        self.run(np.full((1, size, size, 3), 127, dtype=np.uint8))


def label_prior(info: ClassifierInfo, *, held_out: bool = False) -> LabelPrior:
    """What a bundle's classifier uses facts with; made once and used for every picture.

    Args:
        info: The bundle's.
        held_out: For the answers of the held-out graph.

    Raises:
        UserError: The bundle cannot use facts.
    """
    if info.known_facts is None:
        raise UserError(
            "This bundle does not hold which labels occur together, so it cannot use what is "
            "known; leave known out, or train the classifier anew."
        )
    return LabelPrior(info.labels, info.known_facts, held_out=held_out)


def interpret(
    info: ClassifierInfo,
    outputs: Outputs,
    *,
    top_k: int = 3,
    coverage: float | None = None,
    known: Sequence[Known] = (),
    prior: LabelPrior | None = None,
) -> list[dict[str, TaskPrediction]]:
    """Turn a batch's probabilities into labels, abstentions and the `top_k` candidates.

    Apart from `Predictor`, for those who receive outputs from a process that has the graph.

    Args:
        info: Of the bundle that answered.
        outputs: Of N pictures.
        top_k: Candidates per task.
        coverage: Of the label sets; None asks for none.
        known: What is known of each of the N pictures, in order, already checked
            (`porcelain.label_prior.check_known`); nothing where there are none.
        prior: The bundle's `label_prior`; None makes it where it is needed.

    Raises:
        UserError: Something is known, and the bundle cannot use facts.
    """
    count = len(next(iter(outputs.probabilities.values())))
    facts = list(known) or [{} for _ in range(count)]
    informed = any(facts)
    probabilities: dict[str, npt.NDArray[np.floating]] = dict(outputs.probabilities)
    if informed:
        prior = prior or label_prior(info)
        probabilities |= prior.condition(outputs.probabilities, facts)
    answers: list[dict[str, TaskPrediction]] = [{} for _ in range(count)]
    for task, labels in info.labels.items():
        thresholds = [_threshold(info, prior, task, one) for one in facts]
        rows = probabilities[task]
        order = np.argsort(-rows, axis=1, kind="stable")[:, : max(1, top_k)]
        sets: list[list[str]] | list[None] = [None] * count
        if coverage is not None and task in info.conformity:
            within = limits(info.conformity[task], labels, coverage)
            sets = label_sets(rows, labels, within)
        for i, (answer, row, best) in enumerate(zip(answers, rows, order, strict=True)):
            top = tuple(Candidate(labels[j], float(row[j])) for j in best)
            if (fact := facts[i].get(task)) is not None:
                answer[task] = _known_answer(fact, float(row[labels.index(fact)]), top)
                continue
            chosen = None if facts[i] else sets[i]
            least = None if facts[i] else info.none_of_these_thresholds.get(task)
            answer[task] = TaskPrediction(
                label=top[0].label,
                probability=top[0].probability,
                abstained=top[0].probability < thresholds[i],
                top=top,
                label_set=None if chosen is None else tuple(chosen),
                none_of_these=None if least is None else top[0].probability < least,
            )
    return answers


def _known_answer(
    fact: str, model_probability: float, top: tuple[Candidate, ...]
) -> TaskPrediction:
    return TaskPrediction(
        label=fact,
        probability=1.0,
        abstained=False,
        top=top,
        known=True,
        model_probability=model_probability,
        conflict=model_probability < CONFLICT_PROBABILITY,
    )


def _threshold(info: ClassifierInfo, prior: LabelPrior | None, task: str, known: Known) -> float:
    """The probability under which an answer is abstained from, given what is known."""
    calibration = prior.calibration(frozenset(known)) if known and prior is not None else None
    if calibration is not None and task in calibration.abstention_thresholds:
        return calibration.abstention_thresholds[task]
    return info.abstention_thresholds[task]
