"""The contract of what keeps a store whole: collection, scrubs, and what it tells of itself.

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
    """What is done to a store, and told of it, beside its files."""

    @property
    def tasks(self) -> Sequence[Periodic]:
        """What the store repeats in the background of itself, to be told of."""
        return ()

    @abstractmethod
    def collect(self, grace_seconds: float, *, dry_run: bool = False) -> AsyncIterator[Collected]:
        """Remove what no file and no upload needs; yield what each short transaction removed.

        Uploads that have expired are removed first. What is younger than `grace_seconds` stays: a
        manifest without a file, a chunk without a manifest. The space goes back to where the
        database got it. Any number of collections and other calls may run meanwhile. `dry_run`
        removes nothing and yields what would be.
        """

    @abstractmethod
    def scrub(self) -> AsyncIterator[Scrubbed]:
        """Check all chunks and chunk lists again; yield what each step of a few MiB found.

        A chunk found damaged is noted, so that the next upload that brings it stores it anew; a
        store opened for reading only tells of it and no more. Other calls may run meanwhile.
        """

    @abstractmethod
    async def put_scrub_report(self, report: ScrubReport) -> None:
        """Keep the report in place of the last one."""

    @abstractmethod
    async def stats(self) -> Stats:
        """Return what the store holds."""

    @abstractmethod
    async def health(self) -> Health:
        """Return whether the store can keep its promises, in a second at most.

        Raises:
            StoreUnavailable: there was no answer by then.
        """


class Backups(ABC):
    """What a store has that makes copies of itself; others have means of their own."""

    @abstractmethod
    def make(self, destination: str) -> AsyncIterator[Copied]:
        """Make `destination` a store with the files of this one, as they are at one moment.

        Only chunks that it lacks are copied, in steps of a few MiB, each checked; a damaged one is
        copied and told of. What it had besides is removed. Other calls may run meanwhile. One that
        is interrupted leaves the files of the backup before, and the next goes on.

        Raises:
            StoreError: the destination cannot be opened.
            Forbidden: it is a store of its own, not a backup of this one.
        """
