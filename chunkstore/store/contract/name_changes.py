"""The capability to tell which files a change is about before anybody can see the change.

By it, what was looked up can be kept and used again without being stale. A store has it only where
no other process changes names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class NameWatcher(Protocol):
    """Is told of changes, on any thread. It must not wait for anything, nor raise an error."""

    def changing(self, names: Collection[str] | None) -> None:
        """Take note that files of these names are about to change, None standing for all names.

        A look-up that begins before `changed` is called may see them as they were or as they will
        be. The change may still fail, and then be announced again.
        """

    def changed(self) -> None:
        """Take note that all that was announced has ended: look-ups from now on see its outcome."""


class NameChanges(ABC):
    """The changes of names in a store that this process alone writes to."""

    @abstractmethod
    def watched_by(self, watcher: NameWatcher) -> AbstractAsyncContextManager[None]:
        """Tell `watcher` of each change within a context, before anybody else can see it."""
