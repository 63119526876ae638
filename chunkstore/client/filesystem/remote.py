"""A server's files and folders, as a file system asks for them; each call blocks.

Names are without a `/` at their end, also those of folders; the root's is empty. Edits name exactly
a file or a folder, since an edit of `a` by HTTP's methods would be one of the folder `a/` as well.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from blake3 import blake3

from chunkstore.client.content import open_content
from chunkstore.client.errors import ClientError, Mismatch, Missing, Refused
from chunkstore.client.filesystem.errors import os_error
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.conditions import ANYTHING, Condition
from chunkstore.client.server.parts import put_edit
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Page, RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.writing import ContentWriter
from chunkstore.core.digest import Digest
from chunkstore.core.errors import InvalidName
from chunkstore.core.names import parse_file_name

Info = dict[str, Any]

# Up to this size a content is sent in one request.
SMALL_SIZE: Final = 1024 * 1024
MAX_EDITS: Final = 1000
_BLOCK_SIZE: Final = 4 * 1024 * 1024


class Remote:
    """The files of the server that `root` is on."""

    def __init__(self, session: Session, root: RemotePlace) -> None:
        self.session = session
        self._root = root
        self.server: Server = session.server(root)

    def place(self, name: str) -> RemotePlace:
        """Return the place of a file.

        Raises:
            InvalidName: no file can have this name.
        """
        return replace(self._root, name=parse_file_name(name))

    def info(self, name: str) -> Info:
        """Return what a file or folder is.

        Raises:
            Missing: there is none.
            ClientError: the server refuses or is away.
        """
        if not name:
            return folder_info("")
        try:
            found = self.server.files.find(parse_file_name(name))
        except InvalidName as error:
            raise Missing(str(error)) from error
        if found is not None:
            return file_info(found, name)
        if not self.is_folder(name):
            raise Missing(f"There is no file or folder {name!r}.")
        return folder_info(name)

    def members(self, name: str, prefix: str = "") -> list[Info]:
        """Return what is in a folder; of a file, itself.

        Raises:
            Missing: there is neither.
            ClientError: the server refuses or is away.
        """
        try:
            pages = list(self._pages(name, "/", prefix))
        except Missing:
            return [self.info(name)]
        found = [file_info(file) for page in pages for file in page.files]
        return found + [folder_info(folder[:-1]) for page in pages for folder in page.folders]

    def walk(self, name: str, prefix: str = "") -> list[Info]:
        """Return all files of a folder, whatever their depth; none if there is no folder.

        Raises:
            ClientError: the server refuses or is away.
        """
        try:
            return [file_info(one) for page in self._pages(name, "", prefix) for one in page.files]
        except Missing:
            return []

    def read(
        self, name: str, start: int = 0, stop: int | None = None, etag: str | None = None
    ) -> bytes:
        """Return bytes of a file, all of one content: of the one with that ETag, if it is given.

        Raises:
            ConditionFailed: it is another one, or was replaced meanwhile.
            Mismatch: it was read whole, and has not the digest that the server tells.
            ClientError: there is no file, or the server refuses or is away.
        """
        if stop is not None and stop <= start:
            return b""
        try:
            file, pieces = open_content(self.server.files, name, start, etag, stop)
            content = b"".join(pieces)
        except Refused as error:
            if error.status != 416:
                raise
            return b""
        if start == 0 and file.size == len(content) and file.digest is not None:
            _require_digest(name, content, file.digest)
        return content

    def write(self, name: str, content: bytes, condition: Condition = ANYTHING) -> None:
        """Make or replace a file.

        Raises:
            ConditionFailed: it is not as the condition says.
            ClientError: the server refuses or is away.
        """
        place = self.place(name)
        if len(content) <= SMALL_SIZE:
            self.server.files.put(place.name, content, len(content), condition)
            return
        writer = ContentWriter(self.session, place, condition)
        try:
            for start in range(0, len(content), _BLOCK_SIZE):
                writer.write(memoryview(content)[start : start + _BLOCK_SIZE])
            writer.make()
        except BaseException:
            writer.discard()
            raise

    def put_parts(self, parts: Sequence[tuple[str, str, Condition]]) -> None:
        """Make files of uploads that are whole, given with their names: all of them, or none.

        Raises:
            ConditionFailed: one is not as its condition says.
            ClientError: the server refuses or is away.
        """
        try:
            self.server.batch([put_edit(name, upload, on, None) for name, upload, on in parts])
        except ClientError as error:
            # The batch before it may have been made, unheard: of one, all are files.
            if not error.is_repeated or not self._is_file(parts[0][1]):
                raise

    def _is_file(self, upload: str) -> bool:
        with suppress(ClientError):
            return self.server.chunks.state(upload).complete
        return False

    def delete_file(self, name: str) -> None:
        """Delete a file; a folder of this name stays.

        Raises:
            Missing: there is none.
            ClientError: the server refuses or is away.
        """
        self._edit(name, {"edit": "delete", "name": name})

    def delete_folder(self, name: str) -> None:
        """Delete a folder, whole.

        Raises:
            Missing: there is none.
            ClientError: the server refuses or is away.
        """
        self.server.files.delete(f"{name}/")

    def copy_file(self, source: str, target: str) -> None:
        """Copy a file, without its bytes; what is at `target` is replaced, unless it is a folder.

        Raises:
            Missing: there is none.
            ClientError: the server refuses or is away.
        """
        self._edit(source, {"edit": "copy", "source": source, "target": target})

    def move_file(self, source: str, target: str) -> None:
        """Move a file, as `copy_file`."""
        self._edit(source, {"edit": "move", "source": source, "target": target})

    def copy_folder(self, source: str, target: str) -> None:
        """Copy a folder, whole, to where nothing is.

        Raises:
            Missing: there is none.
            ConditionFailed: something is at `target`.
            ClientError: the server refuses or is away.
        """
        self.server.files.copy(f"{source}/", f"{target}/", overwrite=False)

    def move_folder(self, source: str, target: str) -> None:
        """Move a folder, as `copy_folder`."""
        self.server.files.move(f"{source}/", f"{target}/", overwrite=False)

    def make_folder(self, name: str, *, create_parents: bool = True) -> None:
        """Make a folder.

        Raises:
            FileExistsError: there is something of this name.
            Missing: there is no folder to make it in.
            ClientError: a file is in the way, or the server refuses or is away.
        """
        try:
            self.server.files.make_folder(f"{name}/")
            return  # noqa: TRY300 - what follows is for one error
        except Refused as error:
            if error.status == 405:
                raise os_error(errno.EEXIST, name) from error
            parent = name.rpartition("/")[0]
            if error.status != 409 or not parent:
                raise
            if not create_parents:
                raise Missing(str(error)) from error
        # Others may make the same folders now.
        with suppress(FileExistsError):
            self.make_folder(parent)
        self.make_folder(name, create_parents=False)

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of this name.

        Raises:
            ClientError: the server refuses or is away.
        """
        try:
            self.server.files.list(f"{name}/", limit=1)
        except Missing:
            return False
        return True

    def remove_empty_folder(self, name: str) -> None:
        """Delete a folder in which nothing is, at the moment at which that is looked for.

        Raises:
            OSError: something is in it.
            Missing: there is none.
            ClientError: the server refuses or is away.
        """
        page = self.server.files.list(f"{name}/", limit=1)
        if page.files or page.folders:
            raise os_error(errno.ENOTEMPTY, name)
        self.delete_folder(name)

    def _pages(self, name: str, delimiter: str, prefix: str) -> Iterator[Page]:
        after: str | None = None
        while True:
            page = self.server.files.list(
                f"{name}/" if name else "", prefix=prefix, delimiter=delimiter, after=after
            )
            yield page
            after = page.next
            if after is None:
                return

    def _edit(self, source: str, edit: Mapping[str, Any]) -> None:
        try:
            self.server.batch([edit])
        except Refused as error:
            # Of a batch, that is what does not exist as well.
            if error.problem == "name-conflict" and self.server.files.find(source) is None:
                if edit["edit"] == "delete" and error.is_repeated:
                    return
                raise Missing(f"There is no file {source!r}.") from error
            raise


def file_info(file: RemoteFile, name: str | None = None) -> Info:
    """Return a file as fsspec describes one."""
    return {
        "name": file.name if name is None else name,
        "type": "file",
        "size": file.size,
        "ETag": file.etag,
        "modified": file.modified,
        "mimetype": file.media_type,
    }


def folder_info(name: str) -> Info:
    """Return a folder as fsspec describes one."""
    return {"name": name, "type": "directory", "size": 0}


def _require_digest(name: str, content: bytes, digest: Digest) -> None:
    if blake3(content).digest() != digest.raw:
        raise Mismatch(f"{name!r} has not the digest that the server tells.")
