"""What is measured of transfers: what a link has to carry, and how long it takes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from blake3 import blake3

from benchmarks.figures import MEMORY, RATE, SECONDS, Figure, Quantity, Work
from benchmarks.link import RunningLink, linked
from benchmarks.machine import KIB, MB, write_random
from benchmarks.subjects import Running, running
from benchmarks.transfers.tools import Cost, Tool, forget_caches
from chunkstore.client.cache import RACY_NANOSECONDS

SENT: Final = Quantity("MB sent", 2)
RECEIVED: Final = Quantity("MB received", 2)
SENT_OF_BOUND: Final = Quantity("sent/bound", 3)
RECEIVED_OF_BOUND: Final = Quantity("received/bound", 3)
SECONDS_OF_BOUND: Final = Quantity("seconds/bound", 2)
CLIENT_PROCESSOR: Final = Quantity("client's processor, s", 2)
SERVER_PROCESSOR: Final = Quantity("server's processor meanwhile, s", 2)
FILES: Final = Quantity("files/s", 0, more_is_better=True)

_CHUNK_SIZE: Final = 256 * KIB
# What a client may tell of a chunk that the server has.
_TOLD_SIZE: Final = 40
_SLACK: Final = 1.02
_SEED: Final = 20260101
_NAME: Final = "image"
_TREE: Final = "tree"
# Of so many files of the tree one is changed.
_CHANGED_FILES: Final = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything: the large file in bytes, the files of a tree, and the link."""

    large: int
    files: int
    bits_per_second: float
    round_trip_seconds: float
    sparse: int
    changed: float = 0.01
    file_size: int = 4 * KIB


