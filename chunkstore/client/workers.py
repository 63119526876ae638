"""Threads that do the same work for many things."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import TypeVar

_Item = TypeVar("_Item")


def run_each(threads: int, items: Iterable[_Item], work: Callable[[_Item], object]) -> None:
    """Do `work` for each item, on so many threads, and return when all is done.

    What one raises ends all: no further item is begun, those under way end, and it is raised. Only
    Ctrl-C does not wait for them: they end with the program, wherever they are.
    """
    _Run(items, work).run(threads)


class _Run:
    def __init__(self, items: Iterable[_Item], work: Callable[[_Item], object]) -> None:
        self._items = iter(items)
        self._work = work
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def run(self, threads: int) -> None:
        started = [threading.Thread(target=self._loop, daemon=True) for _ in range(threads)]
        for thread in started:
            thread.start()
        errors = []
        try:
            for _ in started:
                error = self._ended.get()
                if error is not None:
                    self._stopped.set()
                    errors.append(error)
        finally:
            self._stopped.set()
        if errors:
            raise errors[0]

    def _loop(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._lock:
                    try:
                        item = next(self._items)
                    except StopIteration:
                        break
                self._work(item)
        except BaseException as error:
            self._ended.put(error)
        else:
            self._ended.put(None)
