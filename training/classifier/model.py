"""Hard parameter sharing: one timm backbone, shared features, one linear head per task.

Source: Caruana, Multitask Learning (1997); the heads follow Ling et al., arXiv 2503.14231.
"""

from __future__ import annotations

import difflib
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
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
        self,
        backbone_name: str,
        classes: dict[str, int],
        *,
        dropout: float = 0.0,
        members: int = 1,
    ) -> None:
        """Build with random weights.

        Args:
            backbone_name: A timm model name.
            classes: Number of classes per task.
            dropout: On the shared features while training.
            members: Backbones side by side; see `side_by_side`.

        Raises:
            UserError: timm has no such model, with the nearest names it has.
        """
        super().__init__()
        self.backbone_name = backbone_name
        self.tasks: tuple[str, ...] = tuple(classes)
        backbones = [create_backbone(backbone_name) for _ in range(members)]
        self.backbone = backbones[0] if members == 1 else SideBySide(backbones)
        width = sum(int(getattr(b, "head_hidden_size", None) or b.num_features) for b in backbones)
        self.dropout = nn.Dropout(dropout)
        # A list, because the task `type` would hide nn.Module.type in a ModuleDict.
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in classes.values())

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
        return {task: head(features) for task, head in zip(self.tasks, self.heads, strict=True)}

    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of RGB in [0, 1] that the backbone's weights expect."""
        config = self.backbone.pretrained_cfg
        return torch.tensor(config["mean"]), torch.tensor(config["std"])


class SideBySide(nn.Module):
    """Backbones of one architecture that look at the same picture; their features in a row.

    Attributes:
        members: The backbones.
        pretrained_cfg: As timm's models have it.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.pretrained_cfg = members[0].pretrained_cfg

    def forward_features(self, images: Tensor) -> Tensor:
        """The last maps of all of them [members, B, ...]."""
        return torch.stack([member.forward_features(images) for member in self.members])

    def forward_head(self, maps: Tensor, *, pre_logits: bool) -> Tensor:
        """Their pooled features [B, members x F]."""
        pooled = [
            member.forward_head(own, pre_logits=pre_logits)
            for member, own in zip(self.members, maps.unbind(), strict=True)
        ]
        return torch.cat(pooled, dim=1)


def side_by_side(models: Sequence[MultiTaskClassifier]) -> MultiTaskClassifier:
    """One model whose logits are the mean of those of `models`.

    That is an ensemble (Hansen and Salamon, 1990; of networks that differ in their seeds alone:
    Lakshminarayanan et al., arXiv 1612.01474). As the heads are linear, it is also one model with
    all features in a row and one head per task, which everything else can treat as any other.

    Args:
        models: Of one backbone and equal classes; they stay as they are. One alone is itself.
    """
    first = models[0]
    if len(models) == 1:
        return first
    classes = {t: head.out_features for t, head in zip(first.tasks, first.heads, strict=True)}
    whole = MultiTaskClassifier(first.backbone_name, classes, members=len(models))
    for own, model in zip(whole.backbone.members, models, strict=True):
        own.load_state_dict(model.backbone.state_dict())
    with torch.no_grad():
        for head, *parts in zip(whole.heads, *(model.heads for model in models), strict=True):
            head.weight.copy_(torch.cat([part.weight for part in parts], dim=1) / len(models))
            head.bias.copy_(torch.stack([part.bias for part in parts]).mean(dim=0))
    return whole


def backbones_of(state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The weights of every backbone in a classifier's state dict."""
    numbers = {name.split(".")[2] for name in state if name.startswith("backbone.members.")}
    prefixes = [f"backbone.members.{number}." for number in sorted(numbers, key=int)]
    return [
        {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
        for prefix in prefixes or ["backbone."]
    ]


def create_backbone(name: str) -> nn.Module:
    """A timm model without its classifier.

    Raises:
        UserError: timm has no such model.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else "."
        raise UserError(f"timm has no model {name!r}{hint}")
    return timm.create_model(name, num_classes=0)


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
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"--pretrained {path} is not a readable safetensors file: {error}"
        ) from error
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
    """Load timm's own weights from the hub or its local cache.

    Returns:
        None, or one line that says why there are none and what to do.
    """
    repository = backbone.pretrained_cfg.get("hf_hub_id")
    if not repository:
        return f"timm has no weights for {name}; training from scratch."
    cached = try_to_load_from_cache(repository, "model.safetensors")
    overlay = {"file": cached} if isinstance(cached, str) else None
    # Asked first, because the downloader retries for most of a minute before it gives up.
    reason = None if overlay or hub_is_reachable() else "the Hugging Face hub is out of reach"
    if reason is None:
        try:
            source = timm.create_model(
                name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
            )
        # timm raises whatever its downloader raises: OSError, RuntimeError, hub errors.
        except Exception as error:  # noqa: BLE001
            reason = (str(error).strip().splitlines() or [repr(error)])[0][:160]
        else:
            backbone.load_state_dict(source.state_dict())
            return None
    return (
        f"No pretrained weights for {name}: {reason}. Training from scratch; with a safetensors "
        "file at hand, give --pretrained FILE."
    )


def hub_is_reachable(timeout: float = 5.0) -> bool:
    """Whether the hub (or the mirror that HF_ENDPOINT names) answers at all."""
    if constants.HF_HUB_OFFLINE:
        return False
    url = urlsplit(constants.ENDPOINT)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        with socket.create_connection((url.hostname or "", port), timeout=timeout):
            return True
    except OSError:
        # A proxy may reach what we cannot resolve.
        return bool(getproxies().get(url.scheme))


def _classifier_prefixes(backbone: nn.Module) -> tuple[str, ...]:
    names = backbone.pretrained_cfg.get("classifier") or "classifier"
    return tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))
