"""Stable Diffusion's own parts, small: autoencoder, text encoder, UNet and noise schedule."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.generator.pretraining.initialisation import let_pictures_through
from training.generator.pretraining.settings import AutoencoderSettings, DiffusionSettings

TRAINING_TIMESTEPS = 1000


def build_autoencoder(settings: AutoencoderSettings, size: int) -> AutoencoderKL:
    """An untrained autoencoder, without attention: it sees pictures of any size.

    Args:
        settings: Widths.
        size: Side of the pictures, noted in the config.
    """
    levels = len(settings.channels)
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=1,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.groups,
        sample_size=size,
        # Latents have unit variance: quant_conv is told their statistics after training.
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    let_pictures_through(autoencoder)
    return autoencoder


def build_text_encoder(settings: DiffusionSettings, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A text encoder with random weights for this tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.text_width,
            intermediate_size=4 * settings.text_width,
            projection_dim=settings.text_width,
            num_hidden_layers=settings.text_layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.text_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(
    settings: DiffusionSettings, latent_channels: int, latent_size: int
) -> UNet2DConditionModel:
    """A UNet with random weights, cross attention at every level.

    Args:
        settings: Widths and depths.
        latent_channels: Of the autoencoder.
        latent_size: Side of the latents of a picture, noted in the config.
    """
    levels = len(settings.channels)
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers,
        cross_attention_dim=settings.text_width,
        # diffusers' name for the number of heads in this class.
        attention_head_dim=settings.heads,
        norm_num_groups=settings.groups,
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule with v-prediction and a last step of pure noise.

    Without the last, a model learns that the brightness of the noise tells that of the picture,
    and dark or bright backgrounds never come out (Lin et al., arXiv 2305.08891).
    """
    return DDIMScheduler(
        num_train_timesteps=TRAINING_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        # Without meaning here; pipelines warn of any other value.
        steps_offset=1,
    )
