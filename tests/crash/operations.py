"""What the clients of a crash test do, and what each operation must come to.

An operation is a value. It says how it is sent, which status a server owes for it, and what the
files are afterwards; all three follow from the files there were before. So the record of what was
acknowledged is the files alone.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar, Final

Files = dict[str, bytes]

CHUNK_SIZE: Final = 4096
# What runs a server with such small bounds that a larger upload is in several segments.
BOUNDED: Final = (
    sys.executable, str(Path(__file__).with_name("small_log.py")), str(4 * 1024 * 1024)
)  # fmt: skip
NAMES: Final = tuple("abcde")
_POOL_SEED: Final = "chunks that all clients share"
_POOL_CHUNKS: Final = 24
_KNOWN_CONTENTS: Final = 6
_MAX_CHUNKS: Final = 48


@dataclass(frozen=True, slots=True)
class Get:
    """Read a file."""

    method: ClassVar[str] = "GET"
    name: str

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        return HTTPStatus.OK if self.name in files else HTTPStatus.NOT_FOUND

    def applied(self, files: Files) -> Files:
        return files


@dataclass(frozen=True, slots=True)
class Put:
    """Create or replace a file."""

    method: ClassVar[str] = "PUT"
    name: str
    content: bytes

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        return HTTPStatus.OK if self.name in files else HTTPStatus.CREATED

    def applied(self, files: Files) -> Files:
        return {**files, self.name: self.content}


@dataclass(frozen=True, slots=True)
class PutByList:
    """Create or replace a file by the list of its chunks, and send only those that are missing."""

    method: ClassVar[str] = "PATCH"
    name: str
    content: bytes

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        return Put(self.name, self.content).status(files)

    def applied(self, files: Files) -> Files:
        return Put(self.name, self.content).applied(files)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file."""

    method: ClassVar[str] = "DELETE"
    name: str

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        return HTTPStatus.NO_CONTENT if self.name in files else HTTPStatus.NOT_FOUND

    def applied(self, files: Files) -> Files:
        return {name: content for name, content in files.items() if name != self.name}


@dataclass(frozen=True, slots=True)
class Copy:
    """Give a file's content to `target` as well."""

    method: ClassVar[str] = "COPY"
    name: str
    target: str

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        if self.name not in files:
            return HTTPStatus.NOT_FOUND
        return HTTPStatus.NO_CONTENT if self.target in files else HTTPStatus.CREATED

    def applied(self, files: Files) -> Files:
        return {**files, self.target: files[self.name]} if self.name in files else files


@dataclass(frozen=True, slots=True)
class Move:
    """Rename a file to `target`."""

    method: ClassVar[str] = "MOVE"
    name: str
    target: str

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        return Copy(self.name, self.target).status(files)

    def applied(self, files: Files) -> Files:
        if self.name not in files:
            return files
        return Delete(self.name).applied(Copy(self.name, self.target).applied(files))


@dataclass(frozen=True, slots=True)
class Batch:
    """Make an upload the file `name`, and copy it to `target`, both in one transaction."""

    method: ClassVar[str] = "POST"
    name: str
    target: str
    content: bytes

    def status(self, files: Mapping[str, bytes]) -> HTTPStatus:
        return HTTPStatus.OK

    def applied(self, files: Files) -> Files:
        return {**files, self.name: self.content, self.target: self.content}


Operation = Get | Put | PutByList | Delete | Copy | Move | Batch


def schedule(seed: str) -> Iterator[Operation]:
    """Yield operations without end, the same ones for the same seed.

    Contents are new, known, or made of chunks that other clients have too.
    """
    rng = random.Random(seed)
    pool = _shared_chunks()
    makers = (_new, _known, _sharing)
    while True:
        name, target = rng.sample(NAMES, 2)
        kinds = (Put, PutByList, Delete, Copy, Move, Get, Batch)
        kind = rng.choices(kinds, (7, 4, 3, 1, 1, 2, 2))[0]
        if kind is Put or kind is PutByList:
            yield kind(name, rng.choice(makers)(rng, pool))
        elif kind is Batch:
            yield Batch(name, target, rng.choice(makers)(rng, pool))
        elif kind is Copy or kind is Move:
            yield kind(name, target)
        else:
            yield Get(name) if kind is Get else Delete(name)


def _shared_chunks() -> list[bytes]:
    rng = random.Random(_POOL_SEED)
    return [rng.randbytes(CHUNK_SIZE) for _ in range(_POOL_CHUNKS)]


def _new(rng: random.Random, _: list[bytes]) -> bytes:
    return rng.randbytes(rng.randrange(_MAX_CHUNKS * CHUNK_SIZE))


def _known(rng: random.Random, pool: list[bytes]) -> bytes:
    first = rng.randrange(_KNOWN_CONTENTS)
    return b"".join(pool[first::2])


def _sharing(rng: random.Random, pool: list[bytes]) -> bytes:
    chunks = rng.choices(pool, k=rng.randrange(1, _MAX_CHUNKS // 2))
    return b"".join(chunks) + rng.randbytes(rng.randrange(2 * CHUNK_SIZE))
