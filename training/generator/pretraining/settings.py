"""Everything that decides a pretraining run: frozen objects, saved resolved beside the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from porcelain.preparation import ResizeRule
from porcelain.prompts import DEFAULT_TEMPLATE

Precision = Literal["auto", "bf16", "fp32"]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

HOW_LONG_AND_ON_WHAT: Final[dict[str, bool | dict[str, bool]]] = {
    "autoencoder": {"steps": True, "hours": True},
    "decoder": {"steps": True, "hours": True},
    "diffusion": {"steps": True, "hours": True},
    "runtime": True,
}
"""What may change between an interrupted run and the one that goes on with its work."""


def _check_groups(channels: tuple[int, ...], groups: int) -> None:
    if not channels or any(width % groups for width in channels):
        raise ValueError(f"groups ({groups}) must divide every width {list(channels)}")


class StageSettings(BaseModel):
    """How one stage is optimised: AdamW, warm-up, a constant rate, then a fall to zero.

    The rate stays constant until the fall, so that a run may end at any time and be finished by
    a short fall alone (warmup-stable-decay; Hägele et al., arXiv 2405.18392).

    Attributes:
        steps: Optimiser steps in all, the fall included.
        hours: Begin the fall in time to end after this many hours of training, even when steps
            are left; None means that steps alone decide.
        batch_size: Pictures per step.
        learning_rate: The constant rate.
        weight_decay: Weight decay of matrices and kernels; biases and norms have none.
        warmup_steps: Linear rise of the rate.
        fall: Share of all steps in which the rate falls.
        averaging: Decay of the exponential moving average of the weights, per step.
        gradient_norm: Largest gradient norm; larger gradients are scaled down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Count
    hours: Annotated[float, Field(gt=0)] | None = None
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    fall: Annotated[float, Field(gt=0, lt=1)] = 0.2
    averaging: Share = 0.999
    gradient_norm: Annotated[float, Field(gt=0)] = 1.0


class AutoencoderSettings(StageSettings):
    """The first stage: pictures to latents an eighth of their size, and back.

    Attributes:
        channels: Width at full, half, quarter and eighth size; thin where pixels are many.
        groups: Groups of every group norm; divides every width.
        latent_channels: Numbers per latent position.
        half_size_steps: First steps, on four times as many pictures of half the size: at the same
            cost they see four times as many colours and forms.
        colour_weight: Weight of the absolute error of what a pixel's channels differ from their
            mean. In photographs of pots that is a fortieth of the variance; unweighted, it is
            learned last.
        structure_weight: Weight of lost structural similarity and gradients, which need no trained
            weights, against the absolute error of pixels in [-1, 1].
        perceptual: Features to compare beside: `auto` (timm's weights from the hub), `none`, a
            safetensors file, or a classifier bundle.
        perceptual_backbone: timm's name of the model whose features are compared; a bundle names
            its own.
        perceptual_weight: Weight of the distance of features.
        divergence_weight: Weight of the mean Kullback-Leibler divergence per latent number.
        coarse_weight: Weight of decoding latents at half size into the picture at half size. It
            keeps fine latents from carrying what diffusion cannot learn (Skorokhodov et al.,
            Improving the Diffusability of Autoencoders, arXiv 2502.14831).
    """

    steps: Count = 25_000
    # At equal cost, many small steps go further than few large ones.
    batch_size: Count = 4
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.001
    channels: tuple[Count, ...] = (16, 32, 64, 128)
    groups: Count = 8
    latent_channels: Count = 12
    half_size_steps: Annotated[int, Field(ge=0)] = 2000
    colour_weight: Annotated[float, Field(ge=0)] = 2.0
    structure_weight: Annotated[float, Field(ge=0)] = 0.5
    perceptual: str = "auto"
    perceptual_backbone: str = "tf_mobilenetv3_small_075"
    perceptual_weight: Annotated[float, Field(ge=0)] = 0.5
    divergence_weight: Annotated[float, Field(ge=0)] = 3e-4
    coarse_weight: Annotated[float, Field(ge=0)] = 0.25

    @model_validator(mode="after")
    def _groups_fit(self) -> AutoencoderSettings:
        _check_groups(self.channels, self.groups)
        return self


