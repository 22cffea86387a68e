"""Everything that decides an evaluation."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from training.generator.synthesis.copies import QUANTILE


class EvaluationSettings(BaseModel):
    """Settings of `porcelain generator evaluate`.

    Attributes:
        count: Pictures sampled of all kinds, and as many again of rare ones; 0 samples none.
        base_too: Also sample the base model without the LoRA, with the same prompts and seeds.
        match_size: Bring photographs to the size of the generated pictures before comparing.
        copy_quantile: As for the synthesis.
        batch_size: Pictures denoised at once.
        seed: Of pictures and draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(ge=0)] = 200
    base_too: bool = False
    match_size: bool = True
    copy_quantile: Annotated[float, Field(ge=0, le=1)] = QUANTILE
    batch_size: Annotated[int, Field(ge=1)] = 8
    seed: Annotated[int, Field(ge=0)] = 0
