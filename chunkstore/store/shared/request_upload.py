"""How far the upload of one request has come, whichever database has its chunks."""

from __future__ import annotations

from collections.abc import Sequence

from chunkstore.core.chunking import AnyChunk, size_of
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.store.contract.contents import Upload
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import OpenManifest
from chunkstore.store.shared.upload_rows import ROW_SIZE


class RequestUpload(Upload):
    """An upload whose chunk list has the id `manifest_id`; `appended` counts what was new of it."""

    def __init__(self, manifest_id: int, chunk_size: int) -> None:
        self.appended = NewBytes()
        self._id = manifest_id
        self._chunk_size = chunk_size
        self._list = ListHasher()
        self._begun = False
        self._committed = False

    @property
    def manifest(self) -> OpenManifest:
        """The chunk list so far."""
        return OpenManifest(self._id, self._chunk_size, self._list.size)

    def sealed_with(self, last: Sequence[AnyChunk], digest: Digest) -> Manifest:
        """Return the manifest that it comes to with its last chunks; `digest` is the content's."""
        whole = self._list.copy()
        add_chunks(whole, last)
        return whole.seal(self._id, self._chunk_size, digest)

    @property
    def begun(self) -> bool:
        return self._begun

    def require_put_once(self, put: set[RequestUpload]) -> None:
        """Add it to those that were `put` by the same edits.

        Raises:
            NotFound: it was put by them, or by others before.
        """
        if self._committed or self in put:
            raise NotFound("The upload was put before.")
        put.add(self)

    def require_held_once(self) -> None:
        """Refuse to hold what was put or held before.

        Raises:
            NotFound: it was.
        """
        if self._committed:
            raise NotFound("The pack was used before.")

    def extent_with(self, last: Sequence[AnyChunk]) -> int:
        """Return what it counts for as a pack, in bytes, with its last chunks."""
        rows = 1 + self._list.chunk_count + len(last)
        return self._list.size + size_of(last) + rows * ROW_SIZE

    def committed(self) -> None:
        """Note that the manifest is a file's, or another upload's, now."""
        self._begun = False
        self._committed = True


def add_chunks(hasher: ListHasher, chunks: Sequence[AnyChunk]) -> None:
    """Add chunks to a list."""
    for chunk in chunks:
        hasher.add(chunk.digest.raw, chunk.size)
