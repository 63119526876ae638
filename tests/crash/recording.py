"""What a program did to the files of a folder, and what a loss of power would have left of it.

`recorder.c`, preloaded into a program, writes down each change in order. Here the record is played
to a model of a disk with a cache in front of it, up to the moment at which the power goes.

What was synced is on the disk. Of the rest each block of 4 KiB is there in any of the states that
it was in since, whatever became of the others; a file has any of its sizes since, and names are
those after any number of the changes that were made since the folder was synced. A cut is made
whole or not at all, and what was written after it is not there without it, as file systems have
it that keep a journal. A block is
written whole, as disks do, so what was synced of a block stays when more is written behind it
(SQLite's "powersafe overwrite"). A sync that fails leaves the blocks it was for as they are and
takes them for clean, as Linux does: later syncs do not write them, unless they are changed again.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.programs import do_without, require_program

BLOCK_SIZE: Final = 4096
_HEAD: Final = struct.Struct("<IBQI")
_SOURCE: Final = Path(__file__).with_name("recorder.c")
_PROBE: Final = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE t (a)')"
_MARK: Final = "M"


def compile_recorder(folder: Path) -> Path:
    """Return the compiled recorder; skip the test where that, or its use, is not possible."""
    compiler = require_program("cc", "gcc", "clang")
    library = folder / "recorder.so"
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl", "-lpthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        do_without(f"{compiler} cannot compile for the C library (libc6-dev): {made.stderr[-300:]}")
    return library


@dataclass(frozen=True, slots=True)
class Record:
    """One change: its kind (a letter of `recorder.c`), the file, and what `kind` makes of it."""

    kind: str
    path: Path
    offset: int
    data: bytes


class Recording:
    """The record of what is done in `folder`, which is empty at its beginning."""

    def __init__(self, library: Path, folder: Path, log: Path) -> None:
        self.folder = folder.resolve()
        self._log = log
        self._control = log.with_name(f"{log.name}-control")
        self._library = library
        log.touch()

    @property
    def environment(self) -> dict[str, str]:
        """What has a program recorded."""
        return {
            "LD_PRELOAD": str(self._library),
            "RECORDER_FOLDER": str(self.folder),
            "RECORDER_LOG": str(self._log),
            "RECORDER_CONTROL": str(self._control),
        }

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What runs a command so that it is recorded."""
        return ("env", *(f"{name}={value}" for name, value in self.environment.items()))

    def mark(self, number: int) -> None:
        """Add a mark of the test's own: all that was done before stands before it."""
        with self._log.open("ab", buffering=0) as log:
            log.write(_HEAD.pack(0, ord(_MARK), number, 0))

    def fail_syncs(self, count: int, suffix: str) -> None:
        """Let the next `count` syncs of files fail whose names end in `suffix`."""
        self._control.write_text(f"{count} {suffix}\n")

    def read(self) -> list[Record]:
        """Return what was recorded."""
        return list(self._records(self._log.read_bytes()))

    def _records(self, log: bytes) -> Iterator[Record]:
        place = 0
        while place < len(log):
            size, kind, offset, path_size = _HEAD.unpack_from(log, place)
            place += _HEAD.size
            path = os.fsdecode(log[place : place + path_size])
            yield Record(chr(kind), Path(path), offset, log[place + path_size : place + size])
            place += size


def require_recordable(library: Path, python: str, folder: Path) -> None:
    """Skip the test if what this Python's SQLite writes cannot be recorded."""
    place = folder / "probe"
    place.mkdir()
    probe = Recording(library, place, folder / "probe.log")
    subprocess.run([*probe.wrapper, python, "-c", _PROBE, str(place / "probe.db")], check=True)
    if not any(record.kind == "W" for record in probe.read()):
        do_without("this Python's SQLite is linked in a way that its writes cannot be recorded")


