"""URLs of the file system, which are those of files with another scheme, and not percent-encoded.

Like the paths of all file systems of fsspec, a name stands in them as it is.
"""

from __future__ import annotations

import re
from typing import Final

from chunkstore.client.places import FILES

# By scheme, that of the server.
SCHEMES: Final = {"chunkstore": "http", "chunkstores": "https"}
_URL: Final = re.compile(r"(chunkstores?)://([^/]*)(.*)", re.DOTALL)


def split_url(text: str) -> tuple[str | None, str]:
    """Return the URL of the server, None if there is none in `text`, and the name.

    `chunkstore://HOST/files/NAME`, with whatever the server has before `/files/`; without a host
    all behind it is the name, and so is a text that is no URL.

    Raises:
        ValueError: it has a host, and no `/files/`.
    """
    found = _URL.fullmatch(text)
    if found is None or not found[2]:
        return None, _trimmed(text if found is None else found[3])
    scheme, host, path = found.groups()
    before, files, name = f"{path}/".partition(f"/{FILES}")
    if not files and path.strip("/"):
        raise ValueError(f"{text!r} has no /{FILES} before its name, as URLs of files have.")
    return f"{SCHEMES[scheme]}://{host}{before.rstrip('/')}/", _trimmed(name)


def join_url(base: str, name: str) -> str:
    """Return the URL of a name on the server at `base`."""
    scheme, _, rest = base.partition("://")
    own = next(own for own, known in SCHEMES.items() if known == scheme)
    return f"{own}://{rest}{FILES}{_trimmed(name)}"


def _trimmed(name: str) -> str:
    return name.strip("/")
