"""Control pictures: the edges or depths of a rendered vessel of each kind that is planned.

The renderer knows forms, the generator knows looks: joined as in 3D-DST (arXiv 2306.08103).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from PIL import Image

from porcelain.errors import UserError
from porcelain.files import sha256_bytes, sha256_file, write_bytes
from porcelain.preparation import Pixels
from sampling.finding import find_controlnet
from training.data.allotment import Kind
from training.data.rendering.history import RENDERED, Labels, has_ware
from training.data.rendering.render import World, render_depth, render_picture
from training.generator.synthesis.plan import FORM, Plan, describe, labels_of

ControlKind = Literal["none", "canny", "depth"]

CANNY_THRESHOLDS: Final = (100, 200)
"""As lllyasviel/sd-controlnet-canny was trained with."""


def canny_edges(pixels: Pixels) -> Pixels:
    """The edges of an RGB picture [height, width, 3], white on black, in the same shape."""
    edges = cv2.Canny(pixels, *CANNY_THRESHOLDS)
    return np.repeat(edges[..., None], 3, axis=2).astype(np.uint8)


@dataclass(frozen=True)
class Controls:
    """What steers the pictures of a synthesis.

    Attributes:
        control: Edges or depth.
        controlnet: Folder of the ControlNet.
        side: Side of the pictures in pixels.
        folder: Where control pictures lie once they are made.
    """

    control: ControlKind
    controlnet: Path
    side: int
    folder: Path

    def path(self, name: str) -> Path:
        """Where the control picture of the candidate with this file name is."""
        return self.folder / f"control.{name}"

    def read(self, name: str, kind: Kind, seed: int) -> Pixels:
        """The control picture of a candidate, RGB [side, side, 3]; rendered once.

        Args:
            name: The candidate's file name.
            kind: What it is to show.
            seed: The candidate's own; the same seed gives the same picture.
        """
        path = self.path(name)
        if not path.is_file():
            buffer = io.BytesIO()
            Image.fromarray(self._render(kind, seed)).save(buffer, "PNG")
            write_bytes(path, buffer.getvalue())
        return np.asarray(Image.open(path).convert("RGB"))

    def _render(self, kind: Kind, seed: int) -> Pixels:
        world = World(seed, self.side, known=rendered_labels(kind))
        if self.control == "depth":
            return np.asarray(render_depth(world, 0).convert("RGB"))
        return canny_edges(np.asarray(render_picture(world, 0)))

    def identity(self) -> dict[str, str]:
        """What pictures sampled earlier must have in common with these."""
        files = sorted(self.controlnet.glob("*.safetensors"))
        digests = "".join(sha256_file(path) for path in files)
        return {"control": self.control, "controlnet": sha256_bytes(digests.encode())}


def open_controls(
    plan: Plan, control: ControlKind, model: str | None, size: tuple[int, int], folder: Path
) -> Controls | None:
    """What steers a plan's pictures; None where nothing does.

    Args:
        plan: What is wanted.
        control: Edges, depth or nothing.
        model: Folder or hub id of the ControlNet.
        size: Width and height of the pictures in pixels.
        folder: Where control pictures are to be kept.

    Raises:
        UserError: A ControlNet without a control or the other way round, pictures that are not
            square, or a kind whose form the renderer does not know.
    """
    if (control == "none") != (model is None):
        raise UserError(
            "--control canny or depth and --control-model, the ControlNet that was trained on it, "
            "need each other; such as lllyasviel/sd-controlnet-canny."
        )
    if model is None:
        return None
    if size[0] != size[1]:
        raise UserError(f"--control makes square pictures, not {size[0]} x {size[1]}.")
    controlnet = find_controlnet(model)
    for planned in plan.kinds:
        rendered_labels(planned.kind)
    return Controls(control, controlnet, size[0], folder)


def rendered_labels(kind: Kind) -> Labels:
    """The labels to render a vessel by: all of a kind's, or its form alone.

    A ware that history does not know together has its form nonetheless, and the edges of that.

    Raises:
        UserError: The renderer does not know the form either.
    """
    known = labels_of(kind)
    for tasks in (tuple(RENDERED), (FORM,)):
        labels = {
            task: frozenset({known[task]} if task in tasks and task in known else ())
            for task in RENDERED
        }
        if has_ware(labels):
            return labels
    raise UserError(
        f"The renderer has no form for {describe(kind)}: nothing to control its picture by. Leave "
        "it out of the plan, or make it with --control none."
    )
