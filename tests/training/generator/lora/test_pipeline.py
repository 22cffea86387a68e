"""The whole way: photographs in, a proven bundle out, and nothing of the held-out pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from porcelain.bundle import LORA_FILE, Bundle, load_bundle
from porcelain.dataset import load_dataset, write_metadata
from porcelain.errors import DatasetError, PorcelainError, UserError
from porcelain.files import sha256_file, write_json
from porcelain.vocabulary import load_taxonomy
from sampling.generator import Generator, SampleRequest
from sampling.layout import digest_of
from tests.training.data.folders import encoded, marked_png, vessel
from tests.training.generator.lora.conftest import COMMON, RARE
from training.data.split import SUBSETS, read_split, split_or_make
from training.generator.lora import pipeline, preparation
from training.generator.lora.model import Sampling, sample
from training.generator.lora.pipeline import fit, train_generator
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import Reporter
from training.generator.lora.verification import Verification, compare
from training.generator.synthesis.learned import Learned, learned_by, learned_by_base_of

_opened: list[str] = []
_listening = False


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event == "open":
        _opened.append(str(arguments[0]))


class InterruptionError(Exception):
    """Stands for a kill between two steps."""


def no_proof(*arguments: object) -> Verification:
    """In place of the fresh process, where another test has had one."""
    return Verification(change=1.0, difference=0.0)


@pytest.fixture(scope="module")
def trained(
    photographs: Path, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bundle]:
    folder = tmp_path_factory.mktemp("trained")
    write_json(base / "digests.json", {"train": ["seen by the base"], "base": ["and before"]})
    yield train_generator(photographs, folder / "bundle", brief(base), name="tiny")
    assert [path.name for path in folder.iterdir()] == ["bundle"]


def brief(base: Path) -> LoraSettings:
    return LoraSettings(
        base=str(base),
        steps=6,
        rank=4,
        alpha=8,
        batch_size=4,
        learning_rate=1e-2,
        sampling_steps=2,
        previews=0,
        mixed_precision="no",  # to be held against float32
    )


def test_the_bundle_knows_by_content_what_it_has_learned_from(
    trained: Bundle, photographs: Path
) -> None:
    names = read_split(photographs / "split.json").names["train"]
    digests = frozenset(sha256_file(photographs / name) for name in names)
    before = {"seen by the base", "and before"}
    assert learned_by(trained, None) == Learned(trained=digests | before)
    assert learned_by_base_of(trained) == Learned(trained=before)


def test_the_bundle_says_what_it_is(trained: Bundle, photographs: Path, base: Path) -> None:
    info = trained.generator
    dataset, split = load_dataset(photographs), read_split(photographs / "split.json")
    training = [r for r in dataset.records if r.file_name in split.names["train"]]
    common, rare = (sum(r.labels == labels for r in training) for labels in (COMMON, RARE))
    assert [one.count for one in info.combinations] == [common, rare]
    assert info.combinations[1].labels == {k: v for k, v in RARE.items() if v is not None}
    assert info.labels["glaze"] == ["blue_and_white", "celadon"]
    assert info.labels["kiln"] == ["longquan"]
    assert info.base.digest == digest_of(base)
    assert Path(info.base.reference) == base
    assert (info.rank, info.alpha, info.text_encoder) == (4, 8.0, False)
    assert (info.sampling.width, info.sampling.height) == (64, 64)
    assert read_split(trained.path / "split.json") == split
    assert load_taxonomy(trained.path) == load_taxonomy(photographs)
    assert yaml.safe_load((trained.path / "taxonomy.yaml").read_text())["glaze"]
    settings = LoraSettings.model_validate_json((trained.path / "settings.json").read_text())
    assert (settings.size, settings.steps) == (64, 6)
    with Image.open(trained.path / "grid.png") as grid:
        assert grid.size == (128, 64)  # two kinds
    training_file = json.loads((trained.path / "training.json").read_text())
    assert sorted(training_file["photographs"]) == sorted(split.names["train"])
    assert len(training_file["losses"]) == 6
    proof = training_file["verification"]
    assert proof["difference"] < 0.02 * proof["change"]


def test_it_samples_what_a_plain_pipeline_samples(trained: Bundle, base: Path) -> None:
    prompt = "museum photograph of a bowl"
    made = Generator.load(trained, device="cpu").sample(
        [SampleRequest(prompt, 5, 2.0)], steps=2, width=64, height=64
    )[0]
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    plain = sample(pipeline, [prompt], Sampling(2, 2.0, 64), seed=5)[0]
    pipeline.load_lora_weights(trained.path / "lora", weight_name=Path(LORA_FILE).name)
    expected = sample(pipeline, [prompt], Sampling(2, 2.0, 64), seed=5)[0]
    assert np.abs(made / 255 - expected).max() < 2 / 255
    assert np.abs(plain - expected).mean() > 1e-3


def test_interrupted_the_same_command_goes_on(
    trained: Bundle, photographs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(pipeline, "verify", no_proof)

    def kill(step: int, total: int, loss: float) -> None:
        if step == 4:
            raise InterruptionError

    out = tmp_path / "bundle"
    settings = brief(base).model_copy(update={"checkpoint_seconds": 0.0})
    with pytest.raises(InterruptionError):
        train_generator(photographs, out, settings, reporter=Reporter(step=kill))
    assert not out.exists()
    steps: list[int] = []
    # What is encoded stays encoded.
    monkeypatch.setattr(AutoencoderKL, "encode", None)
    bundle = train_generator(
        photographs,
        out,
        brief(base),
        reporter=Reporter(step=lambda step, total, loss: steps.append(step)),
    )
    assert steps == [4, 5, 6]
    for name in ("grid.png", "split.json", "taxonomy.yaml"):
        assert bundle.manifest.files[name] == trained.manifest.files[name], name
    whole, parts = (load_file(b.path / LORA_FILE) for b in (trained, bundle))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    with pytest.raises(UserError, match="--overwrite"):
        train_generator(photographs, out, brief(base))


def test_no_held_out_picture_is_opened(
    photographs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment that the split is known, to the last file of the bundle."""
    global _listening

    def known(*arguments: object, **options: object) -> object:
        global _listening
        split = split_or_make(*arguments, **options)
        _listening = True
        return split

    monkeypatch.setattr(preparation, "split_or_make", known)
    monkeypatch.setattr(pipeline, "verify", no_proof)  # it is not told where pictures are
    sys.addaudithook(_listen)
    try:
        train_generator(photographs, tmp_path / "bundle", brief(base))
    finally:
        _listening = False
    opened = {Path(p).name for p in _opened if Path(p).parent == photographs and p.endswith(".png")}
    assert opened == set(read_split(photographs / "split.json").names["train"])


