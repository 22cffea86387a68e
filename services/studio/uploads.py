"""Taking pictures into a page: by drag and drop, from a folder, or from a phone's camera."""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from nicegui import events, ui

from porcelain.image_formats import BROWSER_ACCEPT, titles
from porcelain.images import DecodeLimits, decode_image
from services.studio.settings import StudioSettings

THUMBNAIL: Final = 640


@dataclass
class Room:
    """What one page has taken, held against its limits."""

    settings: StudioSettings
    pictures: int = 0
    bytes: int = field(default=0)

    def refusal(self, size: int) -> str | None:
        """Why a picture of this size is not taken; None where it is."""
        if size > self.settings.max_upload_bytes:
            most = self.settings.max_upload_bytes // (1024 * 1024)
            return f"The file is larger than {most} MB; send a smaller copy."
        if self.pictures >= self.settings.max_pictures:
            return f"This page holds {self.pictures} pictures, which is the most; clear it first."
        if self.bytes + size > self.settings.max_page_bytes:
            return "This page holds as much as it may; clear it first."
        return None

    def take(self, size: int) -> None:
        """Count a picture."""
        self.pictures += 1
        self.bytes += size

    def clear(self) -> None:
        """Forget what was taken."""
        self.pictures = self.bytes = 0


Taken = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True)
class PictureUpload:
    """The two ways in: files, and a phone's camera."""

    files: ui.upload
    camera: ui.upload

    def reset(self) -> None:
        """Forget what was sent."""
        self.files.reset()
        self.camera.reset()


def picture_upload(room: Room, label: str, taken: Taken) -> PictureUpload:
    """The place where pictures are dropped, chosen or taken; each is handed on as it arrives."""
    upload = _upload(room, taken, multiple=True).classes("porcelain-upload")
    # `accept` alone offers no camera on every phone; `capture` opens it at once.
    camera = _upload(room, taken, multiple=False).props("capture=environment").classes("hidden")
    most = room.settings.max_upload_bytes // (1024 * 1024)
    with upload.add_slot("header"), ui.column().classes("items-center w-full gap-2 p-4 sm:p-6"):
        ui.label(label).classes("text-lg text-center porcelain-mouse")
        with ui.row().classes("gap-2 justify-center"):
            with ui.button("Choose photographs", icon="add_photo_alternate") as choose:
                ui.element("q-uploader-add-trigger")
            take = ui.button("Take a photograph", icon="photo_camera").classes("porcelain-touch")
        # In the browser: it opens a file dialog only in answer to a press there.
        for button, way in ((choose, upload), (take, camera)):
            button.props("no-caps outline")
            pick = f"event => getElement({way.id}).$refs.qRef.pickFiles(event)"
            button.on("click", js_handler=pick)
        ui.label(f"{titles('or')}, up to {most} MB each").classes("porcelain-quiet text-center")
        sending = ui.linear_progress(show_value=False).props("indeterminate").classes("w-full")
        sending.set_visibility(False)
    for way in (upload, camera):
        way.on("uploading", lambda: sending.set_visibility(True), args=[])
        way.on("finish", lambda: sending.set_visibility(False), args=[])
    return PictureUpload(upload, camera)


def _upload(room: Room, taken: Taken, *, multiple: bool) -> ui.upload:
    async def arrived(event: events.UploadEventArguments) -> None:
        size = event.file.size()
        refusal = room.refusal(size)
        if refusal is not None:
            ui.notify(f"{event.file.name}: {refusal}", type="negative")
            return
        room.take(size)
        await taken(event.file.name, await event.file.read())

    def rejected() -> None:
        ui.notify("A file was not taken: it is too large or no picture.", type="negative")

    upload = ui.upload(
        multiple=multiple,
        auto_upload=True,
        max_file_size=room.settings.max_upload_bytes,
        on_upload=arrived,
        on_rejected=rejected,
    )
    return upload.props(f'accept="{BROWSER_ACCEPT}" flat')


def thumbnail(data: bytes, limits: DecodeLimits | None = None, side: int = THUMBNAIL) -> str:
    """A small copy as a data URI, upright, without the file's metadata.

    Args:
        data: The picture's file.
        limits: Of the decoder.
        side: The copy's longest side in pixels.

    Raises:
        ImageError: The picture cannot be read.
    """
    decoded = decode_image(data, longest_side=side, limits=limits or DecodeLimits())
    image = decoded.pixels
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")
