"""The contract of maintenance: collection, scrubs, health and statistics.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from chunkstore.core.periodic import Periodic
from chunkstore.store.contract.reports import (
    Collected,
    Copied,
    Health,
    Scrubbed,
    ScrubReport,
    Stats,
)


class Maintenance(ABC):
    """What operators and background tasks do with a store."""

    @property
    def tasks(self) -> Sequence[Periodic]:
        """The store's own background tasks, so that their state can be shown."""
        return ()

    @abstractmethod
    def collect(self, grace_seconds: float, *, dry_run: bool = False) -> AsyncIterator[Collected]:
        """Remove what no file and no upload needs; yield what each short transaction removed.

        Expired uploads are removed first. Manifests without a file and chunks without a manifest
        stay while they are younger than `grace_seconds`. Freed space is returned to the file system
        where the database can. Any number of collections and other calls may run meanwhile. A
        `dry_run` removes nothing and yields what would be removed.
        """

    async def compact(self) -> None:
        """Rewrite what wastes space in the form that it has, slowly enough to leave room to others.

        Harmless when broken off, and where another call is under way. A store that has no such form
        does nothing.
        """
        return

    @abstractmethod
    def scrub(self) -> AsyncIterator[Scrubbed]:
        """Check all chunks and chunk lists; yield what each step of a few MiB found.

        A damaged chunk is marked, so that the next upload that brings it stores it anew; a store
        opened read-only reports it without a mark. Other calls may run meanwhile.
        """

    @abstractmethod
    async def put_scrub_report(self, report: ScrubReport) -> None:
        """Store the report in place of the last one."""

    @abstractmethod
    async def stats(self) -> Stats:
        """Return what the store holds."""

    @abstractmethod
    async def health(self) -> Health:
        """Return whether the store can keep its promises, within a second.

        Raises:
            StoreUnavailable: the database did not answer by then.
        """


class Backups(ABC):
    """The capability of a store to make backups itself; other databases have their own tools."""

    @abstractmethod
    def make(self, destination: str) -> AsyncIterator[Copied]:
        """Make `destination` a store with the files of this one, as they are at one moment.

        Only chunks that it lacks are copied, in steps of a few MiB, each checked; a damaged one is
        copied and reported. Other files in it are removed. Other calls may run meanwhile. An
        interrupted backup leaves the files of the one before, and the next backup continues.

        Raises:
            StoreError: the destination cannot be opened.
            Forbidden: the destination is a store of its own, not a backup of this one.
        """
