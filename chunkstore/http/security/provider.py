"""The OpenID provider: what this server asks it by itself, and how much of it it waits for.

It is asked only while somebody signs in with it, so that it stops nobody else when it is away.
Answers are bounded in size and time, and no redirect is followed: where it is was found out over
TLS, and the client's secret goes nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web

from chunkstore.core.errors import ProviderUnavailable, SignOnFailed
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.oidc import (
    Attempt,
    Claims,
    Metadata,
    Registration,
    claims_of,
    discovery_url,
    parse_metadata,
    token_request,
)

_ANSWER_SECONDS: Final = 10.0
_MAX_SIZE: Final = 128 * 1024
_MOST_CONNECTIONS: Final = 16
# For how long what the provider says of itself is believed, and that it says nothing.
_KNOWN_SECONDS: Final = 3600.0
_AWAY_SECONDS: Final = 5.0
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}

_logger = logging.getLogger(__name__)


class Provider:
    """The provider of a registration, within `running`."""

    def __init__(self, registration: Registration, clock: Clock) -> None:
        self.registration = registration
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._metadata: Metadata | None = None
        self._asked_again_at = 0.0
        self._asking: asyncio.Task[Metadata] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be able to ask the provider, for the time of the context."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            headers=_HEADERS,
            auto_decompress=False,
        ) as self._session:
            yield
            if self._asking is not None:
                self._asking.cancel()

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself, at most an hour old.

        Raises:
            ProviderUnavailable: it does not answer, or has just not.
        """
        if self._clock.monotonic() < self._asked_again_at:
            if self._metadata is None:
                raise ProviderUnavailable
            return self._metadata
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        # One who is cancelled leaves it to the others.
        return await asyncio.shield(self._asking)

    async def redeem(self, code: str, attempt: Attempt, redirect_uri: str) -> Claims:
        """Return whom the provider has signed in, of whom a code was sent here.

        Raises:
            ProviderUnavailable: it does not answer.
            SignOnFailed: the code is not right, was used before, or stands for another sign-in.
        """
        metadata = await self.metadata()
        form, fields = token_request(self.registration, metadata, attempt, code, redirect_uri)
        status, document = await self._fetch("POST", metadata.token_endpoint, form, fields)
        if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED):
            # RFC 6749 §5.2. What it says may be of the client's secret, so it is for the log.
            _logger.warning("%s does not redeem a code: %r", self.registration.name, document[:200])
            raise SignOnFailed(f"{self.registration.name} has not signed you in; begin again.")
        if status != HTTPStatus.OK:
            raise ProviderUnavailable
        return claims_of(document, self.registration, attempt, self._clock.now())

    async def _ask(self) -> Metadata:
        issuer = self.registration.issuer
        # Until it has answered well.
        self._metadata = None
        status, document = await self._fetch("GET", discovery_url(issuer))
        if status != HTTPStatus.OK:
            raise ProviderUnavailable
        self._metadata = parse_metadata(document, issuer)
        return self._metadata

    def _asked(self, task: asyncio.Task[Metadata]) -> None:
        self._asking = None
        error = retrieve_exception(task)
        known = _KNOWN_SECONDS if error is None else _AWAY_SECONDS
        self._asked_again_at = self._clock.monotonic() + known
        if error is not None:
            _logger.warning(
                "%s does not say what it is, at %s: %s",
                self.registration.name,
                discovery_url(self.registration.issuer),
                error.__cause__ or error,
            )

    async def _fetch(
        self,
        method: str,
        url: str,
        form: dict[str, str] | None = None,
        fields: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body of an answer.

        Raises:
            ProviderUnavailable: there is none, or too much of it.
        """
        assert self._session is not None
        try:
            async with self._session.request(
                method, url, data=form, headers=fields, allow_redirects=False
            ) as response:
                body = bytearray()
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > _MAX_SIZE:
                        raise ProviderUnavailable
                return response.status, bytes(body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProviderUnavailable from error


PROVIDER: Final = web.AppKey("provider", Provider)
