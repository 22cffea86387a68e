"""Polite downloads: slowly, again after a fault, on from where they broke off, and only once."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from porcelain.errors import UserError
from training.data.museums.cache import Cache, Stored
from training.data.museums.manners import Counts, Manners, retry_after

LONGEST_WAIT: Final = 600.0  # seconds; who asks for more is asked again another day
SILENT: Final = 8  # addresses of a host in a row that fail: it is down, or does not want us
_REFUSED: Final = frozenset({401, 403, 451})
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_BLOCK: Final = 1 << 16


class MissingError(Exception):
    """The museum answers, and has nothing to give: not found, gone, not allowed, too large."""


class RefusedError(MissingError):
    """The museum does not want to give this now: another time it may."""


class _AgainError(Exception):
    """Worth another attempt, perhaps not before `wait` seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Fetcher:
    """Fetches addresses of one museum into a cache; one request at a time.

    Args:
        manners: How to ask.
        cache: Where answers are kept.
        sleep: Waits so many seconds; tests give their own.
    """

    def __init__(
        self, manners: Manners, cache: Cache, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.counts = Counts()
        self._manners = manners
        self._cache = cache
        self._sleep = sleep
        self._next = 0.0
        self._failed: dict[str, dict[str, str]] = defaultdict(dict)  # in a row, by host: why
        self._client = httpx.Client(
            headers={
                "User-Agent": manners.agent,
                # Bytes as they are: a broken download goes on at a byte's number.
                "Accept-Encoding": "identity",
                **manners.headers,
            },
            timeout=httpx.Timeout(manners.timeout),
            follow_redirects=True,
        )

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def json(
        self,
        url: str,
        *,
        max_age: timedelta | None = None,
        secret: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON at an address, from the cache where it is there and young enough.

        Raises:
            MissingError: There is nothing at the address, or what is there is no JSON.
            UserError: The museum does not answer.
        """
        stored = self.get(url, max_age=max_age, secret=secret)
        try:
            return json.loads(stored.body.read_bytes().decode("utf-8-sig"))
        except (ValueError, UnicodeDecodeError) as error:
            self._cache.forget(url)
            raise MissingError(f"no JSON but {stored.content_type or 'something else'}") from error

    def get(
        self,
        url: str,
        *,
        max_age: timedelta | None = None,
        secret: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> Stored:
        """What is at an address, in the cache afterwards.

        Args:
            url: Without keys; it names the answer in the cache.
            max_age: Ask anew (conditionally) where the cached answer is older; None never asks.
            secret: Query parameters that are sent and never stored.
            max_bytes: Most bytes; the manners' where None.

        Raises:
            MissingError: There is nothing at the address.
            UserError: The museum does not answer, or asks for a long pause.
        """
        stored = self._cache.read(url)
        if stored is not None and (max_age is None or stored.age() <= max_age):
            self.counts.from_cache += 1
            return stored
        host = _host(url)
        failed = self._failed[host]
        if len(failed) >= SILENT:
            raise UserError(
                f"{host} failed {SILENT} times in a row (last: {list(failed.values())[-1]}), and "
                "may be down or refuse programs; run the same command again later, what was "
                "fetched is kept."
            )
        attempt = Retrying(
            stop=stop_after_attempt(self._manners.attempts),
            wait=self._pause,
            retry=retry_if_exception_type((_AgainError, httpx.TransportError)),
            sleep=self._sleep,
            reraise=True,
            before_sleep=self._count_retry,
        )
        try:
            stored = attempt(self._transfer, url, stored, secret or {}, max_bytes)
        except (_AgainError, httpx.TransportError) as error:
            failed[url] = str(error) or type(error).__name__
            raise MissingError(failed[url]) from error
        except (httpx.TooManyRedirects, httpx.DecodingError, httpx.InvalidURL) as error:
            raise MissingError(str(error) or type(error).__name__) from error
        except RefusedError as error:
            failed[url] = str(error)
            raise
        except MissingError:
            failed.clear()
            raise
        if _is_page(stored):
            # Nothing that we ask for is a web page: it tests whether a person asks, or says no.
            failed[url] = f"a web page, status 200 ({stored.content_type})"
        else:
            failed.clear()
        return stored

    def again(self, url: str, *, max_bytes: int | None = None) -> Stored:
        """What is at an address now, whatever the cache has.

        Raises:
            MissingError: There is nothing at the address.
            UserError: The museum does not answer.
        """
        self._cache.forget(url)
        return self.get(url, max_bytes=max_bytes)

    def _transfer(
        self,
        url: str,
        known: Stored | None,
        secret: Mapping[str, str],
        max_bytes: int | None,
    ) -> Stored:
        part = self._cache.partial(url)
        headers = part.resume_headers() if part.size else {}
        if known is not None and not headers:
            headers = known.validators()
        address = httpx.URL(url)
        if secret:
            address = address.copy_merge_params(dict(secret))
        self._wait_for_turn()
        self.counts.requests += 1
        with self._answer(address, headers) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED and known is not None:
                return self._cache.touch(known)
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.discard()
                raise _AgainError("the part that was there does not fit any more")
            self._check(answer)
            resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
            if resumed and not part.fits(answer.headers.get("Content-Range", "")):
                part.discard()
                raise _AgainError("the museum continued at another place")
            self.counts.resumed += resumed
            limit = max_bytes or self._manners.max_bytes
            # Some compress unasked; their validators are of other bytes, so none is kept.
            packed = "Content-Encoding" in answer.headers
            blocks = answer.iter_bytes(_BLOCK) if packed else answer.iter_raw(_BLOCK)
            with part.open({} if packed else answer.headers, resumed) as file:
                size = part.size if resumed else 0
                for block in blocks:
                    size += len(block)
                    if size > limit:
                        break
                    file.write(block)
                    self.counts.bytes += len(block)
        if size > limit:
            part.discard()
            raise MissingError(f"more than {limit:,} bytes")
        self.counts.downloaded += 1
        return self._cache.keep(url, part, answer.headers.get("Content-Type", ""))

    @contextmanager
    def _answer(self, address: httpx.URL, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        with self._client.stream("GET", address, headers=dict(headers)) as answer:
            yield answer

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in _AGAIN:
            wait = retry_after(answer.headers.get("Retry-After", ""), datetime.now(UTC))
            if wait is not None and wait > LONGEST_WAIT:
                raise UserError(
                    f"{answer.url.host} asks to come back in {wait / 60:.0f} minutes; run the same "
                    "command again then, what was fetched is kept."
                )
            raise _AgainError(f"status {status}", wait)
        if status in _REFUSED:
            raise RefusedError(f"status {status}")
        if not 200 <= status < 300:
            raise MissingError(f"status {status}")

    def _wait_for_turn(self) -> None:
        now = time.monotonic()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self._manners.per_second

    def _pause(self, state: RetryCallState) -> float:
        """As long as the museum asks; else longer each time, with some luck in it."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _AgainError) and error.wait is not None:
            return error.wait
        return wait_exponential_jitter(initial=1, max=60)(state)

    def _count_retry(self, state: RetryCallState) -> None:
        self.counts.retries += 1


def _is_page(stored: Stored) -> bool:
    """Whether an answer is a web page."""
    if not stored.content_type.lower().startswith(("text/html", "application/xhtml")):
        return False
    with stored.body.open("rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _host(url: str) -> str:
    """The host of an address.

    Raises:
        MissingError: It is no address.
    """
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise MissingError(f"no address: {error}") from error
