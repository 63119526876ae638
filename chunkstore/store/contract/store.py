"""The store contract: what every backend owes to those who call it.

Obligations common to all methods:

- **Durable.** When a method that changes something returns, the change has been synced to disk.
  Only what an `Upload` has appended may still be on its way until its commit returns.
- **Atomic.** Each call takes effect whole or not at all, also when it is cancelled, and no other
  call sees half of it. A cancelled call may have taken effect.
- **Nothing is held while a caller waits.** No connection, transaction or lock outlives a call, so
  a caller may take any time between two of them.
- **Errors.** Failures are `ChunkstoreError`s; those of a driver never pass. `StoreFull` changes
  nothing and leaves reading possible; after `StoreUnavailable` the call may be made again.
- **Names** are canonical (`chunkstore.core.names`); sizes are bytes; times are aware and in UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NameConflict, NotFound
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import ROOT, FileName, FolderName, ancestors
from chunkstore.core.periodic import Periodic
from chunkstore.store.contract.reports import Collected, Copied, Scrubbed, ScrubReport, Stats
from chunkstore.store.contract.resumable import UploadStore
from chunkstore.store.contract.values import Committed, File, Listing

Storing: TypeAlias = Callable[[], Awaitable[None]]


class Upload(ABC):
    """A manifest in the making: it is fed chunks in order, then given to `Store.commit`.

    Nothing of it is visible before that. An upload whose process dies is forgotten.
    """

    async def append(self, chunks: Sequence[Chunk]) -> None:
        """Add the next chunks; store those that are missing.

        A chunk that is relied on, stored now or long ago, is referenced in the same transaction,
        so that no collection can take it away between the two. All chunks but the last of an
        upload have the store's chunk size. At most one call at a time runs on one upload; each
        call is one short transaction, so callers keep batches to a few MiB.
        """
        store = await self.prepare(chunks)
        await store()

    @abstractmethod
    async def prepare(self, chunks: Sequence[Chunk]) -> Storing:
        """Do of `append` what changes nothing; return what does the rest, to be called once.

        The chunks before need not be added yet; when the rest is done, they are.
        """

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether there is something in the store that nobody needs if no commit comes."""

    @abstractmethod
    async def abort(self) -> None:
        """Forget the upload. Harmless when it was committed or aborted before."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What makes a finished upload a file.

    `last` are the chunks that have not been appended yet, so that a small content takes one
    transaction; `digest` and `size` are those of the whole content; `conditions` are judged
    against the file of this name inside the transaction. `created` and `modified` are the times
    that the file gets; None stands for now, or for the time of creation that it has.
    """

    upload: Upload
    last: Sequence[Chunk]
    digest: Digest
    size: int
    name: FileName
    media_type: str
    conditions: Conditions = UNCONDITIONAL
    created: datetime | None = None
    modified: datetime | None = None


