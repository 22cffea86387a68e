"""What an evaluation of a generator reads, how much it samples, and what it measures with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from porcelain.bundle import Bundle, load_bundle
from porcelain.dataset import Dataset
from porcelain.errors import UserError
from porcelain.predictor import Predictor
from training.data.split import Split
from training.generator.evaluation.features import BackboneSpace, ClassifierSpace, FeatureSpace
from training.generator.synthesis.copies import QUANTILE
from training.generator.synthesis.plan import KindCounts
from training.generator.synthesis.sources import open_sources


class EvaluationSettings(BaseModel):
    """Settings of `porcelain generator evaluate`.

    Attributes:
        count: Pictures sampled of all kinds, and as many again of rare ones; 0 samples none.
        base_too: Also sample the base model without the LoRA, with the same prompts and seeds.
        match_size: Bring photographs to the size of the generated pictures before comparing.
        copy_quantile: Share of photographs that are as near to one of another object as a copy is
            to its original.
        batch_size: Pictures denoised at once.
        seed: Seed of the pictures and of every draw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(ge=0)] = 200
    base_too: bool = False
    match_size: bool = True
    copy_quantile: Annotated[float, Field(ge=0, le=1)] = QUANTILE
    batch_size: Annotated[int, Field(ge=1)] = 8
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class EvaluationInputs:
    """What an evaluation reads.

    Attributes:
        bundle: The generator.
        data: The real photographs.
        split: The split of the photographs, if not the one beside them.
        classifier: A classifier bundle: reads labels, and gives the feature space unless a
            backbone does.
        backbone: timm model whose features are the space.
        pretrained: Safetensors file with the weights of the backbone.
        synthetic: A dataset folder of generated pictures to judge too.
        base: Where the base model is, if not where the bundle says.
        device: `cpu`, `cuda` or `auto`.
    """

    bundle: Path
    data: Path
    split: Path | None = None
    classifier: Path | None = None
    backbone: str | None = None
    pretrained: Path | None = None
    synthetic: Path | None = None
    base: str | None = None
    device: str = "auto"

    def paths(self) -> list[Path]:
        """Every file and folder that is read."""
        given = (self.bundle, self.data, self.split, self.classifier, self.synthetic)
        return [path for path in given if path is not None]


@dataclass(frozen=True)
class EvaluationContext:
    """What sets are measured with.

    Attributes:
        bundle: The generator.
        photographs: The real pictures.
        split: The training, validation and test part of the photographs.
        known: Training photographs per kind that the generator can make.
        classifier: What reads labels, if anything does.
        reader: The classifier, loaded; None where nothing reads labels.
        space: The feature space that distances are measured in.
        longest_side: To which larger pictures are brought first; None leaves them.
        warnings: What a reader of the result must know.
    """

    bundle: Bundle
    photographs: Dataset
    split: Split
    known: KindCounts
    classifier: Bundle | None
    reader: ClassifierSpace | None
    space: FeatureSpace
    longest_side: int | None
    warnings: tuple[str, ...]


def open_evaluation(inputs: EvaluationInputs, settings: EvaluationSettings) -> EvaluationContext:
    """Load all that is read, save the pictures.

    Raises:
        UserError: Inputs that do not fit, or no feature space among them.
    """
    warnings: list[str] = []
    sources = open_sources(inputs.bundle, inputs.data, inputs.split, warnings.append)
    if sources.photographs is None or sources.split is None:
        raise UserError("An evaluation needs the real photographs; give --data.")
    sampling = sources.bundle.generator.sampling
    longest = max(sampling.width, sampling.height) if settings.match_size else None
    classifier = reader = None
    if inputs.classifier is not None:
        classifier = load_bundle(inputs.classifier, "classifier")
        graph = classifier.measured_graph
        predictor = Predictor(classifier, threads=os.cpu_count() or 1, graph=graph)
        reader = ClassifierSpace(predictor, graph, longest)
    else:
        warnings.append("No classifier: label agreement is not measured. Give --classifier.")
    return EvaluationContext(
        bundle=sources.bundle,
        photographs=sources.photographs,
        split=sources.split,
        known=sources.known,
        classifier=classifier,
        reader=reader,
        space=_space(inputs, reader, longest),
        longest_side=longest,
        warnings=tuple(warnings),
    )


def _space(
    inputs: EvaluationInputs, reader: ClassifierSpace | None, longest_side: int | None
) -> FeatureSpace:
    if inputs.backbone is not None:
        if inputs.pretrained is None:
            raise UserError("--backbone needs --pretrained, a safetensors file of its weights.")
        return BackboneSpace(inputs.backbone, inputs.pretrained, longest_side)
    if reader is not None:
        return reader
    raise UserError(
        "Distances need a feature space: give --classifier, a bundle trained on the same "
        "training part, or --backbone with --pretrained."
    )
