"""The media type of a file whose client named none."""

from __future__ import annotations

import mimetypes
from typing import Final

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
# Without the system's own tables, so every server guesses the same.
_MEDIA_TYPES: Final = mimetypes.MimeTypes()
_ENCODED_TYPES: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
}


def guess_media_type(name: str) -> str:
    """Return the media type that the extension of `name` suggests."""
    if "." not in name:
        return DEFAULT_MEDIA_TYPE
    # The leading ./ keeps a name like data:x from being taken for a URL.
    media_type, encoding = _MEDIA_TYPES.guess_type(f"./{name}")
    if encoding is not None:
        return _ENCODED_TYPES.get(encoding, DEFAULT_MEDIA_TYPE)
    if media_type is None:
        return DEFAULT_MEDIA_TYPE
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
