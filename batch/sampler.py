"""Making a batch of pictures: what this process and Ray's actors run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from batch.plan import Picture
from batch.settings import GenerateSettings
from porcelain.bundle import Bundle
from porcelain.content_credentials import Signing
from porcelain.synthetic_picture import Provenance, encode_synthetic
from sampling.request import SampleRequest

if TYPE_CHECKING:
    from sampling.generator import Generator


@dataclass
class Sampling:
    """A generator that is loaded when the first picture is made.

    Attributes:
        bundle: The verified bundle.
        settings: The job's.
        signing: Who signs content credentials; None signs nothing.
    """

    bundle: Bundle
    settings: GenerateSettings
    signing: Signing | None = None

    @cached_property
    def generator(self) -> Generator:
        """The model.

        Raises:
            UserError: Its base cannot be found or loaded, or there is no such device.
        """
        from sampling.generator import Generator

        return Generator.load(self.bundle, base=self.settings.base, device=self.settings.device)

    def make(self, batch: Sequence[Picture]) -> list[bytes]:
        """Encoded pictures, each marked as synthetic.

        Args:
            batch: Of equal steps; denoised together.

        Raises:
            UserError: Steps or a size that the model cannot do.
        """
        defaults = self.bundle.generator.sampling
        pixels = self.generator.sample(
            [SampleRequest(one.prompt, one.seed, one.guidance_scale) for one in batch],
            steps=batch[0].steps,
            width=self.settings.width or defaults.width,
            height=self.settings.height or defaults.height,
        )
        digest = self.bundle.manifest.digest()
        return [
            encode_synthetic(
                picture,
                self.settings.format,
                Provenance(digest, one.prompt, one.seed, one.steps, one.guidance_scale),
                self.signing,
            )
            for one, picture in zip(batch, pixels, strict=True)
        ]
