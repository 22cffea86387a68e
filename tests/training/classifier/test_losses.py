import pytest
import torch
import torch.nn.functional as F

from porcelain.cli.options import build_settings
from porcelain.errors import UserError
from training.classifier.losses import MultiTaskLoss, log_priors
from training.classifier.settings import TrainSettings

COUNTS = {"glaze": torch.tensor([90, 9, 1]), "type": torch.tensor([50, 50])}


def logits() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "glaze": torch.randn(4, 3, generator=rng, requires_grad=True),
        "type": torch.randn(4, 2, generator=rng, requires_grad=True),
    }


def test_plain_loss_is_the_sum_of_cross_entropies() -> None:
    given, labels = logits(), torch.tensor([[0, 1], [1, 0], [2, 1], [0, 0]])
    loss = MultiTaskLoss(COUNTS, "cross-entropy", 0.0)(given, labels)
    expected = F.cross_entropy(given["glaze"], labels[:, 0]) + F.cross_entropy(
        given["type"], labels[:, 1]
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_unknown_labels_have_no_say() -> None:
    given = logits()
    labels = torch.tensor([[0, -1], [-1, 0], [-1, -1], [1, -1]])
    MultiTaskLoss(COUNTS, "cross-entropy", 0.1)(given, labels).backward()
    assert given["glaze"].grad is not None
    assert given["type"].grad is not None
    assert given["glaze"].grad[[1, 2]].abs().sum() == 0
    assert given["glaze"].grad[[0, 3]].abs().sum() > 0
    assert given["type"].grad[[0, 2, 3]].abs().sum() == 0


def test_a_batch_without_labels_is_zero_and_not_nan() -> None:
    loss = MultiTaskLoss(COUNTS, "logit-adjusted", 0.1)(logits(), torch.full((4, 2), -1))
    assert loss.item() == 0.0


@pytest.mark.parametrize("rule", ["logit-adjusted", "class-balanced"])
def test_rare_classes_cost_more(rule: str) -> None:
    loss = MultiTaskLoss(COUNTS, rule, 0.0)  # type: ignore[arg-type]
    even = {"glaze": torch.zeros(1, 3), "type": torch.zeros(1, 2)}
    common = loss(even, torch.tensor([[0, -1]]))
    rare = loss(even, torch.tensor([[2, -1]]))
    assert rare > common


def test_a_class_without_pictures_keeps_the_loss_finite() -> None:
    counts = {"glaze": torch.tensor([10, 0, 1])}
    for rule in ("logit-adjusted", "class-balanced", "cross-entropy"):
        loss = MultiTaskLoss(counts, rule, 0.1)  # type: ignore[arg-type]
        assert torch.isfinite(loss({"glaze": torch.zeros(2, 3)}, torch.tensor([[0], [2]])))


def test_imbalance_is_corrected_once() -> None:
    assert TrainSettings().prior_correction > 0
    for loss in ("logit-adjusted", "class-balanced"):
        assert TrainSettings(loss=loss).prior_correction == 0  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"--prior-correction: .*{loss} does it already"):
            build_settings(TrainSettings, loss=loss, prior_correction=0.5)
        assert build_settings(TrainSettings, loss=loss, prior_correction=0.0).loss == loss


def test_a_class_that_was_never_taught_is_not_raised_as_a_rare_one() -> None:
    shares = log_priors(torch.tensor([90, 9, 0, 1]))
    assert shares[2] == 0
    assert shares[3] < shares[1] < shares[0] < 0
    # Corrected, equal logits favour the rarest class that was taught, and least the absent one.
    assert (-0.5 * shares).argsort(descending=True).tolist() == [3, 1, 0, 2]
