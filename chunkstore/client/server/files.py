"""Files and folders of a server, by the methods of HTTP and WebDAV: `docs/http.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from chunkstore.client.errors import Missing, Refused
from chunkstore.client.server.answers import parse_json, read_json, require
from chunkstore.client.server.conditions import ANYTHING, Condition, digest_in
from chunkstore.client.server.values import (
    Page,
    RemoteFile,
    Written,
    file_from_headers,
    file_from_json,
)
from chunkstore.client.transport import Answer, Body, Transport, require_field_value
from chunkstore.core.digest import Digest
from chunkstore.core.names import encode_path

MAX_FORM_FILES: Final = 1000
MAX_LIST: Final = 1000
MAX_WRITTEN_SIZE: Final = 1024 * 1024
JSON_LINES: Final = "application/jsonl"
_CONFLICT: Final = "name-conflict"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form: its name within the folder that the form is sent to, and its content.

    With `replaces`, a strong ETag, it replaces the content that has this one, and no other.
    """

    name: str
    content: bytes
    media_type: str | None = None
    replaces: str | None = None


class Files:
    """The files whose URLs begin with `root`, which ends in `/`.

    They are those of a server of chunkstore at `base`, or None for another one's.
    """

    def __init__(self, transport: Transport, root: str, base: str | None = None) -> None:
        self._transport = transport
        self._base = base
        self._root = root
        self._path = "/" + root.split("/", 3)[3]

    def url(self, name: str) -> str:
        """Return the URL of a file or folder."""
        return self._root + encode_path(name)

    def find(self, name: str) -> RemoteFile | None:
        """Return what HEAD tells of a file, None if there is none.

        Raises:
            ClientError: the server refuses or is away.
        """
        answer = self._transport.request("HEAD", self.url(name))
        with answer:
            if answer.status in (404, 410):
                return None
            require(answer, 200)
            return None if _is_folder(name, answer) else file_from_headers(name, answer.headers)

    def has(self, name: str, digest: Digest) -> bool:
        """Whether there is a file of this name that has this content.

        Raises:
            ClientError: the server refuses or is away.
        """
        found = self.find(name)
        return found is not None and found.digest == digest

    def get(
        self, name: str, start: int = 0, stop: int | None = None, etag: str | None = None
    ) -> Answer:
        """Return the answer (200 or 206) that has the bytes from `start` to before `stop`.

        Raises:
            Missing: there is no such file.
            ConditionFailed: it is not the one with that ETag.
            ClientError: the server refuses or is away.
        """
        headers = {} if etag is None else {"If-Match": etag}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        answer = require(self._transport.request("GET", self.url(name), headers=headers), 200, 206)
        if _is_folder(name, answer):
            answer.close()
            raise Missing(f"There is no file {name!r}, but a folder.")
        if start and answer.status == 200:
            answer.close()
            raise Refused(200, "", "The server sends no part of a file.")
        return answer

    def put(
        self,
        name: str,
        body: bytes | Body,
        size: int | None,
        condition: Condition = ANYTHING,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Written:
        """Make or replace a file by a body of `size` bytes, or of any size, in one request.

        Raises:
            ConditionFailed: it is not as the condition says.
            ClientError: the server refuses or is away.
        """
        fields = {**condition.to_headers(), **(headers or {})}
        if media_type is not None:
            fields["Content-Type"] = media_type
        return read_written(
            self._transport.request("PUT", self.url(name), headers=fields, body=body, size=size)
        )

    def delete(self, name: str, condition: Condition = ANYTHING) -> None:
        """Delete a file, or a folder whole.

        Raises:
            Missing: there is none.
            ClientError: it is not as the condition says, or the server refuses or is away.
        """
        self._edit("DELETE", name, condition.to_headers(), 200, 204)

    def copy(
        self, source: str, target: str, *, overwrite: bool = True, condition: Condition = ANYTHING
    ) -> None:
        """Copy a file or folder within the server; the condition is on the source.

        Raises:
            ConditionFailed: the target is there and `overwrite` is false, or the condition fails.
            ClientError: there is no source, or the server refuses or is away.
        """
        self._relocate("copy", source, target, overwrite, condition)

    def move(
        self, source: str, target: str, *, overwrite: bool = True, condition: Condition = ANYTHING,
        retries: int | None = None,
    ) -> None:  # fmt: skip
        """Move a file or folder within the server, as `copy`; `retries` as `Transport.request`."""
        self._relocate("move", source, target, overwrite, condition, retries)

    def make_folder(self, name: str) -> None:
        """Make a folder.

        Raises:
            Refused: there is something of this name (405), or the server refuses.
        """
        self._edit("MKCOL", name, {}, 201)

    def list(
        self, folder: str = "", *, prefix: str = "", delimiter: str = "/",
        after: str | None = None, limit: int = MAX_LIST,
    ) -> Page:  # fmt: skip
        """Return a page of a folder: one level of it, or all levels with an empty delimiter.

        Raises:
            Missing: there is no such folder.
            ClientError: the server refuses or is away.
        """
        query = {"delimiter": delimiter, "limit": str(limit)}
        query |= {"prefix": prefix} if prefix else {}
        query |= {"after": after} if after is not None else {}
        url = f"{self.url(folder)}?{urlencode(query)}"
        headers = {"Accept": "application/json"}
        found = read_json(require(self._transport.request("GET", url, headers=headers), 200))
        try:
            files = [file_from_json(file) for file in found["files"]]
            folders = [str(name) for name in found["folders"]]
            page = Page(files, folders, found["next"])
            # One that turns in a circle would never end.
            if page.next is not None and page.next <= (after or ""):
                raise ValueError(page.next)  # noqa: TRY301 - one message for all
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Refused(200, "", "The list is not that of a chunkstore server.") from error
        return page

    def walk(self, folder: str = "") -> Iterator[RemoteFile]:
        """Yield all files of a folder, in the order of their names; none if there is no folder.

        Raises:
            ClientError: the server refuses or is away.
        """
        after: str | None = None
        while True:
            try:
                page = self.list(folder, delimiter="", after=after)
            except Missing:
                return
            yield from page.files
            after = page.next
            if after is None:
                return

    def post_form(
        self, folder: str, files: Sequence[FormFile], *, overwrite: bool
    ) -> Sequence[Written]:
        """Make up to `MAX_FORM_FILES` files in one transaction: all of them, or none.

        Raises:
            ConditionFailed: one is there and `overwrite` is false, or another one than it replaces.
            ClientError: the server refuses or is away.
        """
        fields = [_field('name="overwrite"', b"yes" if overwrite else b"no")]
        for file in files:
            # The one way in which any name has one meaning.
            name = quote(file.name, safe="")
            if file.replaces is not None:
                fields.append(_field('name="if_match"', file.replaces.encode()))
            fields.append(
                _field(f"name=\"file\"; filename*=utf-8''{name}", file.content, file.media_type)
            )
        body, content_type = encode_multipart_formdata(fields)
        answer = self._transport.request(
            "POST", self.url(folder), body=body,
            headers={"Content-Type": content_type, "Accept": "application/json"},
        )  # fmt: skip
        found = read_json(require(answer, 200, 201))
        return [_written(answer.status == 201, one) for one in found.get("files", [])]

    def _edit(
        self, method: str, name: str, headers: Mapping[str, str], *statuses: int,
        retries: int | None = None,
    ) -> None:  # fmt: skip
        answer = self._transport.request(
            method, self.url(name), headers=headers, retries=retries
        )  # fmt: skip
        require(answer, *statuses).close()

    def _relocate(
        self, how: str, source: str, target: str, overwrite: bool, condition: Condition,
        retries: int | None = None,
    ) -> None:  # fmt: skip
        if self._base is None:
            headers = {
                **condition.to_headers(),
                "Destination": self._path + encode_path(target),
                "Overwrite": "T" if overwrite else "F",
            }
            self._edit(how.upper(), source, headers, 201, 204, retries=retries)
            return
        # Not by Destination: a proxy may have the server's paths begin otherwise.
        edit = {
            "edit": how, "source": source, "target": target, "overwrite": overwrite,
            "conditions": condition.to_headers(),
        }  # fmt: skip
        try:
            post_batch(self._transport, self._base, [edit], retries)
        except Refused as error:
            # Of a batch, that is what does not exist as well.
            if error.problem == _CONFLICT and not self.is_there(source):
                missing = Missing(f"There is no {source!r}.")
                missing.is_repeated = error.is_repeated
                raise missing from error
            raise

    def is_there(self, name: str) -> bool:
        """Whether there is a file of this name, or a folder where it ends in `/`.

        Raises:
            ClientError: the server refuses or is away.
        """
        if not name.endswith("/"):
            return self.find(name) is not None
        try:
            self.list(name, limit=1)
        except Missing:
            return False
        return True


def post_batch(
    transport: Transport, base: str, edits: Sequence[Mapping[str, Any]], retries: int | None = None
) -> Sequence[dict[str, Any]]:
    """Make several edits in one transaction; return what each came to (`docs/http.md`).

    Raises:
        ClientError: one failed, so none was made; or the server refuses or is away.
    """
    lines = "".join(json.dumps(edit) + "\n" for edit in edits).encode()
    answer = transport.request(
        "POST", f"{base}batch", body=lines, headers={"Content-Type": JSON_LINES}, retries=retries
    )
    with require(answer, 200):
        return [parse_json(line) or {} for line in answer.read().splitlines()]


def read_written(answer: Answer) -> Written:
    """Return what an answer to PUT, or to the end of an upload, tells.

    Raises:
        ConditionFailed: the file is not as the condition says.
        ClientError: the server refuses or is away.
    """
    with require(answer, 200, 201, 204):
        content = answer.read(MAX_WRITTEN_SIZE)
    found = parse_json(content)
    written = _written(answer.status == 201, found if isinstance(found, dict) else {})
    digest = digest_in(answer.headers.get("ETag")) or written.digest
    return Written(written.created, digest, written.size, written.new_size)


def _is_folder(name: str, answer: Answer) -> bool:
    """Whether the request for a file was redirected to the folder of its name."""
    return answer.path.endswith("/") and not name.endswith("/")


def _written(created: bool, found: Mapping[str, Any]) -> Written:
    size, new_size = found.get("size"), found.get("new_size")
    return Written(
        created,
        digest_in(str(found.get("digest"))),
        size if isinstance(size, int) else None,
        new_size if isinstance(new_size, int) else None,
    )


def _field(disposition: str, content: bytes, media_type: str | None = None) -> RequestField:
    headers = {"Content-Disposition": f"form-data; {disposition}"}
    if media_type is not None:
        require_field_value("Content-Type", media_type)
        headers["Content-Type"] = media_type
    return RequestField("", content, headers=headers)
