"""Many who lock and write the same few names at once, on one server or several.

Who has a lock looks whether what it covers stays as it was when the lock was given, and whether
somebody else has one in its way at the same time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final

from chunkstore.core.dav.locks import Lock, is_below, path_of
from chunkstore.core.errors import (
    AlreadyExists,
    Forbidden,
    Locked,
    NameConflict,
    NotFound,
    StoreUnavailable,
    TooManyLocks,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import Copy, Delete, Edit, MakeFolder, Move, Name
from chunkstore.store.contract.locks import Guard, WantedLock
from chunkstore.store.contract.store import Store
from tests.store.conformance import CHUNK_SIZE, whole_put

FILES: Final = [FileName(text) for text in ("a/x", "a/y", "a/b/z", "c/x", "w")]
FOLDERS: Final = [FolderName(text) for text in ("a/", "a/b/", "c/", "")]
_REFUSALS: Final = (
    AlreadyExists,
    NotFound,
    NameConflict,
    Forbidden,
    StoreUnavailable,
    TooManyLocks,
)


class Contention:
    """What clients do to `stores`, which are one; `done` counts it."""

    def __init__(self, stores: Sequence[Store], seed: int = 0) -> None:
        self._stores = stores
        self._seed = seed
        self._held: list[tuple[WantedLock, Lock]] = []
        self.done: Counter[str] = Counter()

    async def run(self, clients: int, goes_on: Callable[[int], bool]) -> None:
        """Let clients go on; `goes_on` is asked with the number of each round."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(self._run_one(number, goes_on))
        for lock in await self._stores[0].locks.list():
            raise AssertionError(lock)

    async def _run_one(self, number: int, goes_on: Callable[[int], bool]) -> None:
        random, store = Random(f"{self._seed} {number}"), self._stores[number % len(self._stores)]
        turn = 0
        while goes_on(turn):
            turn += 1
            if random.random() < 0.3:
                await self._lock(store, random, f"{number} {turn}")
            else:
                await self._write(store, random, f"{number} {turn}")

    async def _write(self, store: Store, random: Random, mark: str) -> None:
        edit = _any_edit(store, random, FILES, FOLDERS, mark)
        try:
            await store.names.apply([edit])
            self.done["written"] += 1
        except Locked:
            self.done["refused"] += 1
        except _REFUSALS:
            self.done["impossible"] += 1

    async def _lock(self, store: Store, random: Random, mark: str) -> None:
        names: list[Name] = [*FILES, *FILES, *FOLDERS]
        name = random.choice(names)
        wanted = WantedLock(name, random.random() < 0.7, random.random() < 0.7, "", mark, 600)
        try:
            taken = await store.locks.take(wanted)
        except (Locked, *_REFUSALS):
            self.done["not locked"] += 1
            return
        self._require_alone(wanted)
        entry = wanted, taken.lock
        self._held.append(entry)
        self.done["locked"] += 1
        before = await self._seen(store, wanted)
        guard = Guard(frozenset({taken.lock.token}), mark)
        for turn in range(random.randrange(3)):
            await asyncio.sleep(random.random() / 200)
            if random.random() < 0.3:
                assert await store.locks.refresh(taken.lock.token, 600) is not None
            if wanted.is_exclusive:
                assert await self._seen(store, wanted) == before, wanted
                before = await self._write_inside(store, random, wanted, guard, f"{mark} {turn}")
        if wanted.is_exclusive:
            assert await self._seen(store, wanted) == before, wanted
        self._held.remove(entry)
        await store.locks.release(taken.lock.token)

    async def _write_inside(
        self, store: Store, random: Random, wanted: WantedLock, guard: Guard, mark: str
    ) -> dict[str, str]:
        """Write what the lock covers with its token; return what is there then."""
        inside = [file for file in FILES if _covers(wanted, file)]
        if inside:
            put = whole_put(store, random.choice(inside), mark.encode())
            with suppress(NameConflict, StoreUnavailable, Locked):
                await store.names.apply([put], guard=guard)
                self.done["written inside"] += 1
        return await self._seen(store, wanted)

    def _require_alone(self, wanted: WantedLock) -> None:
        for other, _ in self._held:
            if wanted.is_exclusive or other.is_exclusive:
                one, two = path_of(wanted.name), path_of(other.name)
                assert one != two, (wanted, other)
                assert not (wanted.is_deep and is_below(two, one)), (wanted, other)
                assert not (other.is_deep and is_below(one, two)), (wanted, other)

    async def _seen(self, store: Store, wanted: WantedLock) -> dict[str, str]:
        """Return the files that a lock covers, with their digests."""
        if not wanted.name.endswith("/") and wanted.name != ROOT:
            file = await store.names.find(FileName(wanted.name))
            return {} if file is None else {file.name: str(file.manifest.digest)}
        if not wanted.is_deep:
            return {}
        page = await store.names.list(wanted.name)
        return {file.name: str(file.manifest.digest) for file in page.files}


def _covers(wanted: WantedLock, file: FileName) -> bool:
    path = path_of(wanted.name)
    return file == path or (wanted.is_deep and is_below(file, path))


def _any_edit(
    store: Store,
    random: Random,
    files: Sequence[FileName],
    folders: Sequence[FolderName],
    mark: str,
) -> Edit:
    file, other = random.sample(files, 2)
    folder, second = random.sample([each for each in folders if each], 2)
    match random.randrange(12):
        case 0:
            return Delete(file)
        case 1:
            return Delete(folder)
        case 2:
            return Move(file, other)
        case 3:
            return Move(folder, second)
        case 4:
            return Copy(folder, second)
        case 5:
            return MakeFolder(folder)
        case 6:
            # Too long to be put at once.
            return whole_put(store, file, mark.encode() * 3 * CHUNK_SIZE)
        case _:
            return whole_put(store, file, mark.encode())
