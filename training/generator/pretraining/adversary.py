"""A decoder's opponent: it tells pictures from what the decoder makes of their latents.

Of several pictures that a latent might come from, absolute error asks for their mean, which is
blurred and looks like none of them. An opponent asks for one that looks real (Isola et al.,
arXiv 1611.07004; Stable Diffusion's own first stage: Esser et al., arXiv 2012.09841).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from training.generator.pretraining.settings import DecoderSettings

HEAD_WIDTH = 64


class Discriminator(nn.Module):
    """Judges patches of pictures: their pixels and, where there is a trained backbone, its maps.

    Judging maps of a backbone that is not trained further is steadier and sees patterns that few
    pixels do not show (Sauer et al., Projected GANs Converge Faster, arXiv 2111.01007). Every
    convolution is spectrally normalised (Miyato et al., arXiv 1802.05957).
    """

    def __init__(self, width: int, channels: Sequence[int] = ()) -> None:
        """Set up.

        Args:
            width: Of the first convolution on pixels; the later ones are two and four times as
                wide.
            channels: Of the backbone's maps, one by one.
        """
        super().__init__()
        self.patches = nn.Sequential(
            _convolution(3, width, 4, stride=2),
            nn.LeakyReLU(0.2),
            _convolution(width, 2 * width, 4, stride=2),
            nn.LeakyReLU(0.2),
            _convolution(2 * width, 4 * width, 3),
            nn.LeakyReLU(0.2),
            _convolution(4 * width, 1, 3),
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                _convolution(count, HEAD_WIDTH, 3),
                nn.LeakyReLU(0.2),
                _convolution(HEAD_WIDTH, HEAD_WIDTH, 1),
                nn.LeakyReLU(0.2),
                _convolution(HEAD_WIDTH, 1, 1),
            )
            for count in channels
        )

    def forward(self, pictures: Tensor, maps: Sequence[Tensor] = ()) -> list[Tensor]:
        """How real each patch looks, higher for more real.

        Args:
            pictures: [B, 3, H, W] in [-1, 1].
            maps: The backbone's, of the same pictures, [B, C, h, w] each.

        Returns:
            [B, 1, h, w] of the pixels, then of every map.
        """
        judged = [head(values.float()) for head, values in zip(self.heads, maps, strict=True)]
        return [self.patches(pictures), *judged]


class Adversary:
    """A discriminator, how it learns, and what it asks of a decoder: the hinge loss."""

    def __init__(
        self, settings: DecoderSettings, channels: Sequence[int], device: torch.device
    ) -> None:
        """Set up with random weights.

        Args:
            settings: Width and learning rate.
            channels: Of a trained backbone's maps; none without one.
            device: Where it is computed.
        """
        self.discriminator = Discriminator(settings.discriminator_width, channels).to(device)
        self._optimizer = torch.optim.Adam(
            self.discriminator.parameters(), settings.discriminator_rate, betas=(0.5, 0.99)
        )

    def learn(
        self,
        real: tuple[Tensor, Sequence[Tensor]],
        decoded: tuple[Tensor, Sequence[Tensor]],
    ) -> Tensor:
        """One step of telling pictures from decoded ones.

        Args:
            real: Pictures and their maps.
            decoded: What the decoder made of the same ones, with maps. No gradient reaches them.

        Returns:
            The loss: 1 at first and where both look alike, 0 where all are told apart.
        """
        self.discriminator.train().requires_grad_(True)
        genuine = self.discriminator(*_detached(*real))
        made = self.discriminator(*_detached(*decoded))
        losses = [
            0.5 * (F.relu(1.0 - yes.float()).mean() + F.relu(1.0 + no.float()).mean())
            for yes, no in zip(genuine, made, strict=True)
        ]
        loss = torch.stack(losses).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def objection(self, pictures: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """What a decoder has to lower to be taken for real; the discriminator does not learn.

        Args:
            pictures: Decoded, [B, 3, H, W] in [-1, 1].
            maps: Theirs.

        Returns:
            A scalar, below 0 where they look more real than not.
        """
        self.discriminator.eval().requires_grad_(False)
        judged = self.discriminator(pictures, maps)
        return -torch.stack([values.float().mean() for values in judged]).mean()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.discriminator.load_state_dict(state["discriminator"])
        self._optimizer.load_state_dict(state["optimizer"])


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    padding = (kernel - 1) // 2
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))


def _detached(pictures: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    return pictures.detach(), [values.detach() for values in maps]
