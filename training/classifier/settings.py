"""Everything that decides a training run: one frozen object, saved resolved beside the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from porcelain.preparation import DEFAULT_SIZE, ResizeRule

LossName = Literal["logit-adjusted", "class-balanced", "cross-entropy"]

CORRECTED: Final[LossName] = "cross-entropy"
"""The loss that leaves imbalance to prior correction."""

PRIOR_CORRECTION: Final = 0.25
"""Least that rare classes need: `benchmarks.calibration` compares it with more and with none."""


class AugmentationSettings(BaseModel):
    """How far a training picture may be changed; a pot stays upright and keeps its colour.

    Attributes:
        zoom: Least and greatest side of the part of the picture that is seen, as a share of it.
        rotation: Greatest turn either way, in degrees.
        stretch: Greatest change of proportion, as a share.
        colour: Greatest change of brightness, contrast and saturation, as a share.
        hue: Greatest change of a single colour channel, as a share.
        flip: Chance of a mirror image, left to right. Never top to bottom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoom: tuple[float, float] = (0.7, 1.05)
    rotation: float = 10.0
    stretch: float = 0.08
    colour: float = 0.15
    hue: float = 0.045
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5


class TrainSettings(BaseModel):
    """Settings of `porcelain classifier train`.

    Attributes:
        backbone: Any timm model name.
        pretrained: `auto` (timm's weights from the hub), `none`, or a safetensors file.
        epochs: Passes over the training pictures.
        frozen_epochs: First epochs in which only the heads learn; 0 without pretrained weights.
        batch_size: Pictures per optimiser step, over all devices.
        learning_rate: Peak rate of the heads (AdamW).
        backbone_rate: The backbone's rate as a share of it; 1 without pretrained weights.
        weight_decay: Of matrices and kernels; biases and norms have none.
        warmup_epochs: Linear rise of the rate before its cosine fall.
        loss: How imbalance is met while training.
        prior_correction: How far predictions are moved towards rare classes after training, as a
            share of log class frequency (tau of post-hoc logit adjustment, arXiv 2007.07314). It
            belongs to cross-entropy; the other losses meet imbalance already, and have 0.
        label_smoothing: Share of the target spread over all classes.
        dropout: On the shared features.
        mixup: Beta parameter of mixup; 0 turns it off.
        averaging: Decay of the exponential moving average of the weights, per step.
        gradient_norm: Largest gradient norm; larger gradients are scaled down.
        patience: Epochs that score worse than the best by more than `tolerance`, one after the
            other, before training stops.
        tolerance: How much lower the mean validation F1-macro of a later epoch may be and the
            epoch still be preferred: about one standard error with a hundred pictures and rare
            classes (the one-standard-error rule; Breiman et al., Classification and Regression
            Trees, 1984). Weights from the end of the rate's fall are the better ones.
        input_size: Side of the model's input in pixels.
        cached_size: Side at which decoded pictures are kept for augmentation.
        resize: How a picture fills the square input.
        selective_accuracy: Accuracy that answers above the abstention threshold should have.
        members: Models trained alike but for their seeds, whose logits are averaged; training and
            inference cost as many times as much. None: 3 with pretrained weights, 1 without.
        rendered: Rendered vessels that members learn from beside photographs: `none`; `auto`, a
            share of `rendered_share` where the renderer is installed and knows the labels; a share
            of what a member sees, such as 0.3; or a folder of pictures that were rendered before.
        rendered_share: Of what a member that sees them learns from, for `auto` and a folder.
        rendered_blank: Tasks whose labels rendered pictures do not carry, as their look does not
            tell them as photographs do.
        photograph_members: How many members learn from photographs alone, the first ones; at least
            one sees rendered vessels.
        refit: Whether the model that is served learns from every picture, once the one that did
            not has been measured and calibrated.
        seed: Of weights, order, augmentation and, where there is none, the split; of further
            members one more each.
        augmentation: See `AugmentationSettings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "mobilenetv3_large_100"
    pretrained: str = "auto"
    epochs: Annotated[int, Field(ge=1)] = 35
    frozen_epochs: Annotated[int, Field(ge=0)] = 1
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    backbone_rate: Annotated[float, Field(gt=0)] = 0.5
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.5
    loss: LossName = "cross-entropy"
    prior_correction: Annotated[float, Field(ge=0, le=2)] = Field(
        default_factory=lambda given: PRIOR_CORRECTION if given.get("loss") == CORRECTED else 0.0
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    mixup: Annotated[float, Field(ge=0)] = 0.0
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    gradient_norm: Annotated[float, Field(gt=0)] = 2.0
    patience: Annotated[int, Field(ge=1)] = 15
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.05
    input_size: Annotated[int, Field(ge=32)] = DEFAULT_SIZE
    cached_size: Annotated[int, Field(ge=32)] = 256
    resize: ResizeRule = "letterbox-crop"
    selective_accuracy: Annotated[float, Field(gt=0, lt=1)] = 0.95
    members: Annotated[int, Field(ge=1, le=16)] | None = None
    rendered: str = "none"
    rendered_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    rendered_blank: tuple[str, ...] = ("dynasty",)
    photograph_members: Annotated[int, Field(ge=0)] = 1
    refit: bool = True
    seed: int = 0
    augmentation: AugmentationSettings = AugmentationSettings()

    @field_validator("rendered")
    @classmethod
    def _possible(cls, rendered: str) -> str:
        share = _share_of(rendered)
        if share is not None and not 0 < share < 1:
            raise ValueError(f"{rendered} is no share between 0 and 1, such as 0.3")
        return rendered

    @field_validator("prior_correction")
    @classmethod
    def _corrects_once(cls, share: float, given: ValidationInfo) -> float:
        loss = given.data.get("loss", CORRECTED)
        if share > 0 and loss != CORRECTED:
            raise ValueError(
                f"{share:g} would correct imbalance twice, as the loss {loss} does it already; "
                f"leave it out, or take --loss {CORRECTED}"
            )
        return share

    def for_pretrained(self) -> TrainSettings:
        """The same settings, resolved, for a backbone with pretrained weights."""
        return self.model_copy(update={"members": self.members or 3})

    def for_scratch(self) -> TrainSettings:
        """The same settings, resolved, for a backbone that has learned nothing yet."""
        members = self.members or 1
        return self.model_copy(
            update={"frozen_epochs": 0, "backbone_rate": 1.0, "members": members}
        )

    def of_member(self, number: int) -> TrainSettings:
        """Those of one member, from 0: the same but for the seed."""
        return self.model_copy(update={"seed": self.seed + number})

    def rendered_folder(self) -> Path | None:
        """The folder of rendered pictures, where one was given."""
        if self.rendered in ("auto", "none") or _share_of(self.rendered) is not None:
            return None
        return Path(self.rendered)

    def share_of_rendered(self) -> float:
        """The share of what a member sees that is rendered, where anything is."""
        return _share_of(self.rendered) or self.rendered_share

    def sees_rendered(self, number: int) -> bool:
        """Whether a member, from 0, learns from rendered vessels where there are some."""
        return number >= min(self.photograph_members, (self.members or 1) - 1)

    def cached_rule(self) -> ResizeRule:
        """How pictures are kept for augmentation, which takes its own part of the whole."""
        return "letterbox" if self.resize == "letterbox-crop" else self.resize

    def pretrained_file(self) -> Path | None:
        """The weights file, or None for `auto` and `none`."""
        return None if self.pretrained in ("auto", "none") else Path(self.pretrained)


def _share_of(rendered: str) -> float | None:
    """The number that `rendered` is; None for a word or a folder."""
    try:
        return float(rendered)
    except ValueError:
        return None
