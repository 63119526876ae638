"""How a server wants to be asked: paths, queries, and the way contents go up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_BOUNDARY: Final = "benchmark-boundary-7d1f0c"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The paths of one kind of server, as templates of `str.format`.

    `form` is where a form with a field `form_field` uploads a file; empty: PUT does. `listing` is
    the path of a folder's list; one that mentions `{limit}` has pages, and `after` is what is added
    to it for a later page. `ranges` says whether GET answers a part of a file.
    """

    file: str = "/{name}"
    form: str = ""
    form_field: str = "files"
    listing: str = "/{folder}/"
    after: str = ""
    ranges: bool = True

    @property
    def has_pages(self) -> bool:
        """Whether a list comes in pages."""
        return "{limit}" in self.listing

    def put(self, name: str, size: int, *, keep_alive: bool = True) -> tuple[bytes, bytes]:
        """Return what is sent before and after a content of `size` bytes that becomes `name`."""
        if not self.form:
            return _head("PUT", self.file.format(name=name), size, keep_alive=keep_alive), b""
        before, after = form_part(self.form_field, name), form_end()
        length = len(before) + size + len(after)
        return form_head(self.form, length, keep_alive=keep_alive) + before, after

    def get(
        self, name: str, start: int = 0, stop: int | None = None, *, keep_alive: bool = True
    ) -> bytes:
        """Return the request for a file's bytes from `start` to before `stop`."""
        extra = "" if stop is None else f"Range: bytes={start}-{stop - 1}\r\n"
        path = self.file.format(name=name)
        return _head("GET", path, None, keep_alive=keep_alive, extra=extra)

    def delete(self, name: str, *, keep_alive: bool = True) -> bytes:
        """Return the request that deletes a file."""
        return _head("DELETE", self.file.format(name=name), None, keep_alive=keep_alive)

    def list(self, folder: str, limit: int, cursor: str | None = None) -> bytes:
        """Return the request for a list, whole, or of `limit` names that follow `cursor`."""
        path = self.listing.format(folder=folder, limit=limit)
        if cursor is not None:
            path += self.after.format(cursor=cursor)
        return _head("GET", path, None, keep_alive=False)


def form_head(path: str, length: int, *, keep_alive: bool = True) -> bytes:
    """Return the head of a request that sends a form of `length` bytes."""
    extra = f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
    return _head("POST", path, length, keep_alive=keep_alive, extra=extra)


def form_part(field: str, filename: str) -> bytes:
    """Return what stands before a file's content in a form."""
    return (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{filename}"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    ).encode()


def form_end() -> bytes:
    """Return what ends a form after its last content."""
    return f"\r\n--{_BOUNDARY}--\r\n".encode()


def _head(method: str, path: str, size: int | None, *, keep_alive: bool, extra: str = "") -> bytes:
    length = "" if size is None else f"Content-Length: {size}\r\n"
    connection = "keep-alive" if keep_alive else "close"
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
        f"Connection: {connection}\r\n{length}{extra}\r\n"
    ).encode()


CHUNKSTORE: Final = Dialect(
    file="/files/{name}", listing="/files/{folder}/?limit={limit}", after="&after={cursor}"
)
