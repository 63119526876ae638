"""Pushing a content that is written piece by piece: what the server has is not sent.

Nothing is visible before the end, which is one request for each content, or one for several.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from blake3 import blake3

from chunkstore.client.cutting import chunker_for, chunking_for
from chunkstore.client.errors import ClientError, ConditionFailed, Mismatch
from chunkstore.client.list_writing import ListWriter
from chunkstore.client.manifests import Manifest, format_entry
from chunkstore.client.outcome import Progress
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_list import find_manifest
from chunkstore.client.reading import Cut
from chunkstore.client.sending import Begun, ChunkSender, KnownChunks
from chunkstore.client.server.conditions import Condition
from chunkstore.client.server.parts import begin_part, end_part
from chunkstore.client.session import Session
from chunkstore.core.digest import Digest


class ContentWriter:
    """Pushes one content, by one thread; it ends with `make`, `keep` or `discard`."""

    def __init__(
        self, session: Session, target: RemotePlace, condition: Condition, *,
        media_type: str | None = None, is_part: bool = False,
    ) -> None:  # fmt: skip
        """Ask what is there now, which may have chunks of it.

        What `is_part` becomes a file with others, by `parts.put_edit`.

        Raises:
            ClientError: the server knows nothing of chunks, refuses or is away.
        """
        self.size = 0
        self._server = session.server(target)
        abilities = self._server.abilities
        if abilities is None:
            raise ClientError(
                f"{self._server.base} knows nothing of chunks, so nothing is written."
            )
        self._abilities = abilities
        self._target = target
        self._condition = condition
        self._media_type = media_type
        self._is_part = is_part
        found = find_manifest(session, self._server, target)
        base = None if found is None else found[1]
        self._chunker = chunker_for(chunking_for(abilities, base, None, lambda: b""))
        self._whole = blake3()
        self._entries = bytearray()
        self._progress = Progress(session.reporter, str(target), 0)
        known = KnownChunks([] if base is None else [base])
        self._sender = ChunkSender(
            session, self._server, abilities, self._progress, known, self._begin, None
        )

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes; some may be sent later.

        Raises:
            ClientError: the server refuses or is away; the content cannot be written any more.
        """
        self._whole.update(piece)
        self._add(self._chunker.feed(piece))

    def make(self) -> None:
        """Make the file.

        Raises:
            ConditionFailed: what is there is not what the condition says.
            ClientError: the server refuses or is away; the file may have been made if it is away.
        """
        manifest, upload = self._finish()
        digest = manifest.digest
        try:
            written = ListWriter(self._server, self._abilities, self._sender).append(
                upload, manifest
            )
        except ConditionFailed:
            # It may be so because an answer was lost, and the request repeated.
            if not self._server.files.has(self._target.name, digest):
                raise
            return
        if written is not None and written.digest not in (digest, None):
            raise Mismatch(f"The server computed another digest for {self._target}.")

    def keep(self) -> str:
        """Leave the whole content in its upload, and return the URL of that.

        Raises:
            ClientError: the server refuses or is away.
        """
        manifest, upload = self._finish()
        ListWriter(self._server, self._abilities, self._sender).append_part(upload, manifest)
        end_part(self._server, upload, manifest.size)
        return upload

    def discard(self) -> None:
        """Delete what was sent; if the server is away, it expires."""
        self._sender.__exit__(None)
        if self._sender.upload is not None:
            with suppress(ClientError):
                self._server.chunks.cancel(self._sender.upload)

    def _finish(self) -> tuple[Manifest, str]:
        self._add(self._chunker.finish())
        self._sender.finish()
        upload = self._sender.begun()
        digest = Digest(self._whole.digest())
        return Manifest(digest, bytes(self._entries)), upload

    def _begin(self) -> Begun:
        if self._is_part:
            return Begun(begin_part(self._server))
        return Begun(
            self._server.chunks.begin(
                self._target.name, self._condition, media_type=self._media_type
            )
        )

    def _add(self, chunks: Iterable[bytes]) -> None:
        pieces = list(chunks)
        cut = Cut(self.size, [(blake3(piece).digest(), len(piece)) for piece in pieces], [*pieces])
        for digest, size in cut.chunks:
            self._entries += format_entry(digest, size)
            self.size += size
        self._sender.add(cut)