@dataclass(frozen=True, slots=True)
class Sources:
    """The files that are sent: `old`, its next version `new`, the tree, and a sparse one."""

    folder: Path
    sizes: Sizes

    def old(self) -> Path:
        """Return the large file, made once."""
        return self._made("old", lambda path: write_random(path, self.sizes.large))

    def new(self) -> Path:
        """Return its next version: chunks anywhere in it are others."""
        return self._made("new", self._change)

    def sparse(self) -> Path:
        """Return a file of zeros, with some bytes at its end."""
        return self._made("sparse", self._make_sparse)

    def tree(self) -> Path:
        """Return a folder of many small files."""
        return self._made(_TREE, self._plant)

    def changed_tree(self) -> tuple[Path, int]:
        """Give some files of the tree other content; return the tree, and how many they are."""
        tree = self.tree()
        files = sorted(path for path in tree.rglob("*") if path.is_file())[::_CHANGED_FILES]
        for path in files:
            path.write_bytes(os.urandom(self.sizes.file_size))
        return tree, len(files)

    def new_bytes(self) -> int:
        """Return how many bytes the chunks have that only the new version has."""
        known = {digest for digest, _ in _chunks(self.old())}
        return sum(
            {digest: size for digest, size in _chunks(self.new()) if digest not in known}.values()
        )

    def chunks(self) -> int:
        """Return how many chunks the large file has."""
        return -(-self.sizes.large // _CHUNK_SIZE)

    def _made(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            make(path)
            # Younger files are read anew each time: they may be changed once more unseen.
            time.sleep(RACY_NANOSECONDS / 1e9)
        return path

    def _change(self, path: Path) -> None:
        shutil.copyfile(self.old(), path)
        random, chunks = Random(_SEED), self.chunks()
        with path.open("r+b") as file:
            for number in random.sample(range(chunks), max(1, round(chunks * self.sizes.changed))):
                file.seek(number * _CHUNK_SIZE)
                file.write(os.urandom(min(_CHUNK_SIZE, self.sizes.large - number * _CHUNK_SIZE)))
            file.flush()
            os.fsync(file.fileno())

    def _make_sparse(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(self.sizes.sparse - KIB)
            file.seek(0, os.SEEK_END)
            file.write(os.urandom(KIB))

    def _plant(self, path: Path) -> None:
        for number in range(self.sizes.files):
            folder = path / f"{number // 1000:03}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:06}").write_bytes(os.urandom(self.sizes.file_size))


def _chunks(path: Path) -> Iterator[tuple[bytes, int]]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_SIZE):
            yield blake3(chunk).digest(), len(chunk)


@dataclass(slots=True)
class Bench:
    """A tool with its server, which has its files in a fresh folder."""

    tool: Tool
    sources: Sources
    server: Running
    scratch: Path

    @contextmanager
    def link(self) -> Iterator[RunningLink]:
        """Put the slow link before the server for the time of a context."""
        sizes = self.sources.sizes
        with linked(
            self.server.port,
            bits_per_second=sizes.bits_per_second,
            round_trip_seconds=sizes.round_trip_seconds,
        ) as link:
            yield link

    def fill(self, source: Path, name: str, port: int | None = None) -> Mapping[str, str]:
        """Return what stands for the names in a command of the tool."""
        port = port or self.server.port
        return {
            "source": str(source),
            "name": name,
            "target": str(self.scratch / "target"),
            "port": str(port),
            "url": f"http://127.0.0.1:{port}",
            "folder": str(self.server.folder),
            "scratch": str(self.scratch),
        }

    def run(self, command: Sequence[str], fill: Mapping[str, str]) -> Cost:
        """Run a command of the tool."""
        return self.tool.run(command, fill, self.server.pid)

    def push(self, source: Path, name: str, port: int | None = None) -> Cost:
        """Send a file."""
        return self.run(self.tool.push, self.fill(source, name, port))

    def pull(self, name: str, port: int | None = None) -> Cost:
        """Fetch a file to the target."""
        return self.run(self.tool.pull, self.fill(self.scratch, name, port))


@contextmanager
def benched(tool: Tool, sources: Sources, folder: Path) -> Iterator[Bench]:
    """Run a tool's server on a fresh folder for the time of a context."""
    with running(tool.server, folder) as server:
        scratch = folder / "client"
        scratch.mkdir()
        bench = Bench(tool, sources, server, scratch)
        if tool.prepare:
            bench.run(tool.prepare, bench.fill(scratch, _NAME))
        yield bench


def over_loopback(bench: Bench) -> Iterator[Figure]:
    """Push what is new and what is known, and pull it, with nothing but the machine between."""
    sources, size = bench.sources, bench.sources.sizes.large
    old = sources.old()
    yield from _rated(
        "push-new", f"push, all new ({size // MB} MB), loopback", bench.push(old, _NAME), size
    )
    known = bench.push(old, _NAME)
    yield from _rated("push-known", "push of what is there, digests known", known, size)
    forget_caches(bench.scratch)
    cold = bench.push(old, _NAME)
    yield from _rated("push-known-cold", "push of what is there, nothing known", cold, size)
    if bench.tool.pull:
        # Or the file that was pushed would be copied.
        forget_caches(bench.scratch)
        yield from _rated("pull-new", "pull, all new, loopback", bench.pull(_NAME), size)
        (bench.scratch / "target").unlink()


def over_link(bench: Bench) -> Iterator[Figure]:
    """Push what is known, and the next version, over the slow link."""
    sources, sizes = bench.sources, bench.sources.sizes
    bench.push(sources.old(), _NAME)
    told = _TOLD_SIZE * sources.chunks()
    works = (
        ("link-known", "push of what is there, over the link", sources.old(), 0),
        (
            "link-changed",
            "push of a version that differs in 1 %, over the link",
            sources.new(),
            sources.new_bytes(),
        ),
    )
    for key, title, source, new in works:
        with bench.link() as link:
            cost = bench.push(source, _NAME, link.port)
            sent = link.carried()[0]
        work = Work(key, title)
        bound = _SLACK * new + told
        yield from _carried(work, cost, SENT, sent)
        yield Figure(work, SENT_OF_BOUND, sent / bound)
        yield Figure(
            work, SECONDS_OF_BOUND, cost.seconds / (1.2 * bound * 8 / sizes.bits_per_second + 2)
        )


def back_over_link(bench: Bench) -> Iterator[Figure]:
    """Pull a file, and then its next version, over the slow link."""
    sources = bench.sources
    bench.push(sources.old(), _NAME)
    bench.pull(_NAME)
    bench.push(sources.new(), _NAME)
    # Or the file that was pushed would be copied; what was pulled is there to begin with.
    forget_caches(bench.scratch)
    with bench.link() as link:
        cost = bench.pull(_NAME, link.port)
        received = link.carried()[1]
    work = Work("pull-changed", "pull of a version that differs in 1 %, over the link")
    yield from _carried(work, cost, RECEIVED, received)
    yield Figure(work, RECEIVED_OF_BOUND, received / (1.05 * sources.new_bytes()))


def trees(bench: Bench) -> Iterator[Figure]:
    """Push a folder of small files, then when all of it is there, then when some were changed."""
    if bench.tool.push_tree is None:
        return
    tree, files = bench.sources.tree(), bench.sources.sizes.files
    fill = bench.fill(tree, _TREE)
    for key, title in (
        ("tree-new", f"tree of {files:,} files of 4 KiB, all new"),
        ("tree-unchanged", "the same tree, unchanged"),
    ):
        cost = bench.run(bench.tool.push_tree, fill)
        work = Work(key, title)
        yield from _counted(work, cost, files)
    _, changed = bench.sources.changed_tree()
    work = Work("tree-changed", "the same tree, a quarter of the files replaced")
    yield from _counted(work, bench.run(bench.tool.push_tree, fill), changed)


def _counted(work: Work, cost: Cost, files: int) -> Iterator[Figure]:
    yield Figure(work, FILES, files / cost.seconds)
    yield Figure(work, SECONDS, cost.seconds)
    yield from _used(work, cost)


def sparse(bench: Bench) -> Iterator[Figure]:
    """Push a huge file that is nearly all zeros: what a client's memory comes to."""
    size = bench.sources.sizes.sparse
    cost = bench.push(bench.sources.sparse(), "sparse")
    yield from _rated("push-huge", f"push of {size // 1024**3} GiB, nearly all zeros", cost, size)


def _rated(key: str, title: str, cost: Cost, size: int) -> Iterator[Figure]:
    work = Work(key, title)
    yield Figure(work, RATE, size / cost.seconds / MB)
    yield Figure(work, SECONDS, cost.seconds)
    yield from _used(work, cost)


def _used(work: Work, cost: Cost) -> Iterator[Figure]:
    yield Figure(work, CLIENT_PROCESSOR, cost.client_seconds)
    yield Figure(work, SERVER_PROCESSOR, cost.server_seconds)
    yield Figure(work, MEMORY, cost.memory / 1024**2)


def _carried(work: Work, cost: Cost, quantity: Quantity, size: int) -> Iterator[Figure]:
    yield Figure(work, SECONDS, cost.seconds)
    yield Figure(work, quantity, size / MB)
    yield from _used(work, cost)
