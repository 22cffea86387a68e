import pytest
import torch
import torch.nn.functional as F

from training.classifier.augmentation import _colours, _grid, augment, to_unit_range
from training.classifier.settings import AugmentationSettings

STILL = AugmentationSettings(zoom=(1.0, 1.0), rotation=0, stretch=0, colour=0, hue=0, flip=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradient(count: int = 4, size: int = 64) -> torch.Tensor:
    """Pictures that grow brighter from top to bottom and redder from left to right."""
    ramp = torch.linspace(20, 230, size)
    picture = torch.stack(
        [
            ramp.expand(size, size),
            ramp.view(-1, 1).expand(size, size),
            torch.full((size, size), 90),
        ],
        dim=2,
    )
    return picture.to(torch.uint8).expand(count, size, size, 3)


def test_without_change_the_picture_comes_back() -> None:
    views = augment(gradient(), 64, STILL, generator())
    # The view may still shift by up to 4 %.
    assert torch.allclose(views.mean((2, 3)), to_unit_range(gradient()).mean((2, 3)), atol=0.03)
    assert views.shape == (4, 3, 64, 64)


def test_same_seed_same_view_and_other_seed_another() -> None:
    settings = AugmentationSettings()
    first = augment(gradient(), 48, settings, generator(1))
    assert torch.equal(first, augment(gradient(), 48, settings, generator(1)))
    assert not torch.equal(first, augment(gradient(), 48, settings, generator(2)))


def test_pots_stay_upright() -> None:
    views = augment(gradient(64), 64, AugmentationSettings(colour=0, hue=0), generator())
    below_above = views[:, 1, 40:].mean((1, 2)) - views[:, 1, :24].mean((1, 2))
    assert (below_above > 0).all()


def test_mirroring_happens_for_the_stated_share() -> None:
    settings = STILL.model_copy(update={"flip": 0.5})
    views = augment(gradient(400), 32, settings, generator())
    mirrored = (views[:, 0, :, 20:].mean((1, 2)) < views[:, 0, :, :12].mean((1, 2))).float().mean()
    assert mirrored.item() == pytest.approx(0.5, abs=0.08)


def test_colour_changes_stay_within_bounds() -> None:
    settings = STILL.model_copy(update={"colour": 0.1, "hue": 0.02})
    views = augment(gradient(64), 32, settings, generator())
    ratio = views.mean((2, 3)) / to_unit_range(gradient(64)).mean((2, 3))
    assert ratio.min() > 0.8
    assert ratio.max() < 1.2
    assert ratio.std() > 0.01
    assert views.min() >= 0
    assert views.max() <= 1


def test_the_grid_is_that_of_torch() -> None:
    transforms = torch.randn(3, 2, 3, generator=generator())
    expected = F.affine_grid(transforms, [3, 3, 32, 32], align_corners=False)
    assert torch.allclose(_grid(transforms, 32), expected, atol=1e-5)


def test_the_colour_matrix_is_contrast_saturation_and_gain_in_turn() -> None:
    images = 0.4 + 0.2 * torch.rand((5, 3, 8, 8), generator=generator(3))
    draws = generator(7)
    settings = AugmentationSettings(colour=0.1, hue=0.05)

    def factor(extent: float, channels: int = 1) -> torch.Tensor:
        draw = torch.rand(5 * channels, generator=draws) * 2 - 1
        return 1 + extent * draw.view(5, channels, 1, 1)

    mean = images.mean((1, 2, 3), keepdim=True)
    expected = (images - mean) * factor(0.1) + mean
    grey = expected.mean(1, keepdim=True)
    expected = (expected - grey) * factor(0.1) + grey
    expected = expected * (factor(0.1) * factor(0.05, 3))
    assert torch.allclose(_colours(images, settings, generator(7)), expected, atol=1e-6)