class DecoderSettings(StageSettings):
    """After the first stage: the decoder alone learns on, against an adversary.

    The latents are fixed by then. The first stage settles what they hold, and leaves what they
    leave open as a blur; here the decoder learns to fill it in as it looks on pictures. Where a
    base is gone on with, this takes the first stage's place: the encoder stays, and so do the
    latents that the UNet knows. (Stability AI released decoders trained on alone, too.)

    Attributes:
        steps: 0 leaves the decoder as it is.
        perceptual_weight: Weight of the distance of features, where there are any.
        adversarial_weight: Weight of the adversarial loss; 0 trains without an adversary.
        adversarial_steps: In which that weight rises from 0.
        discriminator_width: Channels of the discriminator's first convolution.
        discriminator_rate: Learning rate of the discriminator, which does not fall.
    """

    steps: Annotated[int, Field(ge=0)] = 1500
    batch_size: Count = 4
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.001
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    fall: Annotated[float, Field(gt=0, lt=1)] = 0.3
    averaging: Share = 0.995
    perceptual_weight: Annotated[float, Field(ge=0)] = 3.0
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.7
    adversarial_steps: Count = 300
    discriminator_width: Count = 24
    discriminator_rate: Annotated[float, Field(gt=0)] = 5e-4


class DiffusionSettings(StageSettings):
    """The second stage: a text encoder and a UNet that turn noise into latents.

    Attributes:
        steps: 0 leaves those of a base that is gone on with as they are.
        channels: Width of the UNet at each level; each level halves the size.
        groups: Groups of every group norm; divides every width.
        layers: Residual blocks (each with attention) per level on the way down.
        heads: Attention heads of UNet and text encoder.
        text_width: Width of the text encoder and of what the UNet attends to.
        text_layers: Transformer layers of the text encoder.
        text_length: Tokens of a prompt, with start and end.
        snr_limit: Gamma of min-SNR weighting (Hang et al., arXiv 2303.09556).
        dropped_labels: Chance that a known label is left out of its prompt.
        empty_prompts: Share of empty prompts, for classifier-free guidance.
    """

    steps: Annotated[int, Field(ge=0)] = 20_000
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    channels: tuple[Count, ...] = (96, 160)
    groups: Count = 16
    layers: Count = 1
    heads: Count = 4
    text_width: Count = 192
    text_layers: Count = 3
    text_length: Annotated[int, Field(ge=16, le=77)] = 64
    snr_limit: Annotated[float, Field(gt=0)] = 5.0
    dropped_labels: Share = 0.1
    empty_prompts: Share = 0.1

    @model_validator(mode="after")
    def _widths_fit(self) -> DiffusionSettings:
        _check_groups(self.channels, self.groups)
        if any(width % self.heads for width in (*self.channels, self.text_width)):
            raise ValueError(f"{self.heads} heads do not divide every width")
        return self


class RuntimeSettings(BaseModel):
    """On what a run is computed and what it leaves on the way; may change when a run goes on.

    Attributes:
        precision: `auto` computes in bfloat16 where the processor does so natively.
        compile: Compile the models first (needs a C++ compiler on a CPU).
        checkpoint_minutes: Between checkpoints; what an interruption costs at most.
        preview_minutes: Between sample grids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = "auto"
    compile: bool = False
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    preview_minutes: Annotated[float, Field(gt=0)] = 30.0


class PretrainSettings(BaseModel):
    """Settings of `porcelain generator pretrain`.

    Attributes:
        size: Side of the pictures in pixels.
        resize: How a photograph fills that square.
        template: How labels become a prompt (see `porcelain.prompts`).
        seed: Seed of weights, order, noise and, where there is none, the split.
        autoencoder: The first stage.
        decoder: In its place, where a base is gone on with.
        diffusion: The second stage.
        runtime: What may change when a run goes on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=32)] = 128
    resize: ResizeRule = "letterbox"
    template: str = DEFAULT_TEMPLATE
    seed: int = 0
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    decoder: DecoderSettings = DecoderSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _size_fits(self) -> PretrainSettings:
        factor = 2 ** (len(self.autoencoder.channels) + len(self.diffusion.channels) - 2)
        if self.size % factor:
            raise ValueError(f"size must be a multiple of {factor}")
        return self

    def identity(self) -> dict[str, object]:
        """What tells one run from another; JSON-ready."""
        return self.model_dump(mode="json", exclude=HOW_LONG_AND_ON_WHAT)

    def published(self) -> PretrainSettings:
        """These settings without the place of a file on this machine."""
        stage = self.autoencoder
        stage = stage.model_copy(update={"perceptual": Path(stage.perceptual).name})
        return self.model_copy(update={"autoencoder": stage})
