"""OpenID Connect: what a provider is asked, and what its answers say; nothing is sent here.

It is the code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636), as RFC 9700 wants it. A sign-in
that was begun is kept by the browser alone, as one random secret in a cookie, of which all else
comes: the state, by which another browser's answer is refused, the nonce, which ties the ID token
to this sign-in, and the verifier, without which nobody can redeem the code. The provider and
whoever sees the URL learn the first two, and nothing of the secret from them.

The ID token comes over TLS from the token endpoint, in the answer to a request of this server. So
it is known whose it is, and its signature need not be checked (Core §3.1.3.7, 6): what algorithm it
claims to have, `none` also, and whose keys, matters nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, urlencode, urlsplit

from chunkstore.core.errors import ProviderUnavailable, SignOnFailed
from chunkstore.core.hosts import is_loopback, parse_authority
from chunkstore.service.access.tokens import new_secret

ATTEMPT_SECONDS: Final = 600
# For clocks that differ.
_LEEWAY: Final = timedelta(seconds=60)
_LONGEST_URL: Final = 2048
# Core §2: of a subject. Code and state have no bound; a head has.
_LONGEST_SUBJECT: Final = 255
_LONGEST_NEXT: Final = 2048
_SHORTEST_SECRET: Final = 43


@dataclass(frozen=True, slots=True)
class Registration:
    """This server as its provider knows it, which is `name` to people.

    With `creates`, whoever the provider signs in has an account, without rights at first.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    creates: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider is, and how it is spoken to.

    Its token endpoint takes the client's secret in Basic, or `secret_in_body`. Its answers name it,
    if it `names_itself` (RFC 9207).
    """

    authorization_endpoint: str
    token_endpoint: str
    secret_in_body: bool = False
    names_itself: bool = False


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom the provider has signed in, and when, if it tells; `name` is what they are called."""

    issuer: str
    subject: str
    name: str | None = None
    authenticated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that was begun in a browser, and where it leads."""

    secret: str = field(repr=False)
    next: str = ""

    @classmethod
    def new(cls, next_path: str) -> Attempt:
        """Return a new one."""
        fits = len(quote(next_path, safe="")) <= _LONGEST_NEXT
        return cls(new_secret(), next_path if fits else "")

    @classmethod
    def from_cookie(cls, value: str) -> Attempt:
        """Return the one that a browser keeps.

        Raises:
            SignOnFailed: it keeps none.
        """
        secret, dot, next_path = value.partition(".")
        if not dot or len(secret) < _SHORTEST_SECRET:
            raise SignOnFailed("This browser has begun no sign-in, or too long ago; begin again.")
        return cls(secret, unquote(next_path))

    def to_cookie(self) -> str:
        """Return what the browser keeps."""
        return f"{self.secret}.{quote(self.next, safe='')}"

    @property
    def state(self) -> str:
        """By which an answer is known to be of this browser."""
        return self._derive("state")

    @property
    def nonce(self) -> str:
        """By which an ID token is known to be of this sign-in."""
        return self._derive("nonce")

    @property
    def verifier(self) -> str:
        """With which the code is redeemed (RFC 7636 §4.1)."""
        return self._derive("verifier")

    def _derive(self, purpose: str) -> str:
        secret = self.secret.encode("utf-8", "surrogatepass")
        return _base64url(hmac.digest(secret, purpose.encode(), hashlib.sha256))


def check_issuer(issuer: str) -> str:
    """Return the URL of an issuer: of https, or of http on this machine.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(issuer)
    if len(issuer) > _LONGEST_URL or parts.query or parts.fragment or not _is_safe(issuer, issuer):
        raise ValueError(f"{issuer!r} is not a URL like https://login.example.org")
    return issuer


