"""Load from processes of their own, which are there before anything is timed.

`python -m benchmarks.generator` holds the load generator against wrk and curl, on nginx: what it
gets out of the fastest of the servers is more than it will ever see from the others.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, takewhile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Final, Protocol, TypeVar

from benchmarks import clients, load
from benchmarks.dialects import Dialect
from benchmarks.machine import MB, describe_machine, seconds, write_random
from benchmarks.peers import NGINX
from benchmarks.subjects import Running, Unavailable, running

_TICK_SECONDS: Final = 0.1
_WARM_TICKS: Final = 20
_TRIES: Final = 3
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Job(Protocol[T_co]):
    """Something that a process prepares, and does when it is told to."""

    def prepare(self) -> Callable[[Connection], T_co]:
        """Make all ready; return what is to be done, which may listen to its parent."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds that each request took, that all took together, and of the generator's processor."""

    latencies: list[float]
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Requests:
    """Puts, of `size` random bytes, gets of files of that size, or deletes, by `clients` at once.

    With a `folder` each client syncs the file in it that was put before it sends the next one.
    """

    port: int
    dialect: Dialect
    method: str
    names: Sequence[str]
    size: int
    clients: int
    folder: Path | None = None

    def prepare(self) -> Callable[[Connection], Burst]:
        """Connect; return what sends the requests."""
        makers = {"PUT": self._put, "GET": self.dialect.get, "DELETE": self.dialect.delete}
        requests = [makers[self.method](name) for name in self.names]
        size = self.size if self.method == "GET" else None
        files = [self.folder / name for name in self.names] if self.folder else []
        ready = clients.open_clients(self.port, requests, self.clients, size, files)
        return lambda _: _timed(ready)

    def _put(self, name: str) -> bytes:
        before, after = self.dialect.put(name, self.size)
        return before + os.urandom(self.size) + after

    def share(self, index: int, count: int) -> Requests:
        """Return the part of one process of `count`."""
        mine = len(range(index, self.clients, count))
        return replace(self, names=self.names[index::count], clients=mine)


def _timed(ready: Sequence[clients.Client]) -> Burst:
    begun, processor = time.perf_counter(), time.process_time()
    latencies = clients.run(ready)
    return Burst(latencies, time.perf_counter() - begun, time.process_time() - processor)


@dataclass(frozen=True, slots=True)
class SlowDownloads:
    """`count` downloads of one file that each take `rate` bytes a second until told to stop."""

    port: int
    dialect: Dialect
    name: str
    count: int
    rate: int

    def prepare(self) -> Callable[[Connection], int]:
        """Begin all downloads, and go on for a while; return what yields the bytes taken."""
        request = self.dialect.get(self.name)
        readers = clients.SlowReaders(self.port, request, self.count, self.rate)
        for _ in range(_WARM_TICKS):
            readers.take(_TICK_SECONDS)
            time.sleep(_TICK_SECONDS)
        return partial(self._run, readers)

    @staticmethod
    def _run(readers: clients.SlowReaders, parent: Connection) -> int:
        while True:
            readers.take(_TICK_SECONDS)
            if parent.poll(_TICK_SECONDS):
                parent.recv()
                readers.close()
                if not readers.taken:
                    raise RuntimeError("the slow downloads got nothing")
                return readers.taken


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds that each put and each get took."""

    puts: Sequence[float]
    gets: Sequence[float]


@dataclass(frozen=True, slots=True)
class SmallRequests:
    """One client that puts new files of `size` bytes, and one that gets any of them, until told.

    Each sends its next request when it has its answer.
    """

    port: int
    dialect: Dialect
    size: int
    folder: str = "beside"

    def prepare(self) -> Callable[[Connection], Waits]:
        """Put a first file, so that there is one to get."""
        clients.run([clients.Client(self.port, iter([self._put(0)]), None)])
        return self._run

    def _run(self, parent: Connection) -> Waits:
        def goes_on(number: int) -> bool:
            return number == 1 or not parent.poll()

        random = Random()
        put = clients.Client(self.port, map(self._put, takewhile(goes_on, count(1))), None)
        numbers = (random.randint(0, len(put.latencies)) for _ in takewhile(goes_on, count(1)))
        get = clients.Client(self.port, map(self._get, numbers), self.size)
        clients.run([put, get])
        parent.recv()
        return Waits(put.latencies, get.latencies)

    def _put(self, number: int) -> bytes:
        before, after = self.dialect.put(f"{self.folder}-{number}", self.size)
        return before + os.urandom(self.size) + after

    def _get(self, number: int) -> bytes:
        return self.dialect.get(f"{self.folder}-{number}")


def _work(parent: Connection) -> None:
    """Do jobs until the parent goes away: say when one is ready, wait for the word, do it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            job: Job[object] = parent.recv()
        except (EOFError, ConnectionError):
            return
        try:
            act = job.prepare()
            parent.send(None)
            parent.recv()
            parent.send(act(parent))
        except Exception as error:
            parent.send(error)


