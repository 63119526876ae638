"""One attempt to push a content by the list of its chunks: `docs/sync.md`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final

from chunkstore.client.cache import FileState, Fingerprint
from chunkstore.client.cutting import chunking_for, fixed_size
from chunkstore.client.digests import keep_list, naming, require_unchanged
from chunkstore.client.errors import (
    ChunksMissing,
    ClientError,
    ConditionFailed,
    InvalidPlace,
    Mismatch,
    ServerAway,
    SourceChanged,
    Stopped,
)
from chunkstore.client.list_writing import ListFollower, ListWriter
from chunkstore.client.manifests import Manifest
from chunkstore.client.options import PushOptions
from chunkstore.client.outcome import Progress, Transferred
from chunkstore.client.places import RemotePlace
from chunkstore.client.reading import ContentReader, Cut, blocks_of_file
from chunkstore.client.sending import Begun, ChunkSender, KnownChunks
from chunkstore.client.server.conditions import ABSENT, unchanged
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities, Written
from chunkstore.client.session import Session
from chunkstore.client.streaming import Read, Streamed
from chunkstore.client.unfinished import Unfinished, UnfinishedUpload
from chunkstore.core.archives import DECIDING_SIZE
from chunkstore.core.chunkers import Chunking, recognise
from chunkstore.core.digest import Digest

# How many chunks of a list that is known are looked at in one step.
_STEP: Final = 1024


@dataclass(frozen=True, slots=True)
class Base:
    """What a target was when its push began: its ETag, its list, and the lists of other bases."""

    etag: str | None
    manifest: Manifest | None
    others: Sequence[Manifest]

    @classmethod
    def find(
        cls, session: Session, server: Server, target: RemotePlace, names: Sequence[str]
    ) -> Base:
        """Return that of a target, and the lists of the files with other `names`.

        Raises:
            ClientError: the server refuses or is away.
        """
        found = find_manifest(session, server, target)
        others = (find_manifest(session, server, replace(target, name=name)) for name in names)
        etag, manifest = (found[0], found[1]) if found is not None else (None, None)
        return cls(etag, manifest, [other[1] for other in others if other is not None])

    @property
    def manifests(self) -> Sequence[Manifest]:
        """All lists, that of the target first."""
        first = [self.manifest] if self.manifest is not None else []
        return [*first, *self.others]


def find_manifest(
    session: Session, server: Server, place: RemotePlace
) -> tuple[str | None, Manifest] | None:
    """Return the ETag and the list of a file, None if there is none; by the cache where it is so.

    Raises:
        ClientError: the server refuses or is away.
    """
    cached = session.cache.find_remote(place.url) if session.cache is not None else None
    found = server.chunks.find_manifest(place.name, cached)
    if found is None:
        return None
    file, manifest = found
    if session.cache is not None and manifest is not cached:
        session.cache.keep_remote(place.url, manifest)
    return file.etag, manifest


class ListPush:
    """Pushes one content; `from_file` or `from_blocks` is called once."""

    def __init__(
        self, session: Session, server: Server, abilities: Abilities, target: RemotePlace,
        options: PushOptions, progress: Progress, unfinished: Unfinished,
    ) -> None:  # fmt: skip
        """Ask for the bases.

        Raises:
            ClientError: the server refuses or is away.
        """
        self._session = session
        self._server = server
        self._abilities = abilities
        self._target = target
        self._options = options
        self._progress = progress
        self._base = base = Base.find(session, server, target, options.bases)
        self._chunking = ""
        self._is_cut_alike = False
        self._unfinished = unfinished
        self._source: tuple[Path, FileState] | None = None
        self._claim: Digest | None = None
        if options.condition is not None:
            self._condition = options.condition
        else:
            self._condition = ABSENT if base.etag is None else unchanged(base.etag)

    def from_file(self, source: Path, file: int, state: FileState) -> Transferred:
        """Push an open file.

        Raises:
            ClientError: as `push_file`.
        """
        self._source = source, state
        with naming(source):
            self._choose_chunking(lambda: os.pread(file, DECIDING_SIZE, 0))
        cache = self._session.cache
        known = cache.find_list(state, self._chunking) if cache is not None else None

        def read(offset: int, size: int) -> bytes:
            with naming(source):
                return os.pread(file, size, offset)

        if known is not None and known.size == state.size:
            return self._from_known(known, source, file, state, read)
        began = time.time_ns()
        blocks = blocks_of_file(file, state.size)
        reader = ContentReader(blocks, self._chunking, self._session.hashers)

        def whole() -> Manifest:
            require_unchanged(source, file, state)
            if reader.size != state.size:
                raise SourceChanged
            manifest = Manifest(reader.digest, bytes(reader.entries))
            fingerprint = Fingerprint(manifest.digest, reader.size)
            keep_list(
                self._session, source, state, began, self._chunking, fingerprint, manifest.entries
            )
            return manifest

        with naming(source):
            return self._run(reader, reader.entries, read, whole)

    def from_blocks(self, blocks: Iterator[bytes]) -> Transferred:
        """Push what comes in blocks, and cannot be read twice.

        Raises:
            ClientError: as `push_file`.
        """
        first = next(blocks, b"")
        self._choose_chunking(lambda: first)
        reader = ContentReader(
            chain([first] if first else [], blocks), self._chunking, self._session.hashers
        )
        return self._run(
            reader, reader.entries, None, lambda: Manifest(reader.digest, bytes(reader.entries))
        )

    def _choose_chunking(self, first: Callable[[], bytes]) -> None:
        """Choose how to cut the content, which begins with `first`.

        Raises:
            InvalidPlace: the server does not know the way that is wanted.
        """
        base = next(iter(self._base.manifests), None)
        begin = cache(first)
        try:
            self._chunking = chunking_for(self._abilities, base, self._options.chunking, begin)
        except ValueError as error:
            raise InvalidPlace(f"{error}.") from error
        # As the server cuts bytes, whether it looks at the first ones or not.
        self._is_cut_alike = (
            self._chunking == self._abilities.chunking[0] and recognise(begin()) is Chunking.FIXED
        )

    def _streamed(self) -> Streamed | None:
        """Return what the content is if it may be sent as bytes, over a link that is not slow."""
        chunk_size = fixed_size(self._chunking)
        if (
            self._source is None
            or not chunk_size
            or not self._is_cut_alike
            or not self._server.takes_streams
            or self._session.settings.bandwidth.up
        ):
            return None
        return Streamed(self._source[1].size, chunk_size)

    def _from_known(
        self, known: Manifest, source: Path, file: int, state: FileState, read: Read
    ) -> Transferred:
        self._claim = known.digest
        if self._is_there(known.digest):
            self._progress.spared(known.size)
            return self._nothing_to_do(known)

        def whole() -> Manifest:
            require_unchanged(source, file, state)
            return known

        return self._run(_cuts_of(known), known.entries, read, whole)

    def _nothing_to_do(self, manifest: Manifest) -> Transferred:
        # The last run may have come to its end without hearing of it.
        self._unfinished.forget()
        return self._progress.finish(manifest.size, manifest.digest, unchanged=True)

    def _is_there(self, digest: Digest) -> bool:
        return self._base.manifest is not None and self._base.manifest.digest == digest

    def _run(
        self, cuts: Iterable[Cut], entries: bytes | bytearray, read: Read | None,
        whole: Callable[[], Manifest],
    ) -> Transferred:  # fmt: skip
        known = KnownChunks(self._base.manifests)
        sender = ChunkSender(
            self._session, self._server, self._abilities, self._progress, known, self._begin, read,
            self._streamed(),
        )  # fmt: skip
        try:
            with sender:
                follower = ListFollower(self._session, self._server, sender, entries)
                for cut in cuts:
                    sender.add(cut)
                    follower.advance()
                sender.flush()
                while sender.is_sending:
                    sender.wait_for_pack()
                    follower.advance()
                follower.settle()
                manifest = whole()
                if sender.upload is None and self._is_there(manifest.digest):
                    return self._nothing_to_do(manifest)
                self._make(sender, manifest)
        except (ServerAway, Stopped):
            raise
        except ClientError:
            # Nothing can go on with it.
            self._give_up(sender.upload)
            raise
        self._unfinished.forget()
        if self._session.cache is not None:
            self._session.cache.keep_remote(self._target.url, manifest)
        return self._progress.finish(manifest.size, manifest.digest)

    def _make(self, sender: ChunkSender, manifest: Manifest) -> None:
        """Make the file.

        Raises:
            ClientError: as `push_file`.
        """
        try:
            digest = self._write(sender, manifest)
        except ConditionFailed:
            # It may be so because an answer was lost, and the request repeated.
            if not self._server.files.has(self._target.name, manifest.digest):
                raise
            return
        if digest != manifest.digest:
            raise Mismatch(
                f"The server computed another digest for {self._target} than this client."
            )

    def _write(self, sender: ChunkSender, manifest: Manifest) -> Digest | None:
        """Send the list; return the digest that the server tells."""
        self._progress.moved(0, len(manifest.entries))
        written = None
        is_short = len(manifest) <= self._abilities.max_digests
        try:
            if sender.upload is None and is_short:
                written = self._server.chunks.put_manifest(
                    self._target.name, manifest.entries, self._condition,
                    digest=manifest.digest, media_type=self._options.media_type,
                    bases=self._options.bases,
                )  # fmt: skip
            else:
                written = self._append(sender, manifest)
        except ChunksMissing:
            if sender.upload is not None:
                raise
            sender.add_again(0, list(manifest))
            written = self._append(sender, manifest)
        if written is not None and written.digest is not None:
            return written.digest
        found = self._server.files.find(self._target.name)
        return found.digest if found is not None else None

    def _append(self, sender: ChunkSender, manifest: Manifest) -> Written | None:
        upload = sender.begun()
        return ListWriter(self._server, self._abilities, sender).append(upload, manifest)

    def _begin(self) -> Begun:
        """Return an upload: that of the last run, or a new one."""
        if self._source is not None and (found := self._find_unfinished(self._source[1])):
            return found
        upload = self._server.chunks.begin(
            self._target.name, self._condition,
            size=self._source[1].size if self._source is not None else None,
            digest=self._claim, media_type=self._options.media_type, bases=self._options.bases,
        )  # fmt: skip
        if self._source is not None:
            source, state = self._source
            self._unfinished.keep(
                UnfinishedUpload(
                    upload, self._target.url, str(source.absolute()), state, self._base.etag,
                    self._chunking, state.is_settled(time.time_ns()),
                )
            )  # fmt: skip
        return Begun(upload)

    def _find_unfinished(self, state: FileState) -> Begun | None:
        found = self._unfinished.find()
        if found is None:
            return None
        if (found.state, found.base, found.chunking) == (state, self._base.etag, self._chunking):
            with suppress(ClientError):
                reached = self._server.chunks.state(found.upload)
                # What it has is not compared: the file has to be the same for sure.
                if not reached.complete and (reached.offset == 0 or found.is_settled):
                    return Begun(found.upload, reached.offset)
                if not reached.complete:
                    # Begun anew; what it was sent is there until it expires.
                    return None
        self._give_up(found.upload)
        return None

    def _give_up(self, upload: str | None) -> None:
        if upload is not None:
            with suppress(ClientError):
                self._server.chunks.cancel(upload)
        self._unfinished.forget()


def _cuts_of(manifest: Manifest) -> Iterator[Cut]:
    """Yield the chunks of a list that is known, without their bytes."""
    for start in range(0, len(manifest), _STEP):
        chunks = [
            manifest.entry(number) for number in range(start, min(start + _STEP, len(manifest)))
        ]
        yield Cut(manifest.offset(start), chunks, [])
