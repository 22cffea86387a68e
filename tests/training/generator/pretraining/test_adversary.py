"""The decoder's opponent: that it learns, and asks for what absolute error would not."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.generator.pretraining.losses import Adversary
from training.generator.pretraining.settings import DecoderSettings

SETTINGS = DecoderSettings(discriminator_width=8, discriminator_rate=2e-3)


def striped(count: int, seed: int) -> Tensor:
    """Fine stripes at a random place; blurred, nothing of them is left."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randint(0, 4, (count, 1), generator=generator)
    columns = ((torch.arange(32) + place) % 4 < 2).float() * 2 - 1
    return columns.view(count, 1, 1, 32).expand(count, 3, 32, 32).contiguous()


def blurred(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), "reflect"), 4, 1)[..., :32, :32]


def maps(pictures: Tensor) -> list[Tensor]:
    """Stands for a backbone."""
    return [F.avg_pool2d(pictures.diff(dim=3).abs(), (4, 4))]


@pytest.fixture(scope="module", params=["pixels", "maps"])
def taught(request: pytest.FixtureRequest) -> tuple[Adversary, bool]:
    """An opponent that has seen a hundred batches, with and without a backbone's maps."""
    torch.manual_seed(0)
    mapped = request.param == "maps"
    adversary = Adversary(SETTINGS, [3] if mapped else [], torch.device("cpu"))
    for step in range(100):
        real = striped(8, step)
        made = blurred(real)
        loss = adversary.learn(
            (real, maps(real) if mapped else []), (made, maps(made) if mapped else [])
        )
        if step == 0:
            assert loss == pytest.approx(1.0, abs=0.2)
    assert loss < 0.3
    return adversary, mapped


def test_what_looks_real_is_objected_to_less(taught: tuple[Adversary, bool]) -> None:
    adversary, mapped = taught
    real = striped(8, 1000)
    made = blurred(real)
    for_real = adversary.generator_loss(real, maps(real) if mapped else [])
    for_made = adversary.generator_loss(made, maps(made) if mapped else [])
    assert for_real < 0 < for_made


def test_a_blur_is_asked_to_become_sharper(taught: tuple[Adversary, bool]) -> None:
    adversary, mapped = taught
    real = striped(1, 1000)
    picture = (0.2 * real).requires_grad_(True)  # what is left of the stripes
    adversary.generator_loss(picture, maps(picture) if mapped else []).backward()
    assert picture.grad is not None
    assert (picture.grad * real).sum() < 0  # down the slope lies more of them


def test_a_copy_from_a_checkpoint_goes_on_alike() -> None:
    torch.manual_seed(0)
    one = Adversary(SETTINGS, [], torch.device("cpu"))
    real = striped(4, 0)
    one.learn((real, []), (blurred(real), []))
    other = Adversary(SETTINGS, [], torch.device("cpu"))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for adversary in (one, other):
        adversary.learn((real, []), (blurred(real), []))
    assert one.generator_loss(real, []) == other.generator_loss(real, [])
