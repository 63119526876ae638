"""Fills a file with the chunks of a list: from what lies on this machine, else from the server.

Each chunk is checked against its digest before it is used, wherever it comes from. What is needed
is fetched in packs of neighbours over all connections, while the file is hashed from its start on
as far as it is complete, so that its digest is known soon after the last chunk has come.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from chunkstore.client.errors import Mismatch, ServerAway
from chunkstore.client.manifests import Manifest
from chunkstore.client.outcome import Progress
from chunkstore.client.reading import BLOCK_SIZE, HASHING_THREADS, zero_digest
from chunkstore.client.server.conditions import etag_of
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities
from chunkstore.client.session import Session
from chunkstore.client.targets import PartFile
from chunkstore.core.digest import Digest
from chunkstore.core.packs import HEAD_SIZE, Record

_PACK_SIZE: Final = 8 * 1024 * 1024
# How many chunks are looked for at a time, in all seeds and by one thread.
_BAND: Final = 65_536
_SPAN: Final = 32
_BLOCK: Final = 4096
_MOST_FAILURES: Final = 5


@dataclass(frozen=True, slots=True)
class Seed:
    """An open file of this machine that may have some of the chunks, and its list."""

    file: int
    manifest: Manifest
    path: Path


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a chunk is said to be: in which seed, at what offset."""

    seed: Seed
    offset: int


