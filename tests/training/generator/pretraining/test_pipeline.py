"""The whole run: what it leaves, what it reads, and that an interruption changes nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from porcelain.errors import UserError
from porcelain.files import sha256_file
from training.data.digests import learned_by_base, read_digests
from training.generator.pretraining import autoencoder_stage, diffusion_stage
from training.generator.pretraining.pipeline import pretrain
from training.generator.pretraining.settings import PretrainSettings
from training.generator.pretraining.stage import Reporter
from training.loop import TrainingLoop


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        part = {f"{path.parent.name}.{k}": v for k, v in load_file(path).items()}
        found.update(part)
    return found


def same_weights(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_result_is_a_stable_diffusion_pipeline(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    out = tmp_path / "base"
    seen = []
    measures = pretrain(
        photos,
        out,
        settings,
        logs=tmp_path / "logs",
        reporter=Reporter(step=lambda progress: seen.append(progress.stage)),
    )
    assert seen == ["autoencoder"] * 8 + ["decoder"] * 6 + ["diffusion"] * 8
    assert {value.dtype for value in weights(out).values()} <= {torch.float16, torch.int64}
    assert not list(tmp_path.glob(".base*"))
    pipeline = StableDiffusionPipeline.from_pretrained(out)  # no dtype, as the card's example
    pipeline.set_progress_bar_config(disable=True)
    for scheduler in (None, DPMSolverMultistepScheduler):
        if scheduler is not None:
            pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
        picture = pipeline(
            "a vase, white glaze",
            num_inference_steps=3,
            output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        assert picture.shape == (32, 32, 3)
        assert np.isfinite(picture).all()
        assert picture.std() > 0
    training_scheduler = DDPMScheduler.from_pretrained(out, subfolder="scheduler")
    assert training_scheduler.config.prediction_type == "v_prediction"
    assert float(training_scheduler.alphas_cumprod[-1]) == 0.0
    saved = json.loads((out / "measures.json").read_text())
    assert saved == json.loads(json.dumps(measures))
    assert saved["data"]["training_pictures"] == 16
    assert saved["autoencoder"]["reconstruction"]["pictures"] == 4
    total = sum(v.numel() for k, v in weights(out).items() if "position_ids" not in k)
    assert saved["parameters"]["total"] == total
    assert Image.open(out / "grid.png").size == (92 + 2 * 32, 34 + 2 * 32)
    card = (out / "README.md").read_text()
    assert saved["data"]["digest"] in card
    assert "CC0-1.0" in card
    assert "--autoencoder-steps 8" in card
    assert "--decoder-steps 6" in card
    assert PretrainSettings.model_validate_json((out / "settings.json").read_text()) == settings


def test_saved_latents_have_unit_variance(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    out = tmp_path / "base"
    pretrain(photos, out, settings)
    pipeline = StableDiffusionPipeline.from_pretrained(out, dtype=torch.float32)
    pictures = [
        np.asarray(Image.open(photos / f"images/{i:02}.png").resize((32, 32), Image.BICUBIC))
        for i in range(16)
    ]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        posterior = pipeline.vae.encode(batch).latent_dist
        latents = posterior.sample(torch.Generator().manual_seed(0))
    latents = latents * pipeline.vae.config.scaling_factor
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.15
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.15


@pytest.mark.parametrize("stopped", ["autoencoder", "decoder", "diffusion"])
def test_interrupted_run_ends_as_an_uninterrupted_one(
    photos: Path,
    settings: PretrainSettings,
    tmp_path: Path,
    stopped: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretrain(photos, tmp_path / "whole", settings)
    take_step = TrainingLoop.take_step

    def break_off(loop: TrainingLoop, *arguments: object) -> object:
        if loop.checkpoint.stem == stopped and loop.step == 4:
            loop.save()
            raise KeyboardInterrupt
        return take_step(loop, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(TrainingLoop, "take_step", break_off)
        with pytest.raises(KeyboardInterrupt):
            pretrain(photos, tmp_path / "parts", settings)
    assert not (tmp_path / "parts").exists()
    steps = []
    pretrain(
        photos,
        tmp_path / "parts",
        settings,
        reporter=Reporter(step=lambda progress: steps.append((progress.stage, progress.step))),
    )
    assert steps[0] == (stopped, 5)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def test_steps_may_change_when_a_run_goes_on(
    photos: Path,
    settings: PretrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(diffusion_stage, "build_denoiser", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain(photos, tmp_path / "base", settings)
    shorter = settings.model_copy(
        update={"diffusion": settings.diffusion.model_copy(update={"steps": 4})}
    )
    stages = []
    measures = pretrain(
        photos,
        tmp_path / "base",
        shorter,
        reporter=Reporter(step=lambda progress: stages.append(progress.stage)),
    )
    assert stages == ["diffusion"] * 4
    assert measures["diffusion"]["steps"] == 4
    assert measures["autoencoder"]["steps"] == 8


def test_only_training_pictures_are_learned_from(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    pretrain(photos, tmp_path / "first", settings)
    for index in range(16, 24):
        noise = np.random.default_rng(index).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"images/{index:02}.png")
    pretrain(photos, tmp_path / "second", settings)
    assert same_weights(tmp_path / "first", tmp_path / "second")
    changed = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(changed).save(photos / "images/00.png")
    pretrain(photos, tmp_path / "third", settings)
    assert not same_weights(tmp_path / "first", tmp_path / "third")


def test_test_pictures_are_not_even_opened(
    photos: Path, settings: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.classifier import pictures

    opened = []
    load = pictures.load_and_prepare
    monkeypatch.setattr(
        pictures,
        "load_and_prepare",
        lambda path, *rest: opened.append(path.name) or load(path, *rest),
    )
    pretrain(photos, tmp_path / "base", settings)
    assert sorted(opened) == [f"{i:02}.png" for i in range(20)]


def test_autoencoder_of_another_base_is_used(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    pretrain(photos, tmp_path / "first", settings)
    measures = pretrain(photos, tmp_path / "second", settings, autoencoder=tmp_path / "first")
    assert measures["autoencoder"]["steps"] == 0
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    inner = [k for k in first if k.startswith("vae.") and "quant" not in k]
    assert inner
    assert all(torch.equal(first[key], second[key]) for key in inner)


def test_a_run_goes_on_from_another_base(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pretrain(photos, first, settings)
    wider = settings.diffusion.model_copy(
        update={"steps": 1, "hours": None, "learning_rate": 1e-5, "channels": (32, 64)}
    )
    other = settings.model_copy(
        update={
            "diffusion": wider,
            "decoder": settings.decoder.model_copy(update={"steps": 0}),
            "seed": 5,
            "template": "a {type}",
        }
    )
    measures = pretrain(photos, second, other, base=first)
    before, after = weights(first), weights(second)
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.allclose(weight.float(), after[name].float(), atol=1e-3), name
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("vae."))
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("unet."))
    assert measures["start"]["name"] == "first"
    noted = PretrainSettings.model_validate_json((second / "settings.json").read_text())
    assert noted.diffusion.channels == settings.diffusion.channels
    assert noted.template == settings.template
    for config in second.rglob("*.json"):
        assert str(tmp_path) not in config.read_text()
        assert "is_local" not in config.read_text()
    card = (second / "README.md").read_text()
    assert "--base first" in card
    assert "from scratch" not in card


def test_a_base_knows_by_content_what_it_and_its_own_base_have_learned_from(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    quick = settings.model_copy(
        update={"decoder": settings.decoder.model_copy(update={"steps": 0})}
    )
    own = {sha256_file(photos / f"images/{index:02}.png") for index in range(16)}
    pretrain(photos, first, quick)
    assert learned_by_base(first) == own
    for index in range(16):
        place = photos / f"images/{index:02}.png"
        Image.open(place).point(lambda value: value // 2).save(place)
    others = {sha256_file(photos / f"images/{index:02}.png") for index in range(16)}
    pretrain(photos, second, quick, base=first)
    assert learned_by_base(second) == own | others
    assert len(own | others) == 32
    (first / "digests.json").unlink()
    pretrain(photos, third, quick, autoencoder=first)
    assert learned_by_base(third) is None
    assert read_digests(third) == {"train": others}


def test_only_the_decoder_of_a_base_learns_new_pictures(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pretrain(photos, first, settings)
    decoder = settings.decoder.model_copy(update={"steps": 60, "warmup_steps": 2})
    one_step = settings.diffusion.model_copy(update={"steps": 1})
    other = settings.model_copy(update={"decoder": decoder, "diffusion": one_step})
    measures = pretrain(photos, second, other, base=first)
    before, after = weights(first), weights(second)
    changed = {k for k in before if k.startswith("vae.") and not torch.equal(before[k], after[k])}
    assert changed
    assert all(k.startswith(("vae.decoder.", "vae.post_quant_conv.")) for k in changed)
    earlier = json.loads((first / "measures.json").read_text())["autoencoder"]
    assert measures["autoencoder"]["steps"] == 0
    assert measures["decoder"]["steps"] == 60
    psnr = measures["autoencoder"]["reconstruction"]["psnr"]
    assert psnr > earlier["reconstruction"]["psnr"] + 1
    card = (second / "README.md").read_text()
    assert "--decoder-steps 60" in card
    assert "--autoencoder-steps 8" in card  # how the first was made is not lost
    assert card.index("--out first") < card.index("--base first")


def test_after_the_first_stage_the_decoder_learns_alone(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    def with_weight(weight: float, steps: int = 6) -> PretrainSettings:
        update = {"adversarial_weight": weight, "steps": steps}
        return settings.model_copy(update={"decoder": settings.decoder.model_copy(update=update)})

    for name, chosen in (
        ("none", with_weight(0.0, steps=0)),
        ("alone", with_weight(0.0)),
        ("opposed", with_weight(0.5)),
    ):
        pretrain(photos, tmp_path / name, chosen)
    none, alone, opposed = (weights(tmp_path / name) for name in ("none", "alone", "opposed"))
    for first, second in ((none, alone), (alone, opposed)):
        changed = {k for k in first if not torch.equal(first[k], second[k])}
        assert changed
        assert all(k.startswith(("vae.decoder.", "vae.post_quant_conv.")) for k in changed)
    assert "discriminator" in (tmp_path / "opposed" / "README.md").read_text()
    assert "discriminator" not in (tmp_path / "alone" / "README.md").read_text()


def test_text_encoder_and_unet_of_a_base_may_stay(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    kept = settings.diffusion.model_copy(update={"steps": 0})
    decoder_alone = settings.model_copy(update={"diffusion": kept})
    with pytest.raises(UserError, match="give --base"):
        pretrain(photos, tmp_path / "second", decoder_alone)
    pretrain(photos, tmp_path / "first", settings)
    pretrain(photos, tmp_path / "second", decoder_alone, base=tmp_path / "first")
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed
    assert all(k.startswith(("vae.decoder.", "vae.post_quant_conv.")) for k in changed)
    assert "--steps 0" in (tmp_path / "second" / "README.md").read_text()


def test_a_base_that_does_not_fit_is_refused(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    out = tmp_path / "base"
    with pytest.raises(UserError, match="is not what"):
        pretrain(photos, out, settings, base=photos)
    with pytest.raises(UserError, match="leave out --autoencoder"):
        pretrain(photos, out, settings, base=photos, autoencoder=photos)
    pretrain(photos, out, settings)
    larger = settings.model_copy(update={"size": 2 * settings.size})
    with pytest.raises(UserError, match="leave out --size"):
        pretrain(photos, tmp_path / "larger", larger, base=out)


def test_autoencoder_that_is_not_one_is_refused(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="holds no autoencoder"):
        pretrain(photos, tmp_path / "base", settings, autoencoder=photos)
    assert not (tmp_path / "base").exists()


def test_existing_result_is_not_replaced_unasked(
    photos: Path, settings: PretrainSettings, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "base")
    with pytest.raises(UserError, match="already exists"):
        pretrain(photos, tmp_path / "base", settings)


def test_finished_first_stage_is_not_repeated(
    photos: Path, settings: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(diffusion_stage, "build_denoiser", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain(photos, tmp_path / "base", settings)
    monkeypatch.setattr(autoencoder_stage, "train_stage", interrupt)
    pretrain(photos, tmp_path / "base", settings)
    assert (tmp_path / "base" / "model_index.json").is_file()