class Store(ABC):
    """A database of chunks, manifests and names."""

    @property
    @abstractmethod
    def chunk_size(self) -> int:
        """The size in bytes of the chunks of new contents."""

    @property
    @abstractmethod
    def uploads(self) -> UploadStore:
        """The uploads that outlive their request."""

    @property
    def tasks(self) -> Sequence[Periodic]:
        """What the store repeats in the background of itself, to be told of."""
        return ()

    async def require_room(self) -> None:
        """Fail if new content would be refused now for want of reserve, as far as that is known.

        Raises:
            StoreFull: it would be; the message says why.
        """
        return

    @abstractmethod
    def begin(self) -> Upload:
        """Return a new upload. Nothing is stored before the first append or the commit."""

    @abstractmethod
    async def commit(self, commits: Sequence[Commit]) -> list[Committed]:
        """Make the uploads visible as files, all of them or, if one fails, none.

        Raises:
            PreconditionFailed: the conditions do not hold for the file there is.
            NameConflict: a folder has this name, or a file has that of a folder it lies in.
        """

    @abstractmethod
    async def find_file(self, name: FileName) -> File | None:
        """Return the file, None if there is none."""

    async def get_file(self, name: FileName) -> File:
        """Return the file.

        Raises:
            NotFound: there is none.
        """
        file = await self.find_file(name)
        if file is None:
            raise NotFound(f"There is no file {name!r}.")
        return file

    async def refuse_conflict(self, name: FileName) -> None:
        """Fail if a commit of this name would for the names that there are now.

        Raises:
            NameConflict: as in `commit`.
        """
        if await self.find_file(name) is not None:
            return
        for folder in ancestors(name):
            if await self.find_file(FileName(folder.removesuffix("/"))) is not None:
                raise NameConflict(f"{folder.removesuffix('/')!r} is a file, so it holds no files.")
        if await self.folder_exists(FolderName(name + "/")):
            raise NameConflict(f"{name!r} is a folder.")

    @abstractmethod
    def opened(
        self, name: FileName, *, inline: int = 0
    ) -> AbstractAsyncContextManager[File | None]:
        """Return the file for the time of a context, None if there is none.

        A content of at most `inline` bytes may come along, checked. Until the context ends
        its content is not collected, whatever becomes of the name. This holds no
        connection, transaction or lock.
        """

    @abstractmethod
    async def read(self, chunks: ChunkList, start: int, stop: int) -> bytes:
        """Return the bytes `start` to `stop` of a chunk list, every chunk's digest checked.

        Callers keep the range to a few MiB; it is read in one consistent view. The list is the
        manifest of a file that is `opened`, or that of an upload that is not complete; any other
        may have been collected.

        Raises:
            StoreDamaged: a chunk is missing or is not what its digest says.
        """

    @abstractmethod
    async def delete_file(self, name: FileName, conditions: Conditions = UNCONDITIONAL) -> None:
        """Remove the name.

        Raises:
            NotFound: there is no such file.
            PreconditionFailed: the conditions do not hold.
        """

    @abstractmethod
    async def copy_file(
        self,
        source: FileName,
        target: FileName,
        *,
        overwrite: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> bool:
        """Give the content a second name; return whether that replaced a file. No chunk is touched.

        `conditions` are judged against `source`.

        Raises:
            NotFound: there is no file `source`.
            AlreadyExists: there is a file `target` and `overwrite` is false.
            NameConflict: as in `commit`.
            PreconditionFailed: the conditions do not hold.
            Forbidden: the two names are the same.
        """

    @abstractmethod
    async def move_file(
        self,
        source: FileName,
        target: FileName,
        *,
        overwrite: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> bool:
        """Give the content another name, its times kept; as `copy_file` in all else."""

    @abstractmethod
    async def folder_exists(self, name: FolderName) -> bool:
        """Whether the folder was made or a name lies under it; the root always exists."""

    @abstractmethod
    async def make_folder(self, name: FolderName) -> None:
        """Make an empty folder that lasts until it is deleted.

        Raises:
            AlreadyExists: the folder exists, or a file of its name.
            NotFound: the folder it would lie in does not exist.
            NameConflict: a file has the name of a folder it lies in.
        """

    @abstractmethod
    async def delete_folder(self, name: FolderName) -> None:
        """Remove the folder and every name under it.

        Raises:
            NotFound: there is no such folder.
        """

    @abstractmethod
    async def copy_folder(
        self,
        source: FolderName,
        target: FolderName,
        *,
        overwrite: bool = True,
        with_members: bool = True,
    ) -> bool:
        """Copy the folder with all names under it, or empty; return whether that replaced one.

        A folder that is replaced is gone with all that was in it (RFC 4918 §9.8.4).

        Raises:
            NotFound: there is no folder `source`.
            AlreadyExists: there is a folder `target` and `overwrite` is false.
            NameConflict: as in `commit`.
            InvalidName: a name would become too long.
            Forbidden: one of the two is the other or lies in it.
        """

    @abstractmethod
    async def move_folder(
        self, source: FolderName, target: FolderName, *, overwrite: bool = True
    ) -> bool:
        """Rename the folder with all names under it; as `copy_folder` in all else."""

    @abstractmethod
    async def list_files(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
    ) -> Listing:
        """Return the files whose names begin with `prefix`, in order, at most `limit` entries.

        Names that have `delimiter` after the prefix are rolled up to the first one, and appear
        once, as a folder. The page begins behind `after`: a name or a folder that a listing
        returned, or any text. Costs grow with the page, not with the store.
        """

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
    async def find_scrub_report(self) -> ScrubReport | None:
        """Return the last report, None if there was no scrub yet.

        Readiness is told by this, so it takes a second at most.

        Raises:
            StoreUnavailable: there was no answer by then.
        """

    @abstractmethod
    def backup(self, destination: str) -> AsyncIterator[Copied]:
        """Make `destination` a store with the files of this one, as they are at one moment.

        Only chunks that it lacks are copied, in steps of a few MiB, each checked; a damaged one is
        copied and told of. What it had besides is removed. Other calls may run meanwhile. One that
        is interrupted leaves the files of the backup before, and the next goes on.

        Raises:
            StoreError: the destination cannot be opened.
            Forbidden: it is a store of its own, not a backup of this one.
        """

    async def finish_recovery(self) -> None:
        """Wait until what a process that died had begun is ended; opening does not wait for it."""
        return

    async def find_faults(self) -> Sequence[str]:
        """Return what keeps the store from its promises, as sentences; none where all is well.

        It is what is known, also of the past of this process, not what a search would find.
        """
        return ()

    @abstractmethod
    async def stats(self) -> Stats:
        """Return what the store holds."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what runs, make it durable and let go of the database."""