class Filler:
    """Fills `part` with the content of `manifest`; `fill` is called once."""

    def __init__(
        self, session: Session, server: Server, abilities: Abilities, name: str,
        manifest: Manifest, part: PartFile, progress: Progress,
    ) -> None:  # fmt: skip
        self._session = session
        self._server = server
        self._abilities = abilities
        self._name = name
        self._etag = etag_of(manifest.digest)
        self._manifest = manifest
        self._part = part
        self._progress = progress
        self._hash = blake3()
        self._hashed = 0
        self._needed: list[int] = []
        self._needed_size = 0
        self._fetching: deque[tuple[int, Future[None]]] = deque()
        self._hashing: deque[Future[None]] = deque()

    def fill(self, seeds: Sequence[Seed]) -> Digest:
        """Fill the file; return the digest that it has then, as read from it.

        Raises:
            ConditionFailed: the server has another content meanwhile.
            Mismatch: it sent what does not match.
            ClientError: the server refuses or is away, or the file cannot be written.
        """
        with ThreadPoolExecutor(1, "chunkstore-whole") as in_order:
            self._in_order = in_order
            try:
                for span, needed in self._look_for(seeds):
                    for number in needed:
                        self._need(number)
                    self._advance(span.stop)
                self._fetch()
                while self._fetching:
                    self._fetching.popleft()[1].result()
                    self._advance(len(self._manifest))
                self._advance(len(self._manifest))
                while self._hashing:
                    self._hashing.popleft().result()
            except BaseException as error:
                if not isinstance(error, Exception):
                    # Ctrl-C waits for no pack.
                    self._session.stop()
                raise
            finally:
                self._cancel()
        return Digest(self._hash.digest())

    def _cancel(self) -> None:
        """Wait for what is under way: it writes to the file."""
        for future in [*self._hashing, *(fetched for _, fetched in self._fetching)]:
            future.cancel()
        wait([*self._hashing, *(fetched for _, fetched in self._fetching)])

    def _look_for(self, seeds: Sequence[Seed]) -> Iterator[tuple[range, list[int]]]:
        """Put what this machine has in place; yield which chunks of each span it has not."""
        count = len(self._manifest)
        for start in range(0, count, _BAND):
            band = range(start, min(start + _BAND, count))
            found = self._find(band, seeds)
            under_way: deque[tuple[range, Future[list[int]]]] = deque()
            try:
                for first in range(band.start, band.stop, _SPAN):
                    span = range(first, min(first + _SPAN, band.stop))
                    under_way.append((span, self._session.hashers.submit(self._place, span, found)))
                    if len(under_way) > 2 * HASHING_THREADS:
                        span, future = under_way.popleft()
                        yield span, future.result()
                while under_way:
                    span, future = under_way.popleft()
                    yield span, future.result()
            finally:
                for _, future in under_way:
                    future.cancel()
                wait([future for _, future in under_way])

    def _find(self, band: range, seeds: Sequence[Seed]) -> dict[int | bytes, _Found]:
        """Return where chunks of a band are: by number at the same place, else by digest."""
        found: dict[int | bytes, _Found] = {}
        wanted = set()
        for number in band if seeds else ():
            entry = self._manifest.entry(number)
            for seed in seeds:
                if number < len(seed.manifest) and seed.manifest.entry(number) == entry:
                    offset = seed.manifest.offset(number)
                    if offset == self._manifest.offset(number):
                        found[number] = _Found(seed, offset)
                        break
            else:
                wanted.add(entry[0])
        for seed in seeds if wanted else ():
            offset = 0
            for digest, size in seed.manifest:
                if digest in wanted:
                    found.setdefault(digest, _Found(seed, offset))
                offset += size
        return found

    def _place(self, span: range, found: dict[int | bytes, _Found]) -> list[int]:
        """Put in place what this machine has of a span; return which chunks it has not."""
        needed = []
        for number in span:
            digest, size = self._manifest.entry(number)
            offset = self._manifest.offset(number)
            place = found.get(number) or found.get(digest)
            if self._is_in_place(offset, digest, size) or (
                place is not None and self._copy(place, offset, digest, size)
            ):
                self._progress.spared(size)
            else:
                needed.append(number)
        return needed

    def _is_in_place(self, offset: int, digest: bytes, size: int) -> bool:
        if not self._part.is_resumed:
            return digest == zero_digest(size)
        if blake3(self._part.read(offset, size)).digest() == digest:
            return True
        if digest != zero_digest(size):
            return False
        self._part.write(offset, bytes(size))
        return True

    def _copy(self, place: _Found, offset: int, digest: bytes, size: int) -> bool:
        try:
            content = os.pread(place.seed.file, size, place.offset)
        except OSError:
            return False
        if blake3(content).digest() != digest:
            return False
        if not self._clone(place, offset, size):
            self._part.write(offset, content)
        return True

    def _clone(self, place: _Found, offset: int, size: int) -> bool:
        """Let the file system share the bytes if it can; the digest of the whole is checked."""
        if place.offset % _BLOCK or offset % _BLOCK or not hasattr(os, "copy_file_range"):
            return False
        with suppress(OSError):
            return size == os.copy_file_range(
                place.seed.file, self._part.file, size, place.offset, offset
            )
        return False

    def _need(self, number: int) -> None:
        size = self._manifest.entry(number)[1]
        limit = min(_PACK_SIZE, self._abilities.max_pack_size)
        if self._needed_size + size > limit or len(self._needed) >= self._abilities.max_digests:
            self._fetch()
        self._needed.append(number)
        self._needed_size += size

    def _fetch(self) -> None:
        if not self._needed:
            return
        numbers, self._needed, self._needed_size = self._needed, [], 0
        while len(self._fetching) >= 2 * self._session.settings.connections:
            self._fetching.popleft()[1].result()
        future = self._session.requests.submit(self._fetch_pack, numbers)
        self._fetching.append((numbers[0], future))

    def _fetch_pack(self, numbers: Sequence[int]) -> None:
        """Fetch some chunks and write each wherever it belongs among them.

        Raises:
            ServerAway: the connection was lost again and again.
            ClientError: as `fill`.
        """
        places: dict[bytes, list[int]] = {}
        for number in numbers:
            places.setdefault(self._manifest.entry(number)[0], []).append(number)
        failures = 0
        while places:
            left = len(places)
            try:
                self._receive(places)
            except ServerAway:
                failures = failures + 1 if len(places) == left else 0
                if failures > _MOST_FAILURES:
                    raise

    def _receive(self, places: dict[bytes, list[int]]) -> None:
        firsts = sorted(numbers[0] for numbers in places.values())
        ranges = list(_joined(self._manifest, firsts))
        records = self._server.chunks.fetch(
            self._name, ranges, self._etag, self._abilities.max_chunk_size
        )
        with closing(records):
            for record in records:
                self._take(record, places)
        if places:
            raise self._other_chunks()

    def _take(self, record: Record, places: dict[bytes, list[int]]) -> None:
        """Write a chunk that was asked for to its places, which are taken out of `places`."""
        try:
            content = record.to_chunk().content
        except ValueError as error:
            raise Mismatch(f"The server sent a damaged chunk of {self._name!r}.") from error
        numbers = places.pop(record.digest.raw, [])
        sizes = {self._manifest.entry(number)[1] for number in numbers}
        if sizes != {len(content)}:
            raise self._other_chunks()
        for number in numbers:
            if self._part.is_resumed or record.digest.raw != zero_digest(len(content)):
                self._part.write(self._manifest.offset(number), content)
        self._progress.moved(len(content), HEAD_SIZE + len(record.encoded.content))
        self._progress.spared(len(content) * (len(numbers) - 1))

    def _other_chunks(self) -> Mismatch:
        return Mismatch(f"The server sent other chunks of {self._name!r} than its list has.")

    def _advance(self, looked_for: int) -> None:
        """Hash what has become complete from the start on, if all chunks before are looked for."""
        while self._fetching and self._fetching[0][1].done():
            self._fetching.popleft()[1].result()
        number = looked_for
        if self._fetching:
            number = self._fetching[0][0]
        elif self._needed:
            number = self._needed[0]
        stop = self._manifest.offset(number)
        if stop > self._hashed:
            self._hashing.append(self._in_order.submit(self._update, self._hashed, stop))
            self._hashed = stop
        while self._hashing and self._hashing[0].done():
            self._hashing.popleft().result()

    def _update(self, start: int, stop: int) -> None:
        for offset in range(start, stop, BLOCK_SIZE):
            self._hash.update(self._part.read(offset, min(BLOCK_SIZE, stop - offset)))


def _joined(manifest: Manifest, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the ranges that some chunks have, neighbours in one."""
    start = stop = -1
    for number in numbers:
        offset = manifest.offset(number)
        if offset != stop:
            if start >= 0:
                yield start, stop
            start = offset
        stop = offset + manifest.entry(number)[1]
    if start >= 0:
        yield start, stop
