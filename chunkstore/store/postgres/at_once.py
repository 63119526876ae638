"""Putting files whose last chunks are small: each in one statement, many in one round trip.

A round is a transaction of its own, so its answer is that of its commit. If it is lost, its
statements may even be run later, so first of all the receipt of each is written for it: either it
took effect by then, and what came of it is in the receipt, or it never will. What could not be put
so is put step by step, as if nothing had been tried. A statement waits for no lock for long, since
others wait for it. One that a quota counts is a round alone: the quota's row has to be locked last.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from chunkstore.core.access import Verbs
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.dav.if_header import TRUE
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreError
from chunkstore.core.names import FileName
from chunkstore.store.contract.audit import Action, Who, detail_of_put
from chunkstore.store.contract.edits import Edit, Present, Put, Received
from chunkstore.store.contract.locks import Guard
from chunkstore.store.contract.values import Committed
from chunkstore.store.postgres import manifests, tree
from chunkstore.store.postgres.connection import Connection, Parameter
from chunkstore.store.postgres.contents import own_upload
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.manifests import PreparedChunks
from chunkstore.store.postgres.paths import below, folders_of
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.postgres.together import MOST, Together
from chunkstore.store.postgres.tree import Target
from chunkstore.store.shared.audit_rows import to_rows
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.times import Times, now_microseconds
from chunkstore.store.shared.usage import folders_over

# How a statement fails when it has done nothing, because more is to be asked or said.
_REFUSED: Final = "CS001"
# The same, because a quota counts what is put; the detail is its folder.
_LIMITED: Final = "CS002"


@dataclass(frozen=True, slots=True)
class Terms:
    """What has to be there for a put to be made at once, where that is for the database to see.

    It replaces any file or none; or one whose content has one of the digests that are `required`.
    """

    may_replace: bool
    required: Sequence[bytes] | None = None

    @classmethod
    def of(cls, edit: Put, guard: Guard) -> Terms | None:
        """Return those of an edit, None if they are others."""
        tags, wanted = _tags_of(guard, edit.name), edit.conditions.if_match
        if guard.tags is not TRUE and tags is None:
            return None
        if wanted is not None:
            if wanted.any or edit.conditions != Conditions(
                if_match=wanted, exact_dates=edit.conditions.exact_dates
            ):
                return None
            strong = {tag.opaque for tag in wanted.tags if not tag.weak}
            tags = strong if tags is None else tags & strong
        elif tags is not None and edit.conditions != UNCONDITIONAL:
            return None
        if tags is None:
            return cls(edit.may_replace) if tree.accepts(edit, Present()) else None
        if Verbs.WRITE not in edit.allowed:
            return None
        return cls(True, list(_digests_in(tags)))


def _tags_of(guard: Guard, name: FileName) -> set[str] | None:
    """Return the tag that the file must have by a guard, None if that says nothing, or more."""
    if len(guard.tags.lists) != 1 or not guard.tags.lists[0]:
        return None
    tags: set[str] = set()
    for resource, condition in guard.tags.lists[0]:
        if str(resource) != name or condition.negated or condition.etag is None:
            return None
        tags.add(condition.etag)
    return tags if len(tags) == 1 else None


def _digests_in(tags: Iterable[str]) -> Iterator[bytes]:
    for tag in tags:
        # No file has another tag.
        with suppress(ValueError):
            yield Digest.parse(tag).raw


@dataclass(frozen=True, slots=True)
class SmallPut:
    """A put of an upload, and the chunks that it needs and may be missing."""

    edit: Put
    content: Received
    chunks: PreparedChunks
    target: Target
    by: Who | None
    guard: Guard
    terms: Terms
    receipt: uuid.UUID = field(default_factory=uuid.uuid4)

    @classmethod
    def of(
        cls, edits: Sequence[Edit], chunks: PreparedChunks, by: Who | None, guard: Guard
    ) -> SmallPut | None:
        """Return it if that is what the edits are, and it may be done without knowing the name."""
        match edits:
            case [Put(content=Received() as content) as edit] if chunks.small:
                terms = Terms.of(edit, guard)
                if terms is not None:
                    own_upload(content.upload).require_put_once(set())
                    return cls(edit, content, chunks, _target(edit, content), by, guard, terms)
        return None

    def columns(self, *, alone: bool) -> tuple[Parameter, ...]:
        """Return what `put_at_once` takes; `alone` if no other is in the same transaction."""
        name = self.edit.name
        return (
            self.receipt,
            *manifests.content_columns(
                own_upload(self.content.upload).manifest,
                self.chunks.missing,
                manifests.entries_of(self.content.last),
                self.target.manifest,
                self.content.checksums,
            ),
            name,
            folders_of(name),
            *below(f"{name}/"),
            self.target.media_type,
            self.target.created,
            self.target.modified,
            self.terms.may_replace,
            alone,
            self._audited(),
            self.edit.strict,
            self.terms.required,
            sorted(self.guard.tokens),
            self.guard.principal,
        )

    def _audited(self) -> list[str] | None:
        """Return the columns of an entry of the audit log as text, if there is to be one.

        Its time is to be the database's, its action that of a file that is created or replaced.
        """
        if self.by is None:
            return None
        [row] = to_rows(self.by, [Action("", self.edit.name, detail_of_put(self.edit))], 0)
        return [str(column) for column in row.values()]

    def committed(self, row: Row) -> Committed:
        """Return what the statement came to that returned `row`."""
        sizes = manifests.sizes_of(self.chunks.missing, row["stored"])
        new = own_upload(self.content.upload).appended + NewBytes(len(sizes), sum(sizes.values()))
        file = tree.file_of(self.edit.name, self.target, row["file_created"])
        return Committed(row["replaced"], file, new.new_chunks, new.new_size)


def _target(edit: Put, content: Received) -> Target:
    times = Times.of(edit.created, edit.modified)
    modified = now_microseconds() if times.modified is None else times.modified
    manifest = own_upload(content.upload).sealed_with(content.last, content.digest)
    return Target(manifest, edit.media_type, times.created, modified)


class SmallPuts:
    """Puts small files into one database, of which `is_spread` says whether it is one machine's."""

    def __init__(self, database: Database, *, is_spread: bool) -> None:
        self._database = database
        # Folders that had a quota when one was met.
        self._limited: set[str] = set()
        # A transaction over many machines takes longer than several over few.
        self._together = Together(self._put_round, most=1 if is_spread else MOST)

    async def put(self, put: SmallPut) -> Committed | None:
        """Return what came of it; None if nothing did, and it is to be put step by step.

        Raises:
            StoreError: the database failed; nothing came of it, unless that is StoreAway.
        """
        try:
            if self._limited and not self._limited.isdisjoint(folders_over(put.edit.name)):
                [row] = await self._put_round([put])
            else:
                row = await self._together.ask(put)
        except StoreError:
            # Another of the round may have failed, or the answer been lost.
            row = await self._database.write(_withdraw, put.receipt)
        return None if row is None else put.committed(row)

    async def _put_round(self, puts: Sequence[SmallPut]) -> Sequence[Row | None]:
        return await self._database.once(lambda db: self._put_all(db, puts))

    async def _put_all(self, db: Connection, puts: Sequence[SmallPut]) -> Sequence[Row | None]:
        """Return what each statement returned; None for all if one was refused."""
        try:
            return await _put_all(db, puts)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in (_REFUSED, _LIMITED):
                raise
            if error.sqlstate == _LIMITED:
                self._limited.add(error.detail or "")
            return [None] * len(puts)


async def _put_all(db: Connection, puts: Sequence[SmallPut]) -> Sequence[Row]:
    if len(puts) == 1:
        return [await db.fetchrow(QUERIES["put_at_once"], *puts[0].columns(alone=True))]
    # Sent as one, they are one transaction. In order, others wait for it in no circle.
    in_order = sorted(puts, key=lambda put: put.edit.name)
    await db.executemany(QUERIES["put_at_once"], [put.columns(alone=False) for put in in_order])
    rows = await db.fetch(QUERIES["find_puts"], [put.receipt for put in puts])
    found = {row["id"]: row for row in rows}
    return [found[put.receipt] for put in puts]


async def _withdraw(db: Connection, receipt: uuid.UUID) -> Row | None:
    """Return what a statement returned that took effect, None if it never will."""
    await db.execute(QUERIES["add_receipt"], receipt, now_microseconds())
    [row] = await db.fetch(QUERIES["find_puts"], [receipt])
    return None if row["replaced"] is None else row
