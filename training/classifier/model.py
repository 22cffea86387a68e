"""Hard parameter sharing: one timm backbone, shared features, one linear head per task.

Source: Caruana, Multitask Learning (1997); the heads follow Ling et al., arXiv 2503.14231.
"""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from porcelain.errors import UserError


class MultiTaskClassifier(nn.Module):
    """A shared backbone with one head per task.

    Attributes:
        backbone_name: timm's model name.
        tasks: The tasks answered, in order.
    """

    def __init__(
        self, backbone_name: str, classes: dict[str, int], *, dropout: float = 0.0
    ) -> None:
        """Build with random weights.

        Args:
            backbone_name: A timm model name.
            classes: Number of classes per task.
            dropout: On the shared features while training.

        Raises:
            UserError: timm has no such model, with the nearest names it has.
        """
        super().__init__()
        self.backbone_name = backbone_name
        self.tasks: tuple[str, ...] = tuple(classes)
        self.backbone = create_backbone(backbone_name)
        width = int(getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({task: nn.Linear(width, n) for task, n in classes.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images [B, 3, H, W] to logits per task [B, classes]."""
        return self.classify(self.dropout(self.features(self.feature_map(images))))

    def feature_map(self, images: Tensor) -> Tensor:
        """The backbone's last map: [B, C, h, w], or whatever layout the backbone uses."""
        output: Tensor = self.backbone.forward_features(images)
        return output

    def features(self, feature_map: Tensor) -> Tensor:
        """Pooled shared features [B, F]."""
        output: Tensor = self.backbone.forward_head(feature_map, pre_logits=True)
        return output

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Logits per task [B, classes] from features [B, F]."""
        return {task: self.heads[task](features) for task in self.tasks}

    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of RGB in [0, 1] that the backbone's weights expect."""
        config = self.backbone.pretrained_cfg
        return torch.tensor(config["mean"]), torch.tensor(config["std"])


def create_backbone(name: str, *, pretrained: bool = False) -> nn.Module:
    """A timm model without its classifier.

    Raises:
        UserError: timm has no such model.
    """
    if not timm.is_model(name):
        import difflib

        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else "."
        raise UserError(f"timm has no model {name!r}{hint}")
    return timm.create_model(name, pretrained=pretrained, num_classes=0)


def load_weights_file(backbone: nn.Module, path: Path) -> None:
    """Load a safetensors state dict into a backbone, exactly or not at all.

    A classifier that the file holds in timm's layout (`classifier.*`, `fc.*`, `head.fc.*`) is left
    out; everything else must fit in name and shape.

    Raises:
        UserError: The file is missing, not safetensors, or of another architecture.
    """
    if not path.is_file():
        raise UserError(f"--pretrained {path}: no such file; give a safetensors file.")
    try:
        state = load_file(path)
    except Exception as error:  # safetensors raises its own type, not exported for checking
        raise UserError(f"--pretrained {path} is not a readable safetensors file: {error}") from error
    wanted = backbone.state_dict()
    head = _classifier_prefixes(backbone)
    state = {k: v for k, v in state.items() if k in wanted or not k.startswith(head)}
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in wanted]
    shapes = [k for k in state if k in wanted and state[k].shape != wanted[k].shape]
    if missing or unknown or shapes:
        first = (shapes or missing or unknown)[0]
        raise UserError(
            f"--pretrained {path} does not fit the backbone: {len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(shapes)} of another shape (first: {first}); "
            "name the --backbone that the file was made for."
        )
    backbone.load_state_dict(state, strict=False)


def load_hub_weights(backbone: nn.Module, name: str) -> str | None:
    """Load timm's own weights; returns None, or one line that says why it could not."""
    try:
        source = create_backbone(name, pretrained=True)
    # Offline, timm raises whatever its downloader raises: OSError, RuntimeError, hub errors.
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else repr(error)
        return (
            f"No hub weights for {name} ({reason}); training from scratch. With a safetensors "
            "file at hand: --pretrained FILE."
        )
    backbone.load_state_dict(source.state_dict())
    return None


def _classifier_prefixes(backbone: nn.Module) -> tuple[str, ...]:
    names = backbone.pretrained_cfg.get("classifier") or "classifier"
    return tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))
