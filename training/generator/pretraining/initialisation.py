"""Where an autoencoder starts: as a blur that keeps colours, not as noise.

With the usual random weights next to nothing of a picture reaches the other end: each convolution
shrinks it, and biases as large as what is left drown the rest. Luminance is found again after some
hundred steps, colour, a fortieth of its variance, not after three thousand. Here every residual
branch begins at zero and what is beside it passes on what it gets, so that the whole is a linear
map from the start (as in Zhang et al., Fixup Initialization, arXiv 1901.09321, and Zagoruyko and
Komodakis, DiracNets, arXiv 1706.00388).
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

LOG_VARIANCE = -6.0
"""Of the posterior at the start: noise of a twentieth leaves latents readable."""


@torch.no_grad()
def let_pictures_through(autoencoder: AutoencoderKL) -> None:
    """Set all weights in place; what is random comes from torch's global generator.

    Args:
        autoencoder: Without attention.
    """
    for module in autoencoder.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, ResnetBlock2D):
            _leave_to_shortcut(module)
        elif isinstance(module, Downsample2D):
            _average(module.conv)
        elif isinstance(module, Upsample2D):
            nn.init.dirac_(module.conv.weight)
    # Gains: about 1 after the first layer, and pictures of moderate contrast at the end.
    _rotate(autoencoder.encoder.conv_in, gain=4.0)
    _rotate(autoencoder.encoder.conv_out)
    _rotate(autoencoder.decoder.conv_in)
    _rotate(autoencoder.decoder.conv_out, gain=0.5)
    latents = autoencoder.config.latent_channels
    nn.init.dirac_(autoencoder.quant_conv.weight)
    autoencoder.quant_conv.weight[latents:] = 0.0
    autoencoder.quant_conv.bias[latents:] = LOG_VARIANCE
    nn.init.dirac_(autoencoder.post_quant_conv.weight)


def _leave_to_shortcut(block: ResnetBlock2D) -> None:
    nn.init.kaiming_normal_(block.conv1.weight, nonlinearity="relu")
    nn.init.zeros_(block.conv2.weight)
    if block.conv_shortcut is not None:
        _rotate(block.conv_shortcut)


def _rotate(convolution: nn.Conv2d, gain: float = 1.0) -> None:
    """An orthogonal matrix at the kernel's centre, zero around it."""
    matrix = torch.empty(convolution.weight.shape[:2], device=convolution.weight.device)
    nn.init.orthogonal_(matrix, gain)
    row, column = (side // 2 for side in convolution.kernel_size)
    nn.init.zeros_(convolution.weight)
    convolution.weight[:, :, row, column] = matrix


def _average(convolution: nn.Conv2d) -> None:
    """Each channel's mean over the two by two pixels under an output."""
    nn.init.zeros_(convolution.weight)
    channels = torch.arange(convolution.weight.shape[0])
    convolution.weight[channels, channels, :2, :2] = 0.25
