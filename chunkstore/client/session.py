"""What the transfers of one command or program share: servers, threads, the digest cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from platformdirs import user_state_path

from chunkstore.client.cache import DigestCache
from chunkstore.client.places import Place, RemotePlace, parse_place
from chunkstore.client.reading import HASHING_THREADS
from chunkstore.client.remotes import read_remotes
from chunkstore.client.reporting import Reporter, Silent
from chunkstore.client.server.server import Server
from chunkstore.client.settings import Settings


class Session:
    """A context in which files are transferred; its methods may be called from any thread.

    Without `use_cache` every file is read anew, and nothing is kept of it.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        reporter: Reporter | None = None,
        use_cache: bool = True,
        cache: DigestCache | None = None,
        state: Path | None = None,
    ) -> None:
        """`state` is the folder that has the URLs of unfinished uploads."""
        self.settings = settings or Settings.from_environment()
        self.reporter: Reporter = reporter or Silent()
        self.cache = (cache or DigestCache()) if use_cache else None
        self.state = state or user_state_path("chunkstore") / "uploads"
        # Of single requests, and of blocks; none of their tasks waits for another.
        self.requests = ThreadPoolExecutor(self.settings.connections, "chunkstore-request")
        self.hashers = ThreadPoolExecutor(HASHING_THREADS, "chunkstore-hash")
        # A stream has a connection that it waits on, while requests that it waits for need others.
        self.streams = threading.Semaphore(self.settings.connections // 2)
        self._servers: dict[tuple[str, str], Server] = {}
        self._lock = threading.Lock()

    def place(self, text: str) -> Place:
        """Parse a place, as users write it.

        Raises:
            InvalidPlace: it is none.
        """
        return parse_place(text, self._remotes, self.settings.url)

    def server(self, place: RemotePlace) -> Server:
        """Return the server that a place is on, always the same.

        Raises:
            InvalidPlace: its URL cannot be used.
        """
        with self._lock:
            key = place.base, place.folder
            if key not in self._servers:
                server = self._servers[key] = Server.of(place, self.settings)
                server.transport.warn = self.reporter.warned
            return self._servers[key]

    @contextmanager
    def transfers(self) -> Iterator[ThreadPoolExecutor]:
        """Give threads for whole files; those that wait are given up if the context fails."""
        pool = ThreadPoolExecutor(self.settings.transfers, "chunkstore-transfer")
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def close(self) -> None:
        """End all threads once they have done what is under way, and close all connections."""
        for pool in (self.requests, self.hashers):
            pool.shutdown(cancel_futures=True)
        for server in self._servers.values():
            server.close()
        if self.cache is not None:
            self.cache.close()

    def stop(self) -> None:
        """Have all transfers fail at their next step, from any thread."""
        for server in list(self._servers.values()):
            server.transport.stop()

    @cached_property
    def _remotes(self) -> Mapping[str, str]:
        return read_remotes()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.stop()
        self.close()