class Generator:
    """Processes that wait for jobs: `size`, and more where a job keeps one waiting."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._grow(size)

    def _grow(self, size: int) -> None:
        context = get_context("spawn")
        while len(self._pipes) < size:
            mine, its = context.Pipe()
            process = context.Process(target=_work, args=(its,), daemon=True)
            process.start()
            its.close()
            self._processes.append(process)
            self._pipes.append(mine)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self._processes if process.pid is not None]

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def burst(self, requests: Requests) -> Burst:
        """Send requests from as many processes as there are, or as there are clients.

        Files are synced by a process for each client, since it waits for each.
        """
        size = requests.clients if requests.folder else min(self.size, requests.clients)
        self._grow(size)
        pipes = self._pipes[:size]
        self._prepare(pipes, [requests.share(index, size) for index in range(size)])
        begun = time.perf_counter()
        for pipe in pipes:
            pipe.send(None)
        shares: list[Burst] = [_answer(pipe) for pipe in pipes]
        taken = time.perf_counter() - begun
        latencies = [latency for share in shares for latency in share.latencies]
        return Burst(latencies, taken, sum(share.processor_seconds for share in shares))

    def run(self, job: Job[T]) -> T:
        """Have one process do a job."""
        pipe = self._pipes[0]
        self._prepare([pipe], [job])
        pipe.send(None)
        answer: T = _answer(pipe)
        return answer

    @contextmanager
    def beside(self, job: Job[T]) -> Iterator[list[T]]:
        """Have one process at a job until the context ends; then its answer is in the list."""
        pipe, answers = self._pipes[0], list[T]()
        self._prepare([pipe], [job])
        pipe.send(None)
        try:
            yield answers
        finally:
            pipe.send(None)
            answers.append(_answer(pipe))

    def _prepare(self, pipes: Sequence[Connection], jobs: Sequence[Job[object]]) -> None:
        for pipe, job in zip(pipes, jobs, strict=True):
            pipe.send(job)
        for pipe in pipes:
            _answer(pipe)


def _answer(pipe: Connection):  # type: ignore[no-untyped-def]  # noqa: ANN202 - of any job
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def generating(size: int) -> Iterator[Generator]:
    """Have `size` processes for the time of a context."""
    generator = Generator(size)
    try:
        yield generator
    finally:
        generator.close()


def default_processes() -> int:
    """Return how many processes there are: half of the cores, so that a server has the others."""
    return max(2, (os.cpu_count() or 1) // 2)


def compare(folder: Path, size: int, files: int) -> Iterator[str]:
    """Yield rows of what curl, wrk and this generator get out of nginx."""
    large = folder / "files" / "large"
    large.parent.mkdir()
    write_random(large, size)
    names = [f"small{index}" for index in range(files)]
    for name in names:
        (large.parent / name).write_bytes(os.urandom(4096))
    with running(NGINX, folder, "large") as server:
        yield from _compare_downloads(server, size)
        yield from _compare_small(server, names)


def _compare_downloads(server: Running, size: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{server.port}/large"
    own = partial(load.download, server.port, "large", size, None, server.subject.dialect)
    ways: dict[str, Callable[[], object]] = {"this generator": own}
    if shutil.which("curl"):
        ways["curl"] = partial(_run, "curl", "-s", "-o", "/dev/null", url)
    for way, act in ways.items():
        act()
        rate, processor = max(_rate(size / MB, act) for _ in range(_TRIES))
        yield _row("download of a large file", way, f"{rate:,.0f} MB/s", processor * 1000, "GB")


def _rate(amount: float, act: Callable[[], object]) -> tuple[float, float]:
    """Return how much was done a second, and the milliseconds of processor for each of it."""
    before = _processor_seconds()
    taken = seconds(act)
    return amount / taken, (_processor_seconds() - before) * 1000 / amount


def _processor_seconds() -> float:
    """Return what this process and those that it has waited for have used."""
    return sum(os.times()[:4])


def _compare_small(server: Running, names: Sequence[str]) -> Iterator[str]:
    work = "GET of 4 KiB, 16 clients"
    for size in (1, 2, 4):
        with generating(size) as generator:
            job = Requests(server.port, server.subject.dialect, "GET", names, 4096, 16)
            burst = min((generator.burst(job) for _ in range(_TRIES)), key=lambda one: one.seconds)
        rate, processor = len(names) / burst.seconds, burst.processor_seconds * 1000 / len(names)
        yield _row(work, f"this generator, processes: {size}", f"{rate:,.0f}/s", processor)
    if shutil.which("wrk"):
        url = f"http://127.0.0.1:{server.port}/{names[0]}"
        before = _processor_seconds()
        told = _run("wrk", "-t", "2", "-c", "16", "-d", "3", url)
        used = _processor_seconds() - before
        rate = float(told.partition("Requests/sec:")[2].split()[0])
        yield _row(work, "wrk, threads: 2", f"{rate:,.0f}/s", used * 1000 / (rate * 3))


def _row(work: str, client: str, rate: str, processor: float, unit: str = "request") -> str:
    return f"| {work} | {client} | {rate} | {processor:.2f} ms/{unit} |"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Run from the command line."""
    try:
        version = NGINX.find_version()
    except Unavailable as reason:
        raise SystemExit(str(reason)) from reason
    print(f"{describe_machine()}, nginx {version}\n")
    print("| work | client | rate | processor of the client |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for row in compare(Path(folder), 256 * 1024**2, 5000):
            print(row, flush=True)


if __name__ == "__main__":
    main()
