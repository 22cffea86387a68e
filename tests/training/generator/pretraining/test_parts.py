"""The parts by themselves: tokenizer, normalisation, losses, schedule, sizes."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import CLIPTokenizer

from porcelain.bundle import ClassifierInfo, write_manifest
from porcelain.dataset import Record
from porcelain.errors import UserError
from porcelain.files import write_json
from porcelain.prompts import DEFAULT_TEMPLATE, prompt_for
from porcelain.vocabulary import TASKS, default_taxonomy
from training.classifier.model import create_backbone
from training.generator.pretraining.autoencoder_stage import AutoencoderObjective
from training.generator.pretraining.data import (
    Captions,
    build_tokenizer,
    prompt_vocabulary,
    save_tokenizer,
)
from training.generator.pretraining.diffusion_stage import (
    Denoiser,
    min_snr_weight,
    stratified_timesteps,
)
from training.generator.pretraining.losses import (
    load_feature_distance,
    structural_similarity,
    structure_loss,
)
from training.generator.pretraining.model import (
    build_autoencoder,
    build_scheduler,
    build_text_encoder,
    build_unet,
    channel_statistics,
    encode_pictures,
    fold_normalisation,
)
from training.generator.pretraining.settings import (
    AutoencoderSettings,
    DiffusionSettings,
    PretrainSettings,
    StageSettings,
)
from training.generator.pretraining.stage import Reporter, RunContext, build_loop
from training.loop import EpochSampler, WarmupStableDecay
from training.processes import open_accelerator

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    texts = prompt_vocabulary(default_taxonomy(), {"type": ["stem_cup"]}, DEFAULT_TEMPLATE)
    return build_tokenizer(texts, 64)


def test_default_base_fits_into_24_mebibytes(tokenizer: CLIPTokenizer) -> None:
    settings = PretrainSettings()
    with torch.device("meta"):
        parts = (
            build_autoencoder(settings.autoencoder, settings.size),
            build_text_encoder(settings.diffusion, tokenizer),
            build_unet(settings.diffusion, settings.autoencoder.latent_channels, 16),
        )
    parameters = sum(p.numel() for part in parts for p in part.parameters())
    assert parameters > 10e6
    # One and a half are for the grid, the tokenizer and the headers.
    assert 2 * parameters < 22.5 * MEBIBYTE


def test_words_of_prompts_are_whole(tokenizer: CLIPTokenizer) -> None:
    taxonomy = default_taxonomy()
    for task in TASKS:
        for label in getattr(taxonomy, task):
            tokens = tokenizer.tokenize(prompt_for({task: label}, taxonomy))
            assert all(token.endswith("</w>") for token in tokens)
    assert "stem</w>" in tokenizer.get_vocab()


@pytest.mark.parametrize("text", ["Zürich quetzals 1995", "元青花瓷", "🙂", "", "a\nb\t<c>"])
def test_any_text_can_be_put_into_tokens_and_back(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    # CLIP's unknown token is the end token: it must not occur inside.
    assert tokenizer.eos_token_id not in ids[1:-1]
    back = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(back.split()) == "".join(text.lower().split())


def test_saved_tokenizer_loads_and_has_both_layouts(
    tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    save_tokenizer(tokenizer, tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = prompt_for({"type": "vase", "glaze": "celadon"}, default_taxonomy())
    assert loaded(text, padding="max_length").input_ids == (
        tokenizer(text, padding="max_length").input_ids
    )
    assert loaded.model_max_length == 64
    assert {"tokenizer.json", "vocab.json", "merges.txt"} <= {p.name for p in tmp_path.iterdir()}
    older = CLIPTokenizer(vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt"))
    assert older(text).input_ids == tokenizer(text).input_ids


def test_normalisation_is_folded_into_the_autoencoder() -> None:
    torch.manual_seed(0)
    settings = AutoencoderSettings(channels=(8, 8, 16), groups=4, latent_channels=4)
    autoencoder = build_autoencoder(settings, 32).eval()
    pixels = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8).numpy()
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before = autoencoder.encode(picture).latent_dist
        decoded = autoencoder.decode(before.mean).sample
    means, variance = encode_pictures(autoencoder, pixels)
    mean, deviation = channel_statistics(means, variance)
    fold_normalisation(autoencoder, mean, deviation)
    with torch.no_grad():
        after = autoencoder.encode(picture).latent_dist
        assert torch.allclose(autoencoder.decode(after.mean).sample, decoded, atol=1e-4)
    wanted = (before.mean - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)
    assert torch.allclose(after.mean, wanted, atol=1e-4)
    assert torch.allclose(after.std, before.std / deviation.view(1, -1, 1, 1), rtol=1e-3)
    means, variance = encode_pictures(autoencoder, pixels)
    mean, deviation = channel_statistics(means, variance)
    assert mean.abs().max() < 1e-3
    assert (deviation - 1).abs().max() < 1e-3
    assert autoencoder.config.scaling_factor == 1.0


def test_an_untrained_autoencoder_lets_colours_through() -> None:
    """A blue and a red square stay apart, and more alike to themselves than to each other."""
    torch.manual_seed(0)
    autoencoder = build_autoencoder(AutoencoderSettings(), 64).eval()
    colours = torch.tensor([[-0.6, -0.4, 0.6], [0.6, -0.5, -0.5], [-0.2, 0.6, -0.4]])
    pictures = torch.full((3, 3, 64, 64), -0.8)
    pictures[:, :, 16:48, 16:48] = colours[:, :, None, None]
    with torch.inference_mode():
        output = autoencoder.decode(autoencoder.encode(pictures).latent_dist.mode()).sample
    inner = output[:, :, 24:40, 24:40]
    within = inner.std(dim=(2, 3)).mean()
    between = inner.mean(dim=(2, 3)).std(dim=0).mean()
    assert between > 0.05
    assert between > 5 * within


@pytest.mark.parametrize(("step", "count", "side"), [(0, 8, 16), (1, 8, 16), (2, 2, 32)])
def test_first_steps_see_more_and_smaller_pictures(step: int, count: int, side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    settings = AutoencoderSettings(batch_size=2, half_size_steps=2, perceptual="none")
    autoencoder = build_autoencoder(settings, 32)
    seen: list[tuple[int, ...]] = []
    autoencoder.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    terms = AutoencoderObjective(autoencoder, pixels, settings, None, seed=0)(step)
    assert seen == [(count, 3, side, side)]
    assert {"absolute", "colour", "structure"} <= set(terms)


def test_mirror_images_are_encoded_too() -> None:
    autoencoder = build_autoencoder(
        AutoencoderSettings(channels=(8, 16), groups=4, latent_channels=4), 16
    ).eval()
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    means, _ = encode_pictures(autoencoder, pixels.numpy())
    mirrored, _ = encode_pictures(autoencoder, pixels.flip(2).numpy())
    assert torch.allclose(means[:, 1], mirrored[:, 0], atol=1e-5)


def test_structure_is_blind_to_nothing() -> None:
    torch.manual_seed(0)
    picture = F.interpolate(torch.rand(2, 3, 16, 16) * 2 - 1, scale_factor=4, mode="bilinear")
    assert structural_similarity(picture, picture).tolist() == pytest.approx([1.0, 1.0])
    assert float(structure_loss(picture, picture)) == pytest.approx(0.0, abs=1e-6)
    blurred = F.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)
    blurrier = F.avg_pool2d(blurred, 5, 1, 2, count_include_pad=False)
    assert 0 < float(structure_loss(blurred, picture)) < float(structure_loss(blurrier, picture))


def test_feature_distance_grows_with_damage(tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "mobilenetv3_small_050"
    weights = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in create_backbone(name).state_dict().items()}, weights)
    distance = load_feature_distance(str(weights), name)
    assert not isinstance(distance, str)
    assert not distance.train().features.training
    picture = torch.rand(2, 3, 64, 64) * 2 - 1
    noise = torch.randn_like(picture)
    values = [float(distance(picture + s * noise, picture).mean()) for s in (0.0, 0.05, 0.3)]
    assert values[0] == pytest.approx(0.0, abs=1e-6)
    assert values[0] < values[1] < values[2]


def test_features_of_a_classifier_bundle_can_be_compared(tmp_path: Path) -> None:
    name, folder = "mobilenetv3_small_050", tmp_path / "classifier"
    folder.mkdir()
    backbone = create_backbone(name)
    state = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    trained = {"backbone": name, "pretrained": "none", "epochs": 3, "refit": False}
    write_json(folder / "training.json", {"settings": trained})
    info = ClassifierInfo(
        labels={"type": ["bowl", "vase"]},
        label_counts={"type": {"bowl": 1, "vase": 1}},
        input_size=64,
        resize="letterbox",
        backbone=name,
        temperatures={"type": 1.0},
        abstention_thresholds={"type": 0.5},
        selective_accuracy=0.95,
        activation_grid=(2, 2),
        metrics={},
    )
    write_manifest(folder, kind="classifier", name="c", dataset_digest="0" * 64, classifier=info)
    distance = load_feature_distance(str(folder), "mobilenetv3_large_100")
    assert not isinstance(distance, str)
    assert torch.equal(distance.features.conv_stem.weight, backbone.conv_stem.weight)
    assert distance.recipe == (
        "porcelain classifier train --data DATA --out classifier "
        f"--backbone {name} --pretrained none --epochs 3 --no-refit"
    )


def test_unusable_perceptual_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_feature_distance(str(tmp_path / "none.safetensors"), "mobilenetv3_small_050")
    assert isinstance(load_feature_distance("none", "mobilenetv3_small_050"), str)


def test_schedule_rises_stays_and_falls() -> None:
    schedule = WarmupStableDecay(steps=100, warmup_steps=10, decay=0.2)
    rates = []
    while not schedule.is_over(len(rates)):
        rates.append(schedule.factor(len(rates)))
    assert len(rates) == 100
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:81] == [1.0] * 71
    assert all(a > b for a, b in itertools.pairwise(rates[80:]))
    assert rates[-1] < 0.05


def test_fall_begins_at_once_when_steps_are_used_up() -> None:
    schedule = WarmupStableDecay(steps=1, warmup_steps=200, decay=0.2)
    assert schedule.factor(800) == pytest.approx(1.0)
    assert schedule.decay_from == 800
    assert schedule.last_step(801, 0.0) == 1000


def test_fall_begins_in_time_for_the_hours() -> None:
    schedule = WarmupStableDecay(steps=10**6, warmup_steps=0, decay=0.2, hours=1.0)
    step = 0
    while not schedule.is_over(step):
        schedule.factor(step, 6.0 * step)
        step += 1
    assert step == pytest.approx(600, abs=2)
    assert schedule.decay_from == pytest.approx(480, abs=2)


def test_every_picture_is_seen_before_any_is_seen_again() -> None:
    sampler = EpochSampler.uniform(10, seed=0)
    seen = [int(i) for step in range(7) for i in sampler.batch(step, 3)]
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))
    assert seen[:10] != seen[10:20]
    assert len(EpochSampler.uniform(3, seed=0).batch(0, 8)) == 8


def test_gradients_are_clipped(tmp_path: Path) -> None:
    module = torch.nn.Linear(4, 1)
    settings = StageSettings(steps=2, batch_size=1, learning_rate=1e-3, gradient_norm=0.5)
    context = RunContext(PretrainSettings(), tmp_path, open_accelerator(), Reporter())
    loop = build_loop("test", module, settings, context)
    norms: list[float] = []

    def measure(*_: object) -> None:
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients)))

    loop.optimizer.register_step_pre_hook(measure)
    loop.take_step(lambda step: [1e3 * module(torch.ones(1, 4)).sum()])
    assert norms == [pytest.approx(0.5, rel=1e-3)]


def test_weight_counts_pure_noise_and_spares_almost_clean_latents() -> None:
    scheduler = build_scheduler()
    weight = min_snr_weight(scheduler, torch.tensor([0, 500, 999]), 5.0)
    ratio = scheduler.alphas_cumprod[0] / (1 - scheduler.alphas_cumprod[0])
    assert float(weight[0]) == pytest.approx(float(5 / (ratio + 1)), rel=1e-3)
    assert float(weight[2]) == 1.0


def test_timesteps_of_a_batch_cover_the_schedule() -> None:
    steps = stratified_timesteps(10, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert sorted(int(t) // 100 for t in steps) == list(range(10))


def test_plain_attention_computes_the_same(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    settings = DiffusionSettings(channels=(16, 32), groups=8, heads=2, text_width=16, text_layers=1)
    denoiser = Denoiser(build_text_encoder(settings, tokenizer), build_unet(settings, 4, 8)).eval()
    inputs = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randint(0, 99, (2, 64))
    with torch.no_grad():
        fused = denoiser(*inputs)
        denoiser.plain_attention()
        assert torch.allclose(denoiser(*inputs), fused, atol=1e-5)


def test_parts_of_prompts_are_dropped_at_random(tokenizer: CLIPTokenizer) -> None:
    labels = {"dynasty": "song", "glaze": "celadon", "kiln": "longquan", "type": "vase"}
    taxonomy = default_taxonomy()
    captions = Captions([Record("a.png", labels)], taxonomy, DEFAULT_TEMPLATE, tokenizer)
    tokens = captions.tokens([0] * 400, dropped_labels=0.25, empty_prompts=0.1, seed=(1,))
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert tokens.shape == (400, 64)
    assert 0.05 < sum(text.strip() == "" for text in texts) / 400 < 0.16
    spoken = [text for text in texts if text.strip()]
    for word in ("song", "celadon", "longquan", "vase"):
        assert 0.6 < sum(word in text for text in spoken) / len(spoken) < 0.9
    again = captions.tokens([0] * 400, dropped_labels=0.25, empty_prompts=0.1, seed=(1,))
    assert torch.equal(tokens, again)
    assert len(set(texts)) > 10


def test_published_settings_name_no_folder() -> None:
    stage = AutoencoderSettings(perceptual="/home/someone/classifier")
    settings = PretrainSettings(autoencoder=stage)
    assert settings.published().autoencoder.perceptual == "classifier"
    assert PretrainSettings().published() == PretrainSettings()


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValidationError, match="groups"):
        AutoencoderSettings(channels=(16, 30))
    with pytest.raises(ValidationError, match="heads"):
        DiffusionSettings(heads=5)
    with pytest.raises(ValidationError, match="multiple of 16"):
        PretrainSettings(size=120)
