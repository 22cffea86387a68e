"""The studio as a web server.

A plain ASGI application under uvicorn, no BentoML service: an open page is a conversation over a
WebSocket whose state lives in one process, which BentoML's worker processes would tear apart, and
there is no model here to scale. NiceGUI serves its scripts and fonts itself; the Content Security
Policy lets a browser load nothing from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from porcelain.errors import UserError
from services.studio.client import ClassifierClient, GeneratorClient
from services.studio.origin import OwnPagesOnly
from services.studio.settings import StudioSettings
from services.studio.training_pictures import TrainingPictures

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import SecretStr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# NiceGUI compiles its templates in the browser ('unsafe-eval') and writes scripts into the page.
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class SecurityHeaders:
    """Adds to every answer what a browser may do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS.items()]
            await send(message)

        await self._app(scope, receive, add if scope["type"] == "http" else send)


def create_app(settings: StudioSettings) -> FastAPI:
    """The studio's application; nothing is asked of the services before a page is opened."""
    from fastapi import FastAPI
    from nicegui import app as pages
    from nicegui import ui

    from services.studio.page import Studio, build_page

    studio = Studio(
        settings,
        ClassifierClient(
            "classifier",
            settings.classifier_url,
            _key(settings.classifier_key, settings.classifier_key_file),
            seconds=settings.service_seconds,
        ),
        GeneratorClient(
            "generator",
            settings.generator_url,
            _key(settings.generator_key, settings.generator_key_file),
            seconds=settings.service_seconds,
        ),
        TrainingPictures(settings.training_pictures),
    )
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    @app.get("/readyz")
    def alive() -> dict[str, str]:
        return {"status": "ok"}

    pages.on_shutdown(studio.classifier.close)
    pages.on_shutdown(studio.generator.close)
    ui.run_with(
        app,
        root=lambda: build_page(studio),
        title="Porcelain studio",
        favicon="🏺",
        show_welcome_message=False,
        reconnect_timeout=30,
    )
    app.add_middleware(OwnPagesOnly, names=settings.host_names)
    app.add_middleware(SecurityHeaders)
    return app


def run(settings: StudioSettings, host: str, port: int) -> None:
    """Serve until a signal.

    Raises:
        UserError: The address cannot be listened on.
    """
    import uvicorn

    from services.launch import check_address

    check_address(host, port)
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _key(key: SecretStr | None, file: Path | None) -> str | None:
    if file is None:
        return key.get_secret_value() if key is not None else None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The key file {file} cannot be read: {error}.") from error
