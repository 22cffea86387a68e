"""From pixels to an answer: JSON, a dataset folder in a ZIP, or the picture itself."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import mimeparse
from starlette.responses import Response

from porcelain.content_credentials import Signing
from porcelain.dataset import METADATA_FILE, Record, metadata_text
from porcelain.synthetic_picture import (
    MEDIA_TYPES,
    SUFFIXES,
    PictureFormat,
    Provenance,
    encode_synthetic,
)
from services.generator.engine import Pixels
from services.generator.planning import Order
from services.generator.schemas import GenerateAnswer, Picture
from services.problems import Problem, unusable
from services.schemas import Model

JSON: Final = "application/json"
ZIP: Final = "application/zip"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # equal requests give equal archives


def choose_answer(accept: str, order: Order) -> tuple[str, PictureFormat]:
    """The media type of the answer, and the format of the pictures in it.

    Raises:
        Problem: 406, the caller accepts none that we have; 422, a picture itself, of several.
    """
    formats = [order.format] if order.format else list(MEDIA_TYPES)
    pictures = {MEDIA_TYPES[name]: name for name in formats}
    single = list(pictures) if len(order.seeds) == 1 else []
    chosen = _best(accept, [JSON, *single, ZIP])
    if chosen:
        return chosen, pictures.get(chosen, order.format or "png")
    if _best(accept, list(pictures)):
        raise unusable(
            f"{len(order.seeds)} pictures do not fit into one; set 'count' to 1, or accept "
            f"{JSON} or {ZIP}."
        )
    raise Problem(
        HTTPStatus.NOT_ACCEPTABLE,
        "not_acceptable",
        f"Accept {JSON}, {ZIP} or, for one picture, {' or '.join(pictures)}.",
    )


def _best(accept: str, offers: Sequence[str]) -> str:
    """The offer that an Accept header prefers, of equally good ones the first; or nothing."""
    try:
        # Of equally good ones it takes the last.
        return str(mimeparse.best_match([*reversed(offers)], accept or "*/*"))
    except mimeparse.MimeTypeParseException:
        return ""


class Composer:
    """Encodes pictures, each marked as synthetic, and puts them into answers."""

    def __init__(self, model: Model, signing: Signing | None = None) -> None:
        """Answer in the name of `model`, signed if asked."""
        self._model = model
        self._signing = signing

    def compose(
        self, order: Order, pixels: Sequence[Pixels], media_type: str, kind: PictureFormat
    ) -> Response:
        """The answer; takes a while, so call it off the event loop.

        Args:
            order: What was asked.
            pixels: One picture per seed, in order.
            media_type: JSON, ZIP or that of `kind`.
            kind: The pictures' format.
        """
        made = [self._provenance(order, seed) for seed in order.seeds]
        files = [
            encode_synthetic(one, kind, how, self._signing)
            for one, how in zip(pixels, made, strict=True)
        ]
        if media_type == ZIP:
            return self._archive(order, made, files, SUFFIXES[kind])
        if media_type != JSON:
            return Response(
                files[0], media_type=media_type, headers={"X-Seed": str(order.seeds[0])}
            )
        images = [
            Picture(
                seed=how.seed,
                prompt=how.prompt,
                labels=order.labels,
                steps=how.steps,
                guidance_scale=how.guidance_scale,
                width=one.shape[1],
                height=one.shape[0],
                media_type=MEDIA_TYPES[kind],
                data=base64.b64encode(file).decode(),
            )
            for how, one, file in zip(made, pixels, files, strict=True)
        ]
        answer = GenerateAnswer(model=self._model, images=images)
        return Response(answer.model_dump_json(), media_type=JSON)

    def _provenance(self, order: Order, seed: int) -> Provenance:
        return Provenance(
            generator=self._model.digest,
            prompt=order.prompt,
            seed=seed,
            steps=order.steps,
            guidance_scale=order.guidance_scale,
        )

    def _archive(
        self, order: Order, made: Sequence[Provenance], files: Sequence[bytes], suffix: str
    ) -> Response:
        """A dataset folder (`porcelain.dataset`)."""
        names = [f"{how.seed:010d}{suffix}" for how in made]
        records = [
            Record(
                name,
                order.labels,
                synthetic=True,
                extra={
                    "prompt": how.prompt,
                    "seed": str(how.seed),
                    "steps": str(how.steps),
                    "guidance_scale": str(how.guidance_scale),
                    "generator": how.generator,
                },
            )
            for name, how in zip(names, made, strict=True)
        ]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            content = [metadata_text(records).encode(), *files]
            for name, data in zip([METADATA_FILE, *names], content, strict=True):
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
        disposition = 'attachment; filename="porcelain.zip"'
        return Response(
            buffer.getvalue(), media_type=ZIP, headers={"Content-Disposition": disposition}
        )
