"""How often links were used, and what was put by them: counted in records, by all servers together.

A use is counted before the first byte of it leaves, and room for a file taken before it is put, so
there is never more than a link allows. Each change is made on what was seen, and made again if
somebody else was faster.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from weakref import WeakValueDictionary

from chunkstore.core.errors import (
    ChunkstoreError,
    LinkFull,
    LinkUsedUp,
    RecordsChanged,
    StoreError,
)
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.links import Link, was_refused
from chunkstore.service.access.record_values import (
    LINK_USE,
    format_value,
    parse_all,
    parse_value,
    to_microseconds,
    to_time,
)
from chunkstore.store.contract.edits import Put, Received, Uploaded
from chunkstore.store.contract.records import ABSENT, PutRecord, Record, Records

# Within this time what the same visitor gets is one use; so is the rest of it, for longer.
_ONE_USE: Final = timedelta(hours=1)
_REST_OF_USE: Final = timedelta(days=1)
_MOST_SEEN: Final = 256
MOST_UNFINISHED: Final = 100
_ATTEMPTS: Final = 50
_PAUSE_SECONDS: Final = 0.01
# Of a link without an end.
_KEPT: Final = timedelta(days=10 * 365)

IsUnfinished = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Usage:
    """How often a link was used, and how many files and bytes were put by it.

    `seen` are the visitors of late, each with when a use of theirs was counted; `unfinished` the
    uploads that have begun, each with its bytes.
    """

    uses: int = 0
    files: int = 0
    bytes: int = 0
    last: datetime | None = None
    seen: Mapping[str, int] = field(default_factory=dict)
    unfinished: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Usage:
        """Return what a record keeps."""
        value = parse_value(record)
        return cls(
            value["uses"],
            value["files"],
            value["bytes"],
            None if value["last"] is None else to_time(value["last"]),
            value["seen"],
            value["unfinished"],
        )

    def to_value(self) -> str:
        """Return what a record keeps of it."""
        return format_value(
            {
                "uses": self.uses,
                "files": self.files,
                "bytes": self.bytes,
                "last": None if self.last is None else to_microseconds(self.last),
                "seen": dict(self.seen),
                "unfinished": dict(self.unfinished),
            }
        )

    def has_seen(self, known_by: Sequence[str], now: datetime, *, rest: bool) -> bool:
        """Whether a visitor has a use already; `rest` is of a use that began longer ago."""
        oldest = to_microseconds(now - (_REST_OF_USE if rest else _ONE_USE))
        return any(self.seen.get(one, 0) > oldest for one in known_by)

    def used(self, link: Link, known_by: Sequence[str], now: datetime) -> Usage:
        """Return what it is with one more use.

        Raises:
            LinkUsedUp: there were as many as there may be.
        """
        if link.limits.uses is not None and self.uses >= link.limits.uses:
            raise LinkUsedUp
        oldest, at = to_microseconds(now - _REST_OF_USE), to_microseconds(now)
        late = sorted((when, one) for one, when in self.seen.items() if when > oldest)
        seen = {one: when for when, one in late[len(known_by) - _MOST_SEEN :]}
        return replace(
            self, uses=self.uses + 1, last=now, seen={**seen, **dict.fromkeys(known_by, at)}
        )

    def begun(self, link: Link, upload_id: str, size: int) -> Usage:
        """Return what it is with one more unfinished upload.

        Raises:
            LinkFull: there is no room for it.
        """
        if len(self.unfinished) >= MOST_UNFINISHED:
            raise LinkFull("Too many uploads by this link are unfinished; try again later.")
        begun = replace(self, unfinished={**self.unfinished, upload_id: size})
        begun._require_room(link)
        return begun

    def without(self, upload_id: str) -> Usage:
        """Return what it is when an upload has ended, however it did."""
        left = {one: size for one, size in self.unfinished.items() if one != upload_id}
        return replace(self, unfinished=left)

    def put(self, link: Link, puts: Sequence[Put]) -> Usage:
        """Return what it is with these files more.

        Raises:
            LinkFull: there is no room for them.
        """
        usage = self
        for put in puts:
            match put.content:
                case Received():
                    size = put.content.size
                case Uploaded(upload_id):
                    if upload_id not in usage.unfinished:
                        raise LinkFull
                    size = usage.unfinished[upload_id]
                    usage = usage.without(upload_id)
            usage = replace(usage, files=usage.files + 1, bytes=usage.bytes + size)
        usage._require_room(link)
        return usage

    def room(self, link: Link) -> int | None:
        """Return how many bytes can be put in one more file, None for any number.

        Raises:
            LinkFull: there can be no file more.
        """
        replace(self, files=self.files + 1)._require_room(link)
        most = link.limits.bytes
        return None if most is None else most - self._bytes

    @property
    def _bytes(self) -> int:
        return self.bytes + sum(self.unfinished.values())

    def _require_room(self, link: Link) -> None:
        limits, files = link.limits, self.files + len(self.unfinished)
        if limits.files is not None and files > limits.files:
            raise LinkFull
        if limits.bytes is not None and self._bytes > limits.bytes:
            raise LinkFull


NO_USE: Final = Usage()


class LinkUses:
    """The uses of the links of a store.

    Whoever has the uploads says which are unfinished (`is_unfinished`): others end without a word,
    as those that expire, and are asked about once there is no room.
    """

    def __init__(self, records: Records, clock: Clock) -> None:
        self.is_unfinished: IsUnfinished | None = None
        self._records = records
        self._clock = clock
        # Of one process the requests on a link take turns; other processes can still be faster.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, link: Link) -> Usage:
        """Return what a link was used for."""
        return (await self._read(link))[0]

    async def count(self, link: Link, known_by: Sequence[str], *, from_start: bool) -> None:
        """Count a use by a visitor, unless they have one; before anything of it is sent.

        Raises:
            LinkUsedUp: the link was used as often as it may be.
        """
        now = self._clock.now()

        def change(usage: Usage) -> Usage:
            if usage.has_seen(known_by, now, rest=not from_start):
                return usage
            return usage.used(link, known_by, now)

        try:
            await self._change(link, change)
        except StoreError:
            # What is told only is no reason to keep somebody from reading, as on a full disk.
            if link.limits.uses is not None:
                raise

    async def give_back(self, link: Link) -> None:
        """Take back a use of nobody who is known again."""
        await self._change(link, lambda usage: replace(usage, uses=usage.uses - 1))

    async def room(self, link: Link) -> int | None:
        """As `Usage.room`."""
        try:
            return (await self.get(link)).room(link)
        except LinkFull:
            if not await self._forget_ended(link):
                raise
            return (await self.get(link)).room(link)

    async def begin(self, link: Link, upload_id: str, size: int) -> None:
        """Take room for an upload that has begun.

        Raises:
            LinkFull: there is none.
        """
        await self._take_room(link, lambda usage: usage.begun(link, upload_id, size))

    async def _take_room(self, link: Link, change: Callable[[Usage], Usage]) -> None:
        try:
            await self._change(link, change)
        except LinkFull:
            if not await self._forget_ended(link):
                raise
            await self._change(link, change)

    async def _forget_ended(self, link: Link) -> bool:
        """Give back the room of uploads that have ended; return whether there are any."""
        if self.is_unfinished is None:
            return False
        usage = await self.get(link)
        ended = [one for one in usage.unfinished if not await self.is_unfinished(one)]
        if ended:
            await self._change(link, lambda usage: _without(usage, ended))
        return bool(ended)

    async def end(self, link: Link, upload_id: str) -> None:
        """Give back the room of an upload that was cancelled."""
        await self._change(link, lambda usage: usage.without(upload_id))

    @asynccontextmanager
    async def putting(self, link: Link, puts: Sequence[Put]) -> AsyncIterator[None]:
        """Take room for files that are put within the context; give it back if they surely are not.

        Raises:
            LinkFull: there is none.
        """
        sizes: dict[str, int] = {}

        def change(usage: Usage) -> Usage:
            sizes.update(usage.unfinished)
            return usage.put(link, puts)

        await self._take_room(link, change)
        try:
            yield
        except ChunkstoreError as error:
            if was_refused(error):
                await self._change(link, lambda usage: _taken_back(usage, sizes, puts))
            raise

    async def keep(self, link: Link) -> None:
        """Keep what is counted as long as the link is kept, of which that has changed."""
        await self._change(link, lambda usage: usage, anyway=True)

    async def _change(
        self, link: Link, change: Callable[[Usage], Usage], *, anyway: bool = False
    ) -> None:
        lock = self._locks.setdefault(link.id, asyncio.Lock())
        async with lock:
            for attempt in range(1, _ATTEMPTS + 1):
                usage, revision = await self._read(link)
                changed = change(usage)
                if changed == usage and not anyway:
                    break
                try:
                    await self._records.apply([self._put(link, changed, revision)], announced=False)
                    break
                except RecordsChanged:
                    if attempt == _ATTEMPTS:
                        raise
                # Not in step with the others.
                await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))

    def _put(self, link: Link, usage: Usage, revision: int | None) -> PutRecord:
        expires = link.expires or self._clock.now() + _KEPT
        expected = ABSENT if revision is None else revision
        return PutRecord(LINK_USE, link.id, link.account, usage.to_value(), expires, expected)

    async def _read(self, link: Link) -> tuple[Usage, int | None]:
        record = await self._records.find(LINK_USE, link.id)
        if record is None:
            return NO_USE, None
        [usage] = parse_all(Usage.of, [record])
        return usage, record.revision


def _without(usage: Usage, upload_ids: Sequence[str]) -> Usage:
    for upload_id in upload_ids:
        usage = usage.without(upload_id)
    return usage


def _taken_back(usage: Usage, sizes: Mapping[str, int], puts: Sequence[Put]) -> Usage:
    """Return what it is when files were not put for which room had been taken.

    `sizes` are those of uploads, which are unfinished again.
    """
    for put in puts:
        match put.content:
            case Received():
                size = put.content.size
            case Uploaded(upload_id):
                size = sizes[upload_id]
                usage = replace(usage, unfinished={**usage.unfinished, upload_id: size})
        usage = replace(usage, files=usage.files - 1, bytes=usage.bytes - size)
    return usage
