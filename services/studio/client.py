"""The studio's side of the two services' REST: what is asked, and errors as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx

from porcelain.errors import PorcelainError

MOST_CANDIDATES: Final = 50
"""Candidates asked for per task: enough to choose a correction from."""


class ServiceError(PorcelainError):
    """A service that did not answer as asked; the message is for the person at the page."""


class RestClient:
    """Asks one service. Its address comes from the settings alone, never from a page."""

    def __init__(
        self,
        name: str,
        url: str,
        key: str | None = None,
        *,
        seconds: float = 300.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            name: What people call the service.
            url: Its address.
            key: Bearer key, where it asks for one.
            seconds: How long an answer may take.
            transport: In place of the network, for tests.
        """
        self.name = name
        self.url = url
        self._description: dict[str, Any] | None = None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=5),
            transport=transport,
            follow_redirects=False,
            trust_env=False,  # a proxy would see the pictures
        )

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        """An answer with status 200.

        Raises:
            ServiceError: No answer, or a refusal; the message is the service's own sentence.
        """
        try:
            response = await self._client.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise ServiceError(f"The {self.name} took too long to answer; try again.") from error
        except httpx.TransportError as error:
            raise ServiceError(
                f"The {self.name} at {self.url} cannot be reached; start it, then try again."
            ) from error
        if response.status_code != HTTPStatus.OK:
            self._description = None  # a refusal may come from a model that has changed
            raise ServiceError(self._refusal(response))
        return response

    async def model(self) -> dict[str, Any]:
        """What the service says of its model."""
        return self.json(await self.ask("GET", "/v1/model"))

    async def described(self) -> dict[str, Any]:
        """As `model`, remembered until an answer of another model, or no answer, comes."""
        if self._description is None:
            self._description = await self.model()
        return self._description

    def _heard(self, digest: str | None) -> None:
        known = self._description
        if known is not None and (known.get("model") or {}).get("digest") != digest:
            self._description = None

    def json(self, response: httpx.Response) -> dict[str, Any]:
        """The object in an answer.

        Raises:
            ServiceError: It holds none.
        """
        try:
            value = response.json()
        except ValueError as error:
            raise ServiceError(f"What answers at {self.url} is no {self.name}.") from error
        if not isinstance(value, dict):
            raise ServiceError(f"What answers at {self.url} is no {self.name}.")
        return value

    def _refusal(self, response: httpx.Response) -> str:
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            return f"The {self.name} asks for a key; whoever runs the studio must set it."
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            return f"The {self.name} answered with status {response.status_code}; try again later."
        return str(detail)


class ClassifierClient(RestClient):
    """Asks the classifier."""

    async def classify(
        self,
        data: bytes,
        *,
        explain: bool = False,
        top_k: int = MOST_CANDIDATES,
        similar: int = 0,
        known: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The answer about one picture.

        Args:
            data: The picture's file.
            explain: Also ask for heat maps.
            top_k: Candidates per task; fewer where the service allows fewer.
            similar: Similar training pictures; none where the service's model knows none.
            known: Labels that are known already, by task.

        Raises:
            ServiceError: The picture cannot be used, or the service not asked.
        """
        model = await self.described()
        most = (model.get("limits") or {}).get("max_top_k", top_k)
        fields = {
            "top_k": str(min(top_k, most)),
            "explain": str(explain).lower(),
            "watermark": str(not explain).lower(),  # told with the first answer
        }
        if similar and model.get("similar"):
            fields["similar"] = str(similar)
        if known:
            fields["known"] = ",".join(f"{task}:{label}" for task, label in known.items())
        # The service knows pictures by their content; no name of the user's is passed on.
        files = {"image": ("picture", data, "application/octet-stream")}
        answer = self.json(await self.ask("POST", "/v1/classify", data=fields, files=files))
        self._heard((answer.get("model") or {}).get("digest"))
        return answer


class GeneratorClient(RestClient):
    """Asks the generator."""

    async def generate(self, wish: Mapping[str, object]) -> dict[str, Any]:
        """The answer to a wish: labels, count, seed, `allow_unseen`.

        Raises:
            ServiceError: The service refuses or cannot be asked.
        """
        response = await self.ask("POST", "/v1/generate", json=dict(wish))
        return self.json(response)
