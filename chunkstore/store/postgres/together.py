"""Calls that come while others are under way go together, which spares most of them a round trip.

Each is in a round that begins after it has come. While few come, each has a round of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from chunkstore.core.tasks import retrieve_exception

Question = TypeVar("Question")
Answer = TypeVar("Answer")

_ROUNDS_AT_ONCE: Final = 3
MOST: Final = 32


class Together(Generic[Question, Answer]):
    """Lets `run` answer many questions at once, in their order, `most` of them at most."""

    def __init__(
        self,
        run: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        *,
        most: int = MOST,
    ) -> None:
        self._run = run
        self._most = most
        self._waiting: deque[tuple[Question, asyncio.Future[Answer]]] = deque()
        self._rounds: set[asyncio.Task[None]] = set()
        self._running = 0

    async def ask(self, question: Question) -> Answer:
        """Return the answer.

        Raises:
            What `run` raises for the questions that were asked together.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._running < _ROUNDS_AT_ONCE:
            self._running += 1
            task = asyncio.create_task(self._run_rounds())
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
        return await answer

    async def _run_rounds(self) -> None:
        """Answer what waits, until nothing does."""
        try:
            while self._waiting:
                most = min(self._most, len(self._waiting))
                await self._answer([self._waiting.popleft() for _ in range(most)])
        finally:
            self._running -= 1

    async def _answer(self, asked: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            results = await self._run([question for question, _ in asked])
        except Exception as error:
            # It is raised where answers are waited for.
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
                    answer.add_done_callback(retrieve_exception)
            return
        for (_, answer), result in zip(asked, results, strict=True):
            # Who asked may have been cancelled.
            if not answer.done():
                answer.set_result(result)
