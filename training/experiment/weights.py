"""The backbone's weights that every unit starts from: found once, kept with the experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save
from torch import nn

from porcelain.files import sha256_bytes, write_bytes
from training.classifier.model import create_backbone, load_hub_weights, load_weights_file
from training.classifier.settings import TrainSettings
from training.experiment.material import MATERIAL_FOLDER, WEIGHTS_FILE
from training.experiment.records import Experiment

DIGEST = "weights"


def resolve_weights(
    training: TrainSettings,
    root: Path,
    earlier: Experiment | None,
    message: Callable[[str], None],
) -> tuple[TrainSettings, dict[str, str]]:
    """Find pretrained weights and keep them beside the decoded pictures.

    Args:
        training: As given.
        root: The experiment's folder.
        earlier: What is there already: its weights stay, whatever the hub has now.
        message: Hears why there are none.

    Returns:
        The settings, for scratch where there are no weights, and the weights' digest by name.

    Raises:
        UserError: No such backbone, or the file does not fit it.
    """
    file = training.pretrained_file()
    backbone = create_backbone(training.backbone)
    if file is not None:
        load_weights_file(backbone, file)
        return training, _keep(backbone, root, earlier)
    if training.pretrained == "none":
        return training.for_scratch(), {}
    if earlier is not None and earlier.training["pretrained"] == training.pretrained:
        found = DIGEST in earlier.digests
        kept = {DIGEST: earlier.digests[DIGEST]} if found else {}
        return training if found else training.for_scratch(), kept
    reason = load_hub_weights(backbone, training.backbone)
    if reason is not None:
        message(reason)
        return training.for_scratch(), {}
    return training, _keep(backbone, root, earlier)


def _keep(backbone: nn.Module, root: Path, earlier: Experiment | None) -> dict[str, str]:
    content = save({name: value.contiguous() for name, value in backbone.state_dict().items()})
    path = root / MATERIAL_FOLDER / WEIGHTS_FILE
    # What finished units began with is never replaced.
    if earlier is None or not path.is_file():
        write_bytes(path, content)
    return {DIGEST: sha256_bytes(content)}
