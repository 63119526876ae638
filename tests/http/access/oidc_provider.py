"""A provider of OpenID Connect that takes nothing but what the standards say, and lies when told.

It signs everybody in as `subject` at once. Each code is redeemed once (RFC 6749 §4.1.2), by the
client that it was made for, with the verifier of its challenge (RFC 7636).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from aiohttp import web
from yarl import URL

CLIENT_ID: Final = "files: ä+%"
CLIENT_SECRET: Final = "s%cret: +/ü"

Claims = dict[str, Any]


def _encode(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@dataclass
class Provider:
    """The provider, and what it is told to do otherwise than it should."""

    redirect_uri: str = ""
    issuer: str = ""
    subject: str = "248289761001"
    claims: Claims = field(default_factory=dict)
    in_body: bool = False
    names_itself: bool = False
    # Changes of what it answers: the claims, the query that browsers come back with, metadata.
    change: Callable[[Claims], object] = lambda _: None
    back: Callable[[dict[str, str]], object] = lambda _: None
    told: Callable[[Claims], object] = lambda _: None
    # In the place of all answers to the server.
    instead: Callable[[], web.StreamResponse] | None = None
    hangs: bool = False
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._describe)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        return app

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("metadata")
        if self.hangs:
            await asyncio.sleep(3600)
        if self.instead is not None:
            return self.instead()
        metadata: Claims = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }
        if self.in_body:
            metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        if self.names_itself:
            metadata["authorization_response_iss_parameter_supported"] = True
        self.told(metadata)
        return web.json_response(metadata)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert len(query) == len(request.query)
        assert query.pop("tenant") == "1"
        assert query["response_type"] == "code"
        assert "openid" in query["scope"].split()
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == self.redirect_uri
        assert query["code_challenge_method"] == "S256"
        for name in ("state", "nonce", "code_challenge"):
            assert len(query[name]) == 43
        assert len({query[name] for name in ("state", "nonce", "code_challenge")}) == 3
        code = secrets.token_urlsafe()
        self._codes[code] = query
        answer = {"code": code, "state": query["state"]}
        if self.names_itself:
            answer["iss"] = self.issuer
        self.back(answer)
        raise web.HTTPFound(URL(self.redirect_uri).with_query(answer))

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.asked.append("token")
        if self.hangs:
            await asyncio.sleep(3600)
        if self.instead is not None:
            return self.instead()
        form = await request.post()
        if self.in_body:
            client = (form["client_id"], form["client_secret"])
        else:
            scheme, _, encoded = request.headers["Authorization"].partition(" ")
            assert scheme == "Basic"
            name, _, secret = b64decode(encoded).decode().partition(":")
            client = (unquote_plus(name), unquote_plus(secret))
        if client != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        begun = self._codes.pop(str(form["code"]), None)
        challenge = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        if (
            begun is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != begun["redirect_uri"]
            or urlsafe_b64encode(challenge).decode().rstrip("=") != begun["code_challenge"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims: Claims = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": begun["nonce"],
            **({"auth_time": now} if "max_age" in begun else {}),
            **self.claims,
        }
        self.change(claims)
        # Nobody checks the signature of what comes from here over TLS (Core §3.1.3.7, 6).
        token = f"{_encode({'alg': 'RS256', 'kid': '1'})}.{_encode(claims)}.c2lnbmF0dXJl"
        answer = {"access_token": "x", "token_type": "Bearer", "id_token": token}
        return web.json_response(answer, headers={"Cache-Control": "no-store"})
