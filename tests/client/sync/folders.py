"""A folder of this machine and one of a server, which tests fill and sync."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from chunkstore.client.cache import DigestCache
from chunkstore.client.places import LocalPlace, RemotePlace
from chunkstore.client.reporting import Silent
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from chunkstore.client.settings import Settings
from chunkstore.client.sync.plan import Plan, PlanRules
from chunkstore.client.sync.sync import Sync, Synced, SyncOptions

DELETING = SyncOptions(PlanRules(delete=True))


class Notes(Silent):
    """Notes what a reporter is told."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.warnings: list[str] = []
        self.moved: Counter[str] = Counter()
        self.spared_sizes: Counter[str] = Counter()
        self.done: list[str] = []

    def transferred(self, name: str, size: int, wire_size: int) -> None:
        self.moved[name] += size

    def spared(self, name: str, size: int) -> None:
        self.spared_sizes[name] += size

    def finished(self, name: str) -> None:
        self.done.append(name)

    def failed(self, name: str, error: Exception) -> None:
        self.failures[name] = error

    def warned(self, message: str) -> None:
        self.warnings.append(message)


class Folders:
    """The folder `name` of the server at `url`, and a folder of this machine within `tmp_path`."""

    def __init__(self, url: str, name: str, tmp_path: Path) -> None:
        self.url = url
        self.name = name
        self.root = tmp_path / "root"
        self.root.mkdir()
        self.cache = tmp_path / "cache.db"
        self.state = tmp_path / "state"
        self.server = Server(url, Settings())

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    @property
    def here(self) -> LocalPlace:
        """The place of the folder here."""
        return LocalPlace(self.root)

    @property
    def there(self) -> RemotePlace:
        """The place of the folder on the server."""
        return RemotePlace(self.url, self.name)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files here, old enough to be kept by the digest cache."""
        then = time.time_ns() - 3_600_000_000_000
        for name, content in contents.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(then, then))

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Put files there."""
        for name, content in contents.items():
            self.server.files.put(self.name + name, content, len(content))

    def read_here(self) -> dict[str, bytes]:
        """Return all files here."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def read_there(self) -> dict[str, bytes]:
        """Return all files there."""
        found = {}
        for file in self.server.files.walk(self.name):
            with self.server.files.get(file.name) as answer:
                found[file.name.removeprefix(self.name)] = answer.read()
        return found

    def session(self, notes: Notes) -> Session:
        """Return a session that tells `notes` what it does."""
        return Session(Settings(), reporter=notes, cache=DigestCache(self.cache), state=self.state)

    def up(self, options: SyncOptions = DELETING) -> tuple[Plan, Notes, Synced]:
        """Make the folder there like the one here."""
        return self._sync(self.here, self.there, options)

    def down(self, options: SyncOptions = DELETING) -> tuple[Plan, Notes, Synced]:
        """Make the folder here like the one there."""
        return self._sync(self.there, self.here, options)

    def _sync(
        self, source: LocalPlace | RemotePlace, target: LocalPlace | RemotePlace,
        options: SyncOptions,
    ) -> tuple[Plan, Notes, Synced]:  # fmt: skip
        notes = Notes()
        with self.session(notes) as session:
            sync = Sync(session, source, target, options)
            plan = sync.make_plan()
            return plan, notes, sync.carry_out(plan)


def environment_in(folder: Path) -> dict[str, str]:
    """Return the settings by which the client keeps its own files within `folder`."""
    return {
        f"XDG_{kind}_HOME": str(folder / kind.lower())
        for kind in ("CACHE", "CONFIG", "STATE", "DATA")
    }