def test_held_out_pictures_do_not_matter(
    trained: Bundle, photographs: Path, base: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photographs"
    shutil.copytree(photographs, copy)
    split = read_split(copy / "split.json")
    held_out = [name for part in SUBSETS[1:] for name in split.names[part]]
    assert len(held_out) >= 6
    for number, name in enumerate(held_out):
        (copy / name).write_bytes(encoded(vessel(1000 + number), "PNG"))
    records = [
        replace(r, labels=dict(RARE)) if r.file_name in held_out else r
        for r in load_dataset(copy).records
    ]
    write_metadata(copy, records)
    other = preparation.prepare_run(copy, tmp_path / "work", brief(base))
    fit(other)
    learned = load_file(trained.path / LORA_FILE)
    for name, value in other.trainer.loop.parameters.items():
        layer, _, matrix = name.partition(".lora_")
        saved = f"{layer}.lora.{'down' if matrix.startswith('A') else 'up'}.weight"
        assert torch.equal(value, learned[saved]), name


def test_generated_pictures_are_left_out(photographs: Path, base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "photographs"
    shutil.copytree(photographs, copy)
    declared, marked, *others = read_split(copy / "split.json").names["train"]
    (copy / marked).write_bytes(marked_png(vessel(500)))
    records = [replace(r, synthetic=r.file_name == declared) for r in load_dataset(copy).records]
    write_metadata(copy, records)
    with pytest.raises(DatasetError, match=f"declared real but were made by a model: {marked};"):
        preparation.prepare_run(copy, tmp_path / "refused", brief(base))
    records = [replace(r, synthetic=r.synthetic or r.file_name == marked) for r in records]
    write_metadata(copy, records)
    said: list[str] = []
    found = preparation.prepare_run(
        copy, tmp_path / "a", brief(base), reporter=Reporter(said.append)
    )
    assert [r.file_name for r in found.records] == others
    assert any("2 generated" in line for line in said)
    write_metadata(copy, [replace(r, synthetic=True) for r in records])
    with pytest.raises(DatasetError, match="generated"):
        preparation.prepare_run(copy, tmp_path / "b", brief(base))


def test_unreadable_pictures_are_left_out_and_named(
    photographs: Path, base: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photographs"
    shutil.copytree(photographs, copy)
    broken, *others = read_split(copy / "split.json").names["train"]
    (copy / broken).write_bytes((copy / broken).read_bytes()[:300])
    said: list[str] = []
    found = preparation.prepare_run(
        copy, tmp_path / "work", brief(base), reporter=Reporter(said.append)
    )
    assert [r.file_name for r in found.records] == others
    assert any(line.startswith(f"Left out {broken}") for line in said)
    fit(found)
    assert found.trainer.loop.step == 6


def test_latents_can_be_kept_for_other_runs(
    photographs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = brief(base)
    preparation.prepare_run(photographs, tmp_path / "a", settings, cache=tmp_path / "cache")
    monkeypatch.setattr(AutoencoderKL, "encode", None)
    monkeypatch.setattr(StableDiffusionPipeline, "encode_prompt", None)
    other = settings.model_copy(update={"rank": 2, "seed": 7})
    preparation.prepare_run(photographs, tmp_path / "b", other, cache=tmp_path / "cache")
    larger = settings.model_copy(update={"size": 128})
    with pytest.raises(TypeError):
        preparation.prepare_run(photographs, tmp_path / "c", larger, cache=tmp_path / "cache")


def test_long_prompts_are_named(photographs: Path, base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    template = "a very long description " * 20 + "[{type}]"
    settings = brief(base).model_copy(update={"template": template})
    preparation.prepare_run(
        photographs, tmp_path / "work", settings, reporter=Reporter(said.append)
    )
    assert any("lose their end" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "no-such-base"}, "no base model"),
        ({"size": 68}, "multiple of 8"),
        ({"template": "[{glaze}"}, "template"),
        ({"mixed_precision": "fp16"}, "CUDA"),
    ],
)
def test_what_cannot_work_is_refused(
    photographs: Path, base: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    if "mixed_precision" in changes and torch.cuda.is_available():
        pytest.skip("a GPU does that")
    settings = brief(base).model_copy(update=changes)
    with pytest.raises(UserError, match=message):
        train_generator(photographs, tmp_path / "bundle", settings)


def test_a_name_that_a_bundle_cannot_have_is_refused_at_once(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--name"):
        train_generator(tmp_path, tmp_path / "bundle", brief(base), name="My LoRA")


def test_a_saved_file_that_does_nothing_is_found_out(
    photographs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a key that loaders do not know would."""
    save = pipeline.save_adapters

    def forget(pipeline: StableDiffusionPipeline, folder: Path) -> None:
        kept = [(p, p.detach().clone()) for n, p in pipeline.unet.named_parameters() if "_B." in n]
        for parameter, value in kept:
            parameter.data = torch.zeros_like(value)
        save(pipeline, folder)
        for parameter, value in kept:
            parameter.data = value

    monkeypatch.setattr(pipeline, "save_adapters", forget)
    with pytest.raises(PorcelainError, match="nothing was learned"):
        train_generator(photographs, tmp_path / "bundle", brief(base))
    assert not (tmp_path / "bundle").exists()


def test_a_fresh_picture_is_held_against_the_trained_models() -> None:
    random = np.random.default_rng(0)
    base, trained = random.random((2, 8, 8, 3)).astype(np.float32)
    assert compare(trained, trained, base).difference == 0
    for loaded, fault in [
        (np.full_like(base, np.nan), "not finite"),
        (np.full_like(base, 0.5), "blank"),
        (base, "nothing was learned"),
        (trained * 0.9 + base * 0.1, "does not make the trained model's picture"),
    ]:
        with pytest.raises(PorcelainError, match=fault):
            compare(loaded, trained, base)
    with pytest.raises(PorcelainError, match="nothing was learned"):
        compare(base, base, base)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(
    trained: Bundle, photographs: Path, base: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    command += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "-m", "porcelain", "generator", "train"]
    command += ["--data", str(photographs), "--out", str(tmp_path / "bundle"), "--base", str(base)]
    command += ["--steps", "6", "--rank", "4", "--alpha", "8", "--batch-size", "4"]
    command += ["--learning-rate", "0.01", "--sampling-steps", "2", "--previews", "0"]
    command += ["--mixed-precision", "no"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    bundle = load_bundle(tmp_path / "bundle", "generator")
    one, two = (
        json.loads((b.path / "training.json").read_text())["losses"] for b in (trained, bundle)
    )
    assert two == pytest.approx(one, rel=1e-3)
    assert bundle.generator == trained.generator
