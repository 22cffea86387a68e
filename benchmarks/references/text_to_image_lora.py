"""The way of diffusers' own example `train_text_to_image_lora.py`: everything at every step.

Written anew after it, with what decides its speed and its loss: pictures decoded and transformed
by a DataLoader without workers (its default), prompts tokenised with them, every picture encoded
by the autoencoder and every prompt by the text encoder at each step, AdamW and a constant rate
with the example's numbers, losses gathered and read at each step, and its clipping, which clips
nothing because the optimiser has exhausted the iterator of parameters.

Only its random numbers come from outside, so that its losses can be held against ours.

Source: https://github.com/huggingface/diffusers, examples/text_to_image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import cast_training_params, compute_snr
from peft import LoraConfig
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from transformers import CLIPTextModel, CLIPTokenizer

from training.generator.lora.inputs import StepSample

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class _Captioned(Dataset[dict[str, Tensor]]):
    """Pictures with their captions; an item is named by its index and whether it is mirrored."""

    def __init__(
        self, paths: Sequence[Path], captions: Sequence[str], tokenizer: CLIPTokenizer, size: int
    ) -> None:
        self._paths, self._captions, self._tokenizer = paths, captions, tokenizer
        self._before = transforms.Compose(
            [
                transforms.Resize(size, interpolation=transforms.InterpolationMode.BILINEAR),
                transforms.CenterCrop(size),
            ]
        )
        self._after = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, item: tuple[int, bool, bool]) -> dict[str, Tensor]:
        index, flipped, prompted = item
        image = self._before(Image.open(self._paths[index]).convert("RGB"))
        if flipped:
            image = transforms.functional.hflip(image)
        ids = self._tokenizer(
            self._captions[index] if prompted else "",
            max_length=self._tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids[0]
        return {"pixel_values": self._after(image), "input_ids": ids}


class ExampleTrainer:
    """The example's loop, one step at a time.

    Attributes:
        losses: Of each step.
        precision: Of the frozen weights and of computing.
    """

    def __init__(
        self,
        base: Path,
        paths: Sequence[Path],
        captions: Sequence[str],
        draws: Iterator[StepSample],
        options: dict[str, Any],
        precision: str,
    ) -> None:
        """Load the model and prepare to train.

        Args:
            base: A pipeline's folder.
            paths: Pictures.
            captions: One for each.
            draws: The random numbers of each step.
            options: `rank`, `learning_rate`, `size`, `snr_gamma` and `seed`.
            precision: Of the frozen weights and of computing.
        """
        self.losses: list[float] = []
        self.precision = precision
        # accelerate refuses a second precision in a process; ours keeps to its own in any case.
        AcceleratorState._reset_state()
        self._accelerator = accelerator = Accelerator(mixed_precision=precision)
        self._options = options
        self._dtype = DTYPES[precision]
        self._noise = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
        self._text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder")
        self._vae = AutoencoderKL.from_pretrained(base, subfolder="vae")
        unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
        for model in (self._vae, self._text_encoder, unet):
            model.requires_grad_(False)
            model.to(accelerator.device, dtype=self._dtype)
        torch.manual_seed(options["seed"])
        unet.add_adapter(
            LoraConfig(
                r=options["rank"],
                lora_alpha=options["rank"],
                init_lora_weights="gaussian",
                target_modules=["to_q", "to_k", "to_v", "to_out.0"],
            )
        )
        cast_training_params(unet, dtype=torch.float32)
        self._lora_layers = filter(lambda p: p.requires_grad, unet.parameters())
        optimizer = torch.optim.AdamW(
            self._lora_layers,
            lr=options["learning_rate"],
            betas=(0.9, 0.999),
            weight_decay=1e-2,
            eps=1e-8,
        )
        rate = get_scheduler("constant", optimizer=optimizer)
        self._drawn: list[StepSample] = []
        loader = DataLoader(
            _Captioned(paths, captions, tokenizer, options["size"]),
            batch_sampler=self._items(draws),
            num_workers=0,
        )
        self._unet, self._optimizer, self._rate = accelerator.prepare(unet, optimizer, rate)
        self._batches = iter(loader)

    def _items(self, draws: Iterator[StepSample]) -> Iterator[list[tuple[int, bool, bool]]]:
        for draw in draws:
            self._drawn.append(draw)
            yield list(
                zip(
                    draw.pictures.tolist(),
                    draw.flipped.tolist(),
                    draw.prompted.tolist(),
                    strict=True,
                )
            )

    def step(self) -> None:
        """One step of the example's loop."""
        accelerator, device = self._accelerator, self._accelerator.device
        self._unet.train()
        batch = next(self._batches)
        draw = self._drawn.pop(0)
        with accelerator.accumulate(self._unet):
            pixels = batch["pixel_values"].contiguous().float().to(device)
            posterior = self._vae.encode(pixels.to(dtype=self._dtype)).latent_dist
            latents = posterior.mean + posterior.std * draw.posterior.to(device, self._dtype)
            latents = latents * self._vae.config.scaling_factor
            noise = draw.noise.to(device, self._dtype)
            timesteps = draw.timesteps.to(device)
            noisy = self._noise.add_noise(latents, noise, timesteps)
            texts = self._text_encoder(batch["input_ids"].to(device), return_dict=False)[0]
            answer = self._unet(noisy, timesteps, texts, return_dict=False)[0]
            loss = self._loss(answer, noise, timesteps)
            gathered = accelerator.gather(loss.repeat(len(pixels))).mean()
            self.losses.append(gathered.item())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(self._lora_layers, 1.0)
            self._optimizer.step()
            self._rate.step()
            self._optimizer.zero_grad()

    def _loss(self, answer: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        gamma = self._options["snr_gamma"]
        if gamma is None:
            return F.mse_loss(answer.float(), target.float(), reduction="mean")
        snr = compute_snr(self._noise, timesteps)
        bound = gamma * torch.ones_like(timesteps)
        weights = torch.stack([snr, bound], dim=1).min(dim=1)[0] / snr
        loss = F.mse_loss(answer.float(), target.float(), reduction="none")
        return (loss.mean(dim=list(range(1, len(loss.shape)))) * weights).mean()
