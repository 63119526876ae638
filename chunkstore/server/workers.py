"""Several worker processes that serve one store on one port, and their supervisor.

The supervisor listens and forks the workers, which accept connections from the same socket; the
kernel gives each connection to one of them. A worker that dies is replaced. Each has an equal part
of the memory that the configuration allows, and counts its own connections.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from chunkstore.core.errors import ChunkstoreError
from chunkstore.server.config import ServeConfig
from chunkstore.server.overseer import Overseer
from chunkstore.server.process import Shared, load_certificate, serve, sharing
from chunkstore.server.run import fail, run

_logger = logging.getLogger(__name__)

# Forked workers share the pages of the loaded program, and start at once.
_PROCESSES: Final = multiprocessing.get_context("fork")
_PAUSE_SECONDS: Final = 1.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# A worker that is so many of its beats late does not work.
_BEATS_MISSED: Final = 4

# What a worker tells.
_READY: Final = "ready"
_RELOADED: Final = "reloaded"
_BEAT: Final = "beat"


def supervise(config: ServeConfig, announce: Callable[[str], None], overseer: Overseer) -> None:
    """Serve by `config.workers` processes until SIGTERM or SIGINT.

    Call `announce` with the URL once all of them answer requests, and tell `overseer`. If they
    cannot start, the first of them says why, and the exit status is 1.
    """
    try:
        # Each worker loads the certificate again; said here, it is said once.
        load_certificate(config)
        with sharing(config) as shared:
            _Supervisor(config, shared, overseer).run(announce)
    except ChunkstoreError as error:
        fail(str(error))


class _ToSupervisor(Overseer):
    """The supervisor, as a worker knows it."""

    reloads = True

    def __init__(self, pipe: Connection, beat_seconds: float | None) -> None:
        self._pipe = pipe
        self.beat_seconds = beat_seconds

    def reloaded(self) -> None:
        self._tell(_RELOADED)

    def beat(self) -> None:
        self._tell(_BEAT)

    def announce(self, url: str) -> None:
        """Tell that requests are answered at the URL."""
        self._tell(_READY, url)

    def _tell(self, *message: str) -> None:
        # A supervisor that is gone ends its workers by the lifeline.
        with suppress(OSError):
            self._pipe.send(message)


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    url: str | None = None
    heard: float = 0.0
    is_reloading: bool = False
    is_open: bool = True

    def hear(self) -> None:
        """Take the next message."""
        try:
            kind, *values = self.pipe.recv()
        except (EOFError, OSError):
            self.is_open = self.is_reloading = False
            return
        self.heard = time.monotonic()
        if kind == _READY:
            self.url = values[0]
        elif kind == _RELOADED:
            self.is_reloading = False


class _Supervisor:
    def __init__(self, config: ServeConfig, shared: Shared, overseer: Overseer) -> None:
        self._config = replace(config, memory=max(1, config.memory // config.workers))
        self._shared = shared
        self._overseer = overseer
        self._workers: dict[int, _Worker] = {}
        self._stopping = False
        self._is_reloading = False
        self._next_beat = 0.0
        # When this process ends, however that happens, the pipe is closed and the workers stop.
        self._lifeline = os.pipe()

    def run(self, announce: Callable[[str], None]) -> None:
        reloads = self._config.tls_cert is not None or self._overseer.reloads
        # It is inherited by workers, until they have handlers of their own.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if reloads else signal.SIG_DFL)
        self._start(0)
        url = self._wait_until_ready(0)
        if url is None:
            # The worker has said why; the others would say the same.
            sys.exit(1)
        others = range(1, self._config.workers)
        for number in others:
            self._start(number)
        if None in [self._wait_until_ready(number) for number in others]:
            self._stop_all()
            sys.exit(1)
        for each in _SIGNALS:
            signal.signal(each, lambda *_: self._stop_all())
        if reloads:
            signal.signal(signal.SIGHUP, lambda *_: self._reload_all())
        announce(url)
        self._overseer.ready(f"Serving at {url} by {self._config.workers} workers")
        self._watch()

    def _start(self, number: int) -> None:
        pipe, tell = _PROCESSES.Pipe(duplex=False)
        process = _PROCESSES.Process(target=self._work, args=(number, tell))
        blocked = (*_SIGNALS, signal.SIGHUP)
        # A signal is blocked until the worker has handlers of its own, or meets the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        tell.close()
        self._workers[number] = _Worker(process, pipe)

    def _wait_until_ready(self, number: int) -> str | None:
        worker = self._workers[number]
        while worker.is_open and worker.url is None:
            worker.hear()
        return worker.url

    def _work(self, number: int, tell: Connection) -> None:
        """Run a worker; number 0 also does the maintenance."""
        # In a process group of its own, so that Ctrl-C reaches it only through the supervisor.
        os.setpgid(0, 0)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_SIGNALS, signal.SIGHUP))
        os.close(self._lifeline[1])
        supervisor = _ToSupervisor(tell, self._overseer.beat_seconds)
        run(
            serve(
                self._config,
                supervisor.announce,
                shared=self._shared,
                number=number,
                lifeline=self._lifeline[0],
                overseer=supervisor,
            ),
            self._config.db,
        )

    def _watch(self) -> None:
        while self._workers:
            told = [worker.pipe for worker in self._workers.values() if worker.is_open]
            ends = [worker.process.sentinel for worker in self._workers.values()]
            ready = wait([*ends, *told], self._beat())
            for number, worker in list(self._workers.items()):
                if worker.pipe in ready:
                    worker.hear()
                if worker.process.sentinel in ready:
                    self._replace(number, worker)
            if self._is_reloading and not any(map(_is_reloading, self._workers.values())):
                self._is_reloading = False
                self._overseer.reloaded()

    def _beat(self) -> float | None:
        """Tell the overseer in time that all workers run; return when to do so again."""
        seconds = self._overseer.beat_seconds
        if seconds is None:
            return None
        now = time.monotonic()
        if now >= self._next_beat and _all_run(self._workers.values(), now, seconds):
            self._overseer.beat()
            self._next_beat = now + seconds
        return min(seconds, max(0.0, self._next_beat - now)) or seconds

    def _replace(self, number: int, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        del self._workers[number]
        if self._stopping:
            return
        _logger.error(
            "A worker ended with status %s; another takes its place.", worker.process.exitcode
        )
        # A worker that cannot start, because the database is away, is not retried all the time.
        time.sleep(_PAUSE_SECONDS)
        self._start(number)
        if self._stopping:
            self._stop_all()

    def _reload_all(self) -> None:
        """Ask all workers that are ready to reload; the others load what there is."""
        if self._stopping:
            return
        self._overseer.reloading()
        self._is_reloading = True
        for worker in self._workers.values():
            if worker.url is not None and worker.process.pid is not None and worker.is_open:
                worker.is_reloading = True
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGHUP)

    def _stop_all(self) -> None:
        """Ask all workers to stop; asked again, they stop at once."""
        self._stopping = True
        self._overseer.stopping("Running requests may finish.")
        for worker in self._workers.values():
            worker.process.terminate()


def _is_reloading(worker: _Worker) -> bool:
    return worker.is_reloading


def _all_run(workers: Iterable[_Worker], now: float, beat_seconds: float) -> bool:
    """Whether no worker that has answered requests is silent."""
    most = _BEATS_MISSED * beat_seconds
    return all(worker.url is None or now - worker.heard < most for worker in workers)
