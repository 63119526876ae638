"""Fetches all of a content in one request, from a server that is near, where nothing of it is here.

Each byte is hashed once, for the digest of the whole, while the next ones come, and the disk is
given what has come early. Chunks by themselves are fetched in packs (`filling`): over several
connections, and as they are kept, so where they are kept compressed they come so.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Final

from blake3 import blake3

from chunkstore.client.content import open_content
from chunkstore.client.errors import Mismatch
from chunkstore.client.manifests import Manifest
from chunkstore.client.outcome import Progress
from chunkstore.client.reading import zero_digest
from chunkstore.client.server.conditions import etag_of
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities
from chunkstore.client.session import Session
from chunkstore.client.targets import PartFile
from chunkstore.core.compression import Codec
from chunkstore.core.digest import Digest

# Of less, the requests for a sample count.
_LEAST_SIZE: Final = 16 * 1024 * 1024
_SAMPLED: Final = 2
# By so many chunks it is decided whether some are repeated.
_MOST_COMPARED: Final = 200_000
_PIECES_UNDER_WAY: Final = 16
_SYNCED_AT_ONCE: Final = 64 * 1024 * 1024


class Receiver:
    """Receives the content of `manifest` into `part`, which is empty."""

    def __init__(
        self, session: Session, server: Server, abilities: Abilities, name: str,
        manifest: Manifest, part: PartFile, progress: Progress,
    ) -> None:  # fmt: skip
        self._session = session
        self._server = server
        self._abilities = abilities
        self._name = name
        self._manifest = manifest
        self._etag = etag_of(manifest.digest)
        self._part = part
        self._progress = progress
        self._whole = blake3()

    def is_better(self) -> bool:
        """Whether to fetch all at once is better than to fetch chunks.

        Raises:
            ClientError: the server refuses or is away.
        """
        manifest = self._manifest
        if manifest.size < _LEAST_SIZE or not self._server.transport.is_near:
            return False
        if self._session.settings.bandwidth.down or self._has_repeated_chunks():
            return False
        stop = manifest.offset(_SAMPLED)
        sample = self._server.chunks.fetch(
            self._name, [(0, stop)], self._etag, self._abilities.max_chunk_size
        )
        with closing(sample):
            return all(record.encoded.codec is Codec.IDENTITY for record in sample)

    def receive(self) -> Digest:
        """Receive it; return the digest of what has come.

        Raises:
            ConditionFailed: the server has another content meanwhile.
            Mismatch: more came than there is.
            ClientError: the server refuses or is away, or the file cannot be written.
        """
        _, pieces = open_content(self._server.files, self._name, 0, self._etag)
        taken: deque[Future[None]] = deque()
        syncing: deque[Future[None]] = deque()
        offset = synced = 0
        # Each has a thread of its own, since their work is in order.
        with ThreadPoolExecutor(1) as taking, ThreadPoolExecutor(1) as disk, closing(pieces):
            try:
                for piece in pieces:
                    if offset + len(piece) > self._manifest.size:
                        raise Mismatch(f"More of {self._name!r} came than its list has.")
                    taken.append(taking.submit(self._take, offset, piece))
                    offset += len(piece)
                    while syncing and syncing[0].done():
                        syncing.popleft().result()
                    if not syncing and offset >= synced + _SYNCED_AT_ONCE:
                        syncing.append(disk.submit(self._part.sync))
                        synced = offset
                    if len(taken) > _PIECES_UNDER_WAY:
                        taken.popleft().result()
                for future in (*taken, *syncing):
                    future.result()
            finally:
                for future in taken:
                    future.cancel()
        return Digest(self._whole.digest())

    def _take(self, offset: int, piece: bytes) -> None:
        self._part.write(offset, piece)
        self._whole.update(piece)
        self._progress.moved(len(piece), len(piece))

    def _has_repeated_chunks(self) -> bool:
        """Whether chunks come more than once, as zeros do in sparse files."""
        seen: set[bytes] = set()
        zeros = zero_digest(self._manifest.entry(0)[1])
        for number, (digest, _) in enumerate(self._manifest):
            if digest in seen or digest == zeros:
                return True
            if number >= _MOST_COMPARED:
                break
            seen.add(digest)
        return False