@dataclass(slots=True)
class _Block:
    """States of a block since it was last synced, and whether the next sync writes it.

    Each has the number of the change that made it.
    """

    states: list[tuple[int, bytes]] = field(default_factory=list)
    dirty: bool = False


@dataclass(slots=True)
class _File:
    """A file in the cache and on the disk."""

    cached: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    blocks: dict[int, _Block] = field(default_factory=dict)
    # Since the last sync, with the change that made each; the first is the disk's.
    sizes: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    # Changes since then that have cut it, each with the first block that it has cut.
    cuts: list[tuple[int, int]] = field(default_factory=list)
    changes: int = 0

    def write(self, offset: int, data: bytes) -> None:
        stop = offset + len(data)
        first = min(offset, len(self.cached))
        self.cached.extend(bytes(max(0, stop - len(self.cached))))
        self.cached[offset:stop] = data
        self._changed(first, stop)

    def cut(self, size: int) -> None:
        first, stop = sorted((size, len(self.cached)))
        if size < len(self.cached):
            self.cuts.append((self.changes + 1, size // BLOCK_SIZE))
        del self.cached[size:]
        self.cached.extend(bytes(size - len(self.cached)))
        self._changed(first, stop)

    def _changed(self, first: int, stop: int) -> None:
        self.changes += 1
        for number in range(first // BLOCK_SIZE, -(-stop // BLOCK_SIZE)):
            state = bytes(self.cached[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE])
            block = self.blocks.setdefault(number, _Block())
            block.states.append((self.changes, state.ljust(BLOCK_SIZE, b"\0")))
            block.dirty = True
        if self.sizes[-1][1] != len(self.cached):
            self.sizes.append((self.changes, len(self.cached)))

    def begin_sync(self) -> _Sync:
        dirty = [number for number, block in self.blocks.items() if block.dirty]
        return _Sync(self, dirty, self.changes)

    def image(self, rng: random.Random, share: float) -> bytes:
        """Return what the disk may hold; of a `share` of the blocks a newer state is there.

        1: the newest of all.
        """
        content = bytearray(self.durable)
        made = len(self.cuts) if share == 1 else rng.randint(0, len(self.cuts) if share else 0)
        before = self.cuts[made][0] if made < len(self.cuts) else self.changes + 1
        for number, block in self.blocks.items():
            since = max((cut for cut, first in self.cuts[:made] if first <= number), default=0)
            states = [state for change, state in block.states if since <= change < before]
            # What was cut is gone, whatever else is there.
            if states and (since or rng.random() < share):
                _put_block(content, number, states[-1] if share == 1 else rng.choice(states))
        since = self.cuts[made - 1][0] if made else 0
        sizes = [size for change, size in self.sizes if since <= change < before]
        size = sizes[0]
        if rng.random() < share:
            size = sizes[-1] if share == 1 else rng.choice(sizes)
        return bytes(content[:size].ljust(size, b"\0"))


def _put_block(content: bytearray, number: int, state: bytes) -> None:
    start = number * BLOCK_SIZE
    content.extend(bytes(max(0, start - len(content))))
    content[start : start + BLOCK_SIZE] = state


@dataclass(frozen=True, slots=True)
class _Sync:
    """What a sync is for: these blocks, as the first `changes` changes left them."""

    file: _File
    dirty: Sequence[int]
    changes: int

    def done(self) -> None:
        file = self.file
        for number in self.dirty:
            # A sync that began later may have been faster.
            if block := file.blocks.get(number):
                self._settle(number, block)
        file.sizes = (
            [
                next(size for size in reversed(file.sizes) if size[0] <= self.changes),
                *(size for size in file.sizes if size[0] > self.changes),
            ]
            if file.sizes[0][0] <= self.changes
            else file.sizes
        )
        file.cuts = [cut for cut in file.cuts if cut[0] > self.changes]
        size = file.sizes[0][1]
        del file.durable[size:]
        file.durable.extend(bytes(size - len(file.durable)))

    def _settle(self, number: int, block: _Block) -> None:
        older = [state for change, state in block.states if change <= self.changes]
        if older:
            _put_block(self.file.durable, number, older[-1])
            block.states = block.states[len(older) :]
        if not block.states:
            del self.file.blocks[number]

    def failed(self) -> None:
        for number in self.dirty:
            block = self.file.blocks.get(number)
            if block is not None and block.states[-1][0] <= self.changes:
                block.dirty = False


@dataclass(slots=True)
class _Folder:
    """The names in a folder, as they are and as they are on the disk."""

    names: dict[str, _File | _Folder] = field(default_factory=dict)
    durable: dict[str, _File | _Folder] = field(default_factory=dict)
    changed: list[dict[str, _File | _Folder]] = field(default_factory=list)
    # How many changes are on the disk.
    synced: int = 0

    def put(self, name: str, entry: _File | _Folder) -> None:
        self._change({**self.names, name: entry})

    def remove(self, name: str) -> None:
        self._change({other: self.names[other] for other in self.names if other != name})

    def rename(self, name: str, other: str) -> None:
        names = {**self.names, other: self.names[name]}
        del names[name]
        self._change(names)

    def _change(self, names: dict[str, _File | _Folder]) -> None:
        self.names = names
        self.changed.append(names)

    def begin_sync(self) -> _FolderSync:
        return _FolderSync(self, self.synced + len(self.changed))

    def write_image(self, folder: Path, rng: random.Random, share: float) -> None:
        names = rng.choice([self.durable, *self.changed])
        if share in (0.0, 1.0):
            names = self.names if share else self.durable
        for name, entry in names.items():
            if isinstance(entry, _Folder):
                (folder / name).mkdir()
                entry.write_image(folder / name, rng, share)
            else:
                (folder / name).write_bytes(entry.image(rng, share))


@dataclass(frozen=True, slots=True)
class _FolderSync:
    """What a sync of a folder is for: its first `changes` changes."""

    folder: _Folder
    changes: int

    def done(self) -> None:
        folder, new = self.folder, self.changes - self.folder.synced
        # A sync that began later may have been faster.
        if new > 0:
            folder.durable = folder.changed[new - 1]
            del folder.changed[:new]
            folder.synced = self.changes

    def failed(self) -> None:
        pass


class Disk:
    """The files of one folder and those in it, as they are cached and as they are on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = _Folder()
        self._syncs: dict[int, _Sync | _FolderSync] = {}

    def play(self, record: Record) -> None:
        """Do what was recorded."""
        name = record.path.name
        match record.kind:
            case "C":
                self._parent(record.path).put(name, _File())
            case "K":
                self._parent(record.path).put(name, _Folder())
            case "U":
                self._parent(record.path).remove(name)
            case "R":
                self._parent(record.path).rename(name, Path(os.fsdecode(record.data)).name)
            case "W":
                self._file(record.path).write(record.offset, record.data)
            case "T":
                self._file(record.path).cut(record.offset)
            case "S":
                self._syncs[record.offset] = self._entry(record.path).begin_sync()
            case "D":
                self._syncs.pop(record.offset).done()
            case "F":
                self._syncs.pop(record.offset).failed()

    def _entry(self, path: Path) -> _File | _Folder:
        if path == self._folder:
            return self._root
        return self._parent(path).names[path.name]

    def _parent(self, path: Path) -> _Folder:
        parent = self._entry(path.parent)
        assert isinstance(parent, _Folder)
        return parent

    def _file(self, path: Path) -> _File:
        file = self._entry(path)
        assert isinstance(file, _File)
        return file

    def write_image(self, folder: Path, rng: random.Random) -> None:
        """Write what a loss of power at this moment may leave to the empty `folder`."""
        share = rng.choice((0.0, 1.0, *[rng.random()] * 4))
        self._root.write_image(folder, rng, share)
