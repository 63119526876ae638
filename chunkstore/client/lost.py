"""What the error of a connection means, without the objects in which urllib3 wraps it."""

from __future__ import annotations

import ssl

from chunkstore.client.credentials import origin_of
from chunkstore.client.errors import ClientError, NotTrusted, ServerAway


def error_of(url: str, error: Exception) -> ClientError:
    """Return the error that a request ends with whose connection failed."""
    if (failure := tls_error(error)) is not None:
        return NotTrusted(
            f"TLS with {origin_of(url)} failed: {_text(failure)}. A certificate of your own is"
            " trusted if SSL_CERT_FILE names it."
        )
    return ServerAway(reason_of(url, error))


def tls_error(error: Exception) -> ssl.SSLError | None:
    """Return why TLS failed, None if it did not, or only as the connection was lost."""
    reason = _innermost(error)
    is_lost = isinstance(reason, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return reason if isinstance(reason, ssl.SSLError) and not is_lost else None


def reason_of(url: str, error: Exception) -> str:
    """Return why the server of a URL could not be reached, as a sentence."""
    return f"{origin_of(url)} cannot be reached: {_text(_innermost(error))}."


def _text(reason: BaseException) -> str:
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return text.rstrip(".")


def _innermost(error: Exception) -> BaseException:
    found: BaseException = error
    while True:
        # urllib3 has them in one of three places.
        inner = (getattr(found, "reason", None), found.__cause__, *found.args[:1])
        causes = [one for one in inner if isinstance(one, BaseException)]
        if not causes:
            return found
        found = causes[0]