def discovery_url(issuer: str) -> str:
    """Return where a provider describes itself (Discovery 1.0 §4)."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def parse_metadata(document: bytes, issuer: str) -> Metadata:
    """Return what a provider says of itself.

    Raises:
        ProviderUnavailable: it is another one, or not as it should be.
    """
    try:
        fields = _object(json.loads(document))
        endpoints = [fields["authorization_endpoint"], fields["token_endpoint"]]
        methods = fields.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        secret_in_body = "client_secret_basic" not in methods
        names_itself = fields.get("authorization_response_iss_parameter_supported") is True
        if fields["issuer"] != issuer or not all(_is_safe(url, issuer) for url in endpoints):
            raise ProviderUnavailable("The server that signs you in is not what it should be.")
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ProviderUnavailable from error
    return Metadata(endpoints[0], endpoints[1], secret_in_body, names_itself)


def authorization_url(
    metadata: Metadata,
    registration: Registration,
    attempt: Attempt,
    redirect_uri: str,
    *,
    again: bool,
) -> str:
    """Return where a browser is sent to sign in; `again`, also if it has a session there."""
    challenge = _base64url(hashlib.sha256(attempt.verifier.encode()).digest())
    fields = {
        "response_type": "code",
        "scope": "openid profile" if registration.creates else "openid",
        "client_id": registration.client_id,
        "redirect_uri": redirect_uri,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"prompt": "login", "max_age": "0"} if again else {}),
    }
    separator = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{separator}{urlencode(fields, quote_via=quote)}"


def code_of(
    answer: Mapping[str, str], attempt: Attempt, registration: Registration, metadata: Metadata
) -> str:
    """Return the code in what the browser was sent back with.

    Raises:
        SignOnFailed: there is none, or the answer is of another sign-in, or of another provider.
    """
    state = answer.get("state", "").encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(state, attempt.state.encode()):
        raise SignOnFailed("The answer is of another sign-in than this browser's; begin again.")
    issuer = answer.get("iss")
    if issuer != registration.issuer and (issuer is not None or metadata.names_itself):
        raise SignOnFailed("The answer is of another server; begin again.")
    code = answer.get("code", "")
    if "error" in answer or not code:
        raise SignOnFailed(f"{registration.name} has not signed you in; begin again.")
    return code


def token_request(
    registration: Registration, metadata: Metadata, attempt: Attempt, code: str, redirect_uri: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return form and header fields that redeem a code (RFC 6749 §4.1.3, §2.3.1)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": attempt.verifier,
    }
    client, secret = registration.client_id, registration.client_secret
    if metadata.secret_in_body:
        return {**form, "client_id": client, "client_secret": secret}, {}
    pair = f"{quote_plus(client)}:{quote_plus(secret)}".encode()
    return form, {"Authorization": f"Basic {b64encode(pair).decode()}"}


def claims_of(
    document: bytes, registration: Registration, attempt: Attempt, now: datetime
) -> Claims:
    """Return whom the answer of the token endpoint says that the provider has signed in.

    Raises:
        SignOnFailed: its ID token is not one of this server and of this sign-in (Core §3.1.3.7).
    """
    try:
        token = _object(json.loads(document))["id_token"]
        _, payload, _ = str(token).split(".")
        claims = _object(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
        fault = _fault_in(claims, registration, attempt, now)
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise SignOnFailed(f"{registration.name} has answered without an ID token.") from error
    if fault is not None:
        raise SignOnFailed(f"The ID token of {registration.name} {fault}; begin again.")
    name = claims.get("preferred_username")
    return Claims(
        registration.issuer,
        claims["sub"],
        name if isinstance(name, str) else None,
        _time_of(claims.get("auth_time"), now),
    )


def _fault_in(
    claims: Mapping[str, Any], registration: Registration, attempt: Attempt, now: datetime
) -> str | None:
    """Return what is wrong with the claims of an ID token, None if nothing is."""
    audience, nonce, subject = claims["aud"], claims.get("nonce"), claims["sub"]
    if claims["iss"] != registration.issuer:
        return "is of another issuer"
    # No other audience is trusted (§3.1.3.7, 3), so there is one.
    if audience not in (registration.client_id, [registration.client_id]):
        return "is not for this server"
    if claims.get("azp", registration.client_id) != registration.client_id:
        return "was given to another server"
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode("utf-8", "surrogatepass"), attempt.nonce.encode()
    ):
        return "is of another sign-in"
    if not _number(claims["exp"]) > (now - _LEEWAY).timestamp():
        return "has expired"
    if not _number(claims["iat"]) < (now + _LEEWAY).timestamp():
        return "is of the future, so a clock is wrong"
    return None if is_subject(subject) else "names nobody"


def is_subject(subject: object) -> bool:
    """Whether this can be whom a provider names (Core §2): ASCII that can be shown."""
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        return False
    return subject.isascii() and subject.isprintable()


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("A time is no number.")
    return float(value)


def _time_of(value: object, now: datetime) -> datetime | None:
    """Return when somebody was signed in, None if that is not told, or cannot be."""
    try:
        moment = datetime.fromtimestamp(_number(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    # It is no promise of a later time.
    return min(moment, now)


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        raise TypeError("This is no object.")
    return value


def _is_safe(url: object, issuer: str) -> bool:
    """Whether nobody on the way reads what is sent to a URL: https, or this machine's like its."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return False
    parts = urlsplit(url)
    host = parse_authority(parts.netloc)
    if host is None or parts.fragment:
        return False
    is_local = is_loopback(host) and issuer.startswith("http://")
    return parts.scheme == "https" or (parts.scheme == "http" and is_local)


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")
