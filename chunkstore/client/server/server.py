"""A server: its files, and chunks where it knows of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from chunkstore.client.credentials import without_credentials
from chunkstore.client.places import FILES, RemotePlace
from chunkstore.client.server.chunks import Chunks
from chunkstore.client.server.files import Files, post_batch
from chunkstore.client.server.values import Abilities
from chunkstore.client.settings import Settings
from chunkstore.client.transport import Transport


class Server:
    """The server at `base`, which ends in `/`; its methods may be called from any thread.

    Nothing is sent before the first request. As a context it closes its connections.
    """

    def __init__(self, base: str, settings: Settings, folder: str = FILES) -> None:
        """`folder` is where its files are below `base`, as in `RemotePlace`.

        Raises:
            InvalidPlace: the URL cannot be used.
        """
        self.settings = settings
        self.base = without_credentials(base)
        self.transport = Transport(base, settings)
        is_foreign = folder != FILES
        self.files = Files(
            self.transport, f"{self.base}{folder}", None if is_foreign else self.base
        )
        self.chunks = Chunks(self.transport, self.base)
        # Whether bodies of any length reach it, for all that is known.
        self.takes_streams = True
        self._is_foreign = is_foreign
        self._lock = threading.Lock()
        self._abilities: Abilities | None = None
        self._asked = False

    @classmethod
    def of(cls, place: RemotePlace, settings: Settings) -> Server:
        """Return the server that a place is on.

        Raises:
            InvalidPlace: its URL cannot be used.
        """
        return cls(place.base, settings, place.folder)

    @property
    def abilities(self) -> Abilities | None:
        """What it can do, asked once; None if it does not know of chunks.

        Raises:
            ServerAway: it cannot be reached.
        """
        with self._lock:
            if not self._asked and not self._is_foreign:
                self._abilities = self.chunks.find_abilities()
                self._asked = True
            return self._abilities

    def batch(self, edits: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
        """Make several edits in one transaction; return what each came to (`docs/http.md`).

        Raises:
            ClientError: one failed, so none was made; or the server refuses or is away.
        """
        return post_batch(self.transport, self.base, edits)

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
