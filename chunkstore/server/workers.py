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
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from chunkstore.core.errors import ChunkstoreError
from chunkstore.server.config import ServeConfig
from chunkstore.server.process import listen, serve
from chunkstore.server.run import fail, run

_logger = logging.getLogger(__name__)

# Forked workers share the pages of the loaded program, and start at once.
_PROCESSES: Final = multiprocessing.get_context("fork")
_PAUSE_SECONDS: Final = 1.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def supervise(config: ServeConfig, announce: Callable[[str], None]) -> None:
    """Serve by `config.workers` processes until SIGTERM or SIGINT.

    Call `announce` with the URL once all of them answer requests. If they cannot start, the first
    of them says why, and the exit status is 1.
    """
    try:
        listening = listen(config)
    except ChunkstoreError as error:
        fail(str(error))
    _Supervisor(config, listening).run(announce)


class _Supervisor:
    def __init__(self, config: ServeConfig, listening: socket.socket) -> None:
        self._config = replace(config, memory=max(1, config.memory // config.workers))
        self._listening = listening
        self._workers: dict[int, tuple[BaseProcess, Connection]] = {}
        self._stopping = False
        # When this process ends, however that happens, the pipe is closed and the workers stop.
        self._lifeline = os.pipe()

    def run(self, announce: Callable[[str], None]) -> None:
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
        announce(url)
        self._watch()

    def _start(self, number: int) -> None:
        ready, tell = _PROCESSES.Pipe(duplex=False)
        worker = _PROCESSES.Process(target=self._work, args=(number, tell))
        # A signal is blocked until the worker has handlers of its own, or meets the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        worker.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        tell.close()
        self._workers[number] = (worker, ready)

    def _wait_until_ready(self, number: int) -> str | None:
        _, ready = self._workers[number]
        try:
            return str(ready.recv())
        except EOFError:
            return None

    def _work(self, number: int, tell: Connection) -> None:
        """Run a worker; number 0 also does the maintenance."""
        # In a process group of its own, so that Ctrl-C reaches it only through the supervisor.
        os.setpgid(0, 0)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(self._lifeline[1])
        run(
            serve(
                self._config,
                tell.send,
                listening=self._listening,
                maintenance=number == 0,
                lifeline=self._lifeline[0],
            ),
            self._config.db,
        )

    def _watch(self) -> None:
        while self._workers:
            ended = wait([worker.sentinel for worker, _ in self._workers.values()])
            for number, (worker, ready) in list(self._workers.items()):
                if worker.sentinel in ended:
                    self._replace(number, worker, ready)

    def _replace(self, number: int, worker: BaseProcess, ready: Connection) -> None:
        worker.join()
        ready.close()
        del self._workers[number]
        if self._stopping:
            return
        _logger.error("A worker ended with status %s; another takes its place.", worker.exitcode)
        # A worker that cannot start, because the database is away, is not retried all the time.
        time.sleep(_PAUSE_SECONDS)
        self._start(number)
        if self._stopping:
            self._stop_all()

    def _stop_all(self) -> None:
        """Ask all workers to stop; asked again, they stop at once."""
        self._stopping = True
        for worker, _ in self._workers.values():
            worker.terminate()
