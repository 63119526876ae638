"""Hot files: what GET of a small file needs, kept in memory while nobody changes the name.

The store announces each change of a name before anybody can see it (`NameChanges`). So nothing that
is kept is ever stale:

- The announcement drops what is kept. Whoever sees the new state comes later, and no look-up in
  memory can lead back behind it.
- A look-up that began before the announcement, or before the change has ended, may return the old
  state. It keeps nothing: the announcement has forgotten it, and while a change is under way no
  other is remembered.

What is kept lies in the free part of the memory budget, and goes as soon as that is reserved. Only
what is asked for again soon is kept, so that reading a whole tree once neither costs much nor
drops what is hot.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from threading import Lock
from typing import Final, Generic, TypeVar

from chunkstore.service.memory import MemoryBudget
from chunkstore.store.contract.name_changes import NameChanges, NameWatcher

T = TypeVar("T")

# The part of the budget that hot files may have while nobody else needs it.
_SHARE: Final = 4
# What one takes beside its content: objects, header fields, the place in the table.
_OVERHEAD: Final = 4 * 1024
# How many names, at least, can be asked for between two requests of a name that is hot.
_SOON: Final = 1024


class Lookup(Generic[T]):
    """A look-up in the store, the context in which its result may be kept in `files`, if any."""

    __slots__ = ("_files", "_name")

    def __init__(self, files: HotFiles[T] | None, name: str) -> None:
        self._files = files
        self._name = name

    def keep(self, found: T, size: int) -> None:
        """Keep what was found, which has `size` bytes of content, if it is not stale by now."""
        if self._files is not None:
            self._files._keep(self, self._name, found, size)

    def __enter__(self) -> Lookup[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._files is not None:
            self._files._end(self, self._name)


class HotFiles(NameWatcher, Generic[T]):
    """The small files that were asked for last, by name, in what `budget` has free.

    It keeps nothing outside of `following`.
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._most = 0
        # Changes are announced on the thread of the store that makes them.
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._size = 0
        # The last one for each name that has not been overtaken by a change.
        self._lookups: dict[str, Lookup[T]] = {}
        self._ignored: Lookup[T] = Lookup(None, "")
        # Hashes of the names that were asked for lately, and of those before.
        self._asked: set[int] = set()
        self._asked_before: set[int] = set()
        self._changing: set[str] = set()
        self._all_changing = False

    @asynccontextmanager
    async def following(self, changes: NameChanges) -> AsyncIterator[None]:
        """Keep files within the context, as far as `changes` allow."""
        async with changes.watched_by(self):
            self._budget.on_taken.append(self._make_room)
            self._most = self._budget.limit // _SHARE
            try:
                yield
            finally:
                self._most = 0
                self._make_room(0)
                self._budget.on_taken.remove(self._make_room)

    @property
    def size(self) -> int:
        """Bytes of memory that the kept files take."""
        return self._size

    def find(self, name: str) -> T | None:
        """Return what is kept under a name, None if nothing is."""
        if name not in self._kept:
            return None
        with self._lock:
            kept = self._kept.get(name)
            if kept is None:
                return None
            self._kept.move_to_end(name)
        return kept[0]

    def looking_up(self, name: str) -> Lookup[T]:
        """Return the context in which a file is looked up, which begins after this call."""
        if not self._most or not self._is_asked_again(name):
            return self._ignored
        lookup = Lookup(self, name)
        with self._lock:
            if not self._all_changing and name not in self._changing:
                self._lookups[name] = lookup
        return lookup

    def changing(self, names: Collection[str] | None) -> None:
        with self._lock:
            if names is None:
                self._all_changing = True
                self._kept.clear()
                self._lookups.clear()
                self._size = 0
                return
            self._changing.update(names)
            for name in names:
                self._lookups.pop(name, None)
                self._drop(name)

    def changed(self) -> None:
        with self._lock:
            self._all_changing = False
            self._changing.clear()

    def _is_asked_again(self, name: str) -> bool:
        """Note that a name is asked for; return whether it was before, and not long ago."""
        key = hash(name)
        if key in self._asked:
            return True
        if len(self._asked) >= _SOON:
            self._asked, self._asked_before = set(), self._asked
        self._asked.add(key)
        return key in self._asked_before

    def _keep(self, lookup: Lookup[T], name: str, found: T, size: int) -> None:
        size += _OVERHEAD
        most = min(self._most, self._budget.free)
        with self._lock:
            if self._lookups.get(name) is not lookup or size > most:
                return
            self._drop(name)
            self._kept[name] = found, size
            self._size += size
            self._shrink(most)

    def _end(self, lookup: Lookup[T], name: str) -> None:
        with self._lock:
            if self._lookups.get(name) is lookup:
                del self._lookups[name]

    def _make_room(self, free: int) -> None:
        """Keep no more than `free` bytes."""
        if self._size > free:
            with self._lock:
                self._shrink(free)

    def _shrink(self, most: int) -> None:
        """Drop what was asked for longest ago until `most` bytes are kept. The lock is held."""
        while self._size > most:
            _, (_, size) = self._kept.popitem(last=False)
            self._size -= size

    def _drop(self, name: str) -> None:
        """Drop a file, if it is kept. The lock is held."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._size -= kept[1]
