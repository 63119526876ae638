"""Uploads that are no file yet: one batch of edits makes files of several (`docs/http.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chunkstore.client.server.answers import require
from chunkstore.client.server.chunks import resolve
from chunkstore.client.server.conditions import Condition
from chunkstore.client.server.server import Server

_TUS: Final = {"Tus-Resumable": "1.0.0"}
_PART: Final = {**_TUS, "Upload-Concat": "partial"}
_BODY: Final = {"Content-Type": "application/offset+octet-stream"}


def begin_part(server: Server) -> str:
    """Begin an upload of any size, which takes chunks and their list; return its URL.

    Raises:
        ClientError: the server refuses or is away.
    """
    return _create(server, {"Upload-Defer-Length": "1"}, b"")


def end_part(server: Server, upload: str, size: int) -> None:
    """Say that an upload, which has `size` bytes, is whole.

    Raises:
        ClientError: it is gone or has another size, or the server refuses or is away.
    """
    headers = {**_TUS, **_BODY, "Upload-Offset": str(size), "Upload-Length": str(size)}
    require(server.transport.request("PATCH", upload, headers=headers, body=b""), 204).close()


def put_part(server: Server, content: bytes) -> str:
    """Send a small content, whole; return the URL of its upload.

    Raises:
        ClientError: the server refuses or is away.
    """
    return _create(server, {**_BODY, "Upload-Length": str(len(content))}, content)


def put_edit(
    name: str, upload: str, condition: Condition, media_type: str | None
) -> Mapping[str, Any]:
    """Return the edit of `Server.batch` that makes a whole upload a file."""
    edit = {"edit": "put", "name": name, "upload": upload, "conditions": condition.to_headers()}
    return edit if media_type is None else {**edit, "media_type": media_type}


def _create(server: Server, headers: Mapping[str, str], content: bytes) -> str:
    answer = server.transport.request(
        "POST", f"{server.base}uploads", headers={**_PART, **headers}, body=content
    )
    require(answer, 201).close()
    return resolve(server.base, answer.headers.get("Location", ""))
