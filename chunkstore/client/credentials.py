"""By what a request to a server says who sends it."""

from __future__ import annotations

import netrc
import os
import re
from base64 import b64encode
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from chunkstore.client.errors import InvalidPlace
from chunkstore.client.settings import Settings

_CREDENTIALS: Final = re.compile(r"^([^/]*//)[^/?#]*@")


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, without a name or password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{_address(parts)}"


def without_credentials(url: str) -> str:
    """Return a URL without the name and password that it may have, even one that is none."""
    return _CREDENTIALS.sub(r"\1", url)


def authorization_for(base: str, settings: Settings) -> str | None:
    """Return the value of Authorization for requests to the server at `base`, None for none.

    What the URL has goes before the token, and that before the line of the host in netrc.

    Raises:
        InvalidPlace: the file of netrc cannot be read.
    """
    parts = urlsplit(base)
    if parts.username is not None:
        return _basic(unquote(parts.username), unquote(parts.password or ""))
    if settings.token and (not settings.url or origin_of(settings.url) == origin_of(base)):
        return f"Bearer {settings.token}"
    found = _in_netrc(parts.hostname or "")
    return None if found is None else _basic(*found)


def _address(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode('ascii')}"


def _in_netrc(host: str) -> tuple[str, str] | None:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError) as error:
        raise InvalidPlace(f"The file of netrc cannot be read: {error}.") from error
    return (found[0], found[2] or "") if found else None
