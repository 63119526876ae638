"""What every work needs: sizes, files to send, and folders with something in them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from benchmarks import load
from benchmarks.figures import Figure
from benchmarks.generator import Generator
from benchmarks.machine import KIB, write_random
from benchmarks.subjects import Running, Subject, discard, running, with_options

SMALL_SIZE: Final = 4 * KIB
RANGE_SIZE: Final = 64 * KIB
PIECE_SIZE: Final = 256 * KIB
LARGE: Final = "large"
HUGE: Final = "huge"
NAMES: Final = "names"
# How many large files are made to be sent, at most: see `news` and `version`.
SENT_FILES: Final = 7
_TINY: Final = b"x"
_SEED: Final = 20260101


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. Sizes are bytes, `slow_rate` bytes a second."""

    large: int
    huge: int
    ranges: int
    first_bytes: int
    clients: Sequence[int]
    small_files: int
    slow: int
    slow_seconds: float
    names: Sequence[int]
    grown: int
    grown_names: int
    changed: float = 0.02
    slow_rate: int = 64 * KIB
    lists: int = 20


@dataclass(frozen=True, slots=True)
class Stage:
    """Where works find what they send and what they read. All of it lies below `folder`."""

    folder: Path
    sizes: Sizes
    generator: Generator
    random: Random

    @classmethod
    def build(cls, folder: Path, sizes: Sizes, generator: Generator) -> Stage:
        """Return a stage on which nothing stands yet."""
        return cls(folder, sizes, generator, Random(_SEED))

    def source(self, name: str) -> Path:
        """Return the file that is sent as LARGE or HUGE."""
        return self.news(1, self.sizes.huge if name == HUGE else self.sizes.large)[0]

    def news(self, count: int, size: int) -> list[Path]:
        """Return files of `size` random bytes, to be sent as new ones; made once."""
        paths = [self.folder / f"source-new-{size}-{number}" for number in range(count)]
        for path in paths:
            if not path.exists():
                write_random(path, size)
        return paths

    def version(self) -> Path:
        """Return the next version of LARGE: pieces of 256 KiB, anywhere in it, are others."""
        path = self.folder / "source-version"
        if not path.exists():
            shutil.copyfile(self.source(LARGE), path)
            self._change(path)
        return path

    def _change(self, path: Path) -> None:
        size = path.stat().st_size
        piece = min(PIECE_SIZE, size)
        with path.open("r+b") as file:
            for _ in range(max(1, round(size * self.sizes.changed / piece))):
                file.seek(self.random.randrange(size - piece + 1))
                file.write(os.urandom(piece))
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Yield a folder for a subject that begins with nothing."""
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def planted(self, subject: Subject) -> Path:
        """Return a subject's folder that has in it what was planted there."""
        return self.folder / f"planted-{subject.name.replace(' ', '_').replace('/', '_')}"

    @contextmanager
    def serving(
        self, subject: Subject, plants: Sequence[str], options: Sequence[str] = ()
    ) -> Iterator[Running]:
        """Serve what was planted, or without plants a fresh folder."""
        if plants:
            files = [plant for plant in plants if plant != NAMES]
            with running(subject, self.planted(subject), files[0] if files else "") as server:
                yield server
            return
        with self.fresh() as folder:
            try:
                with running(with_options(subject, options), folder) as server:
                    yield server
            finally:
                discard(subject, folder)

    def plant(self, subject: Subject, plants: Iterable[str]) -> None:
        """Put LARGE, HUGE or NAMES (many tiny files in folders) into a subject's folder."""
        folder = self.planted(subject)
        (folder / "files").mkdir(parents=True)
        if subject.plain_files:
            for plant in plants:
                self._make(folder / "files", plant)
            return
        with running(subject, folder) as server:
            for plant in plants:
                self._send(server, plant)

    def _make(self, folder: Path, plant: str) -> None:
        if plant != NAMES:
            os.link(self.source(plant), folder / plant)
            return
        for count in self.sizes.names:
            target = folder / names_folder(count)
            target.mkdir()
            for name in _numbered(count):
                (target / name).write_bytes(_TINY)

    def _send(self, server: Running, plant: str) -> None:
        if plant != NAMES:
            server.upload(plant, self.source(plant))
            return
        for count in self.sizes.names:
            for batch in load.batches(_numbered(count)):
                contents = [(name, _TINY) for name in batch]
                load.put_form(server.port, names_folder(count), contents)


def names_folder(count: int) -> str:
    """Return the name of the folder that has `count` tiny files."""
    return f"names{count}"


def _numbered(count: int) -> list[str]:
    return [f"name{index:07}" for index in range(count)]


@dataclass(frozen=True, slots=True)
class Task:
    """Works that are done together; `about` says for people what they are.

    `measure` has a running server do them once. `plants` is what its folder has in it before; a
    task without any has a fresh folder, and a server of its own with more `options`. A subject
    keeps so many `large_files` for them at most. `refuses` returns why a subject cannot do them, or
    nothing.
    """

    name: str
    about: str
    measure: Callable[[Stage, Running], Iterator[Figure]]
    plants: Sequence[str] = ()
    options: Sequence[str] = ()
    large_files: int = 0
    refuses: Callable[[Subject], str] = lambda _subject: ""


def refuse_without_ranges(subject: Subject) -> str:
    """Say why a subject that knows no ranges is not asked for one."""
    return "" if subject.dialect.ranges else "answers no ranges"
