import pytest
import torch
import torch.nn.functional as F

from training.classifier.losses import MultiTaskLoss

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
