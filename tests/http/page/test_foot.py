"""The foot of the page: figures of the store that no page waits for."""

from __future__ import annotations

import asyncio
import re

import pytest

from chunkstore.core.errors import StoreUnavailable
from chunkstore.http.page.foot import Figures, Foot
from chunkstore.store.contract.reports import Stats
from chunkstore.store.contract.store import Store
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http.steps import BROWSER, Client, put

MIB = 1024 * 1024


class Counting:
    """Counts a store as slowly as it is told to, by the clock that it drives."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.takes_seconds = 0.0
        self.counted = 0
        self.error: Exception | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()
        self._store = store

    def clock(self) -> float:
        return self.now

    async def count(self) -> Stats:
        self.counted += 1
        await self.may_end.wait()
        self.now += self.takes_seconds
        if self.error is not None:
            raise self.error
        return await self._store.maintenance.stats()


async def shown(foot: Foot) -> Figures:
    """Return the figures once they are there, however busy the machine is."""
    figures = None
    while figures is None:
        await asyncio.sleep(0)
        figures = await foot.get()
    return figures


async def test_page_shows_what_was_given_and_what_is_kept(
    client: Client, random_bytes: RandomBytes
) -> None:
    assert "<svg" not in await text_of(client)
    content = random_bytes(CHUNK_SIZE)
    await put(client, "a", 2 * content)
    await text_with(client, "in 1 file,")
    await put(client, "b", 2 * content)
    text = await text_with(client, "in 2 files,")
    assert re.findall(r'<rect class="(\w+)"[^>]* width="([0-9.]+)"', text) == [
        ("given", "100.0"),
        ("kept", "25.0"),
    ]
    assert "(25 %)" in text
    assert 'aria-hidden="true"' in text


async def text_with(client: Client, wanted: str) -> str:
    """Return the page once it has some text."""
    text = ""
    while wanted not in text:
        text = await text_of(client)
    return text


async def text_of(client: Client) -> str:
    async with client.get("/", headers=BROWSER) as response:
        return await response.text()


async def test_no_page_waits_for_a_count(client: Client, store: Store) -> None:
    counting = Counting(store)
    foot = Foot(counting.count, counting.clock)
    await put(client, "a")
    counting.may_end.clear()
    assert [await foot.get() for _ in range(3)] == [None] * 3
    counting.may_end.set()
    assert (await shown(foot)).files == 1
    assert counting.counted == 1


async def test_counting_leaves_most_of_the_time_to_others(client: Client, store: Store) -> None:
    counting = Counting(store)
    counting.takes_seconds = 3
    foot = Foot(counting.count, counting.clock)
    await put(client, "a")
    await shown(foot)
    await put(client, "b")
    counting.now += 299
    assert (await shown(foot)).files == 1
    assert counting.counted == 1
    counting.now += 1
    files = 1
    while files == 1:
        files = (await shown(foot)).files
    assert counting.counted == 2


async def test_page_does_without_figures_that_cannot_be_had(client: Client, store: Store) -> None:
    counting = Counting(store)
    counting.error = StoreUnavailable("away")
    foot = Foot(counting.count, counting.clock)
    await put(client, "a")
    assert await foot.get() is None
    counting.error = None
    assert (await shown(foot)).files == 1


@pytest.mark.parametrize(
    ("given", "kept", "widths", "percent"),
    [
        (4 * MIB, MIB, (100, 25), "25 %"),
        (MIB, 2 * MIB, (50, 100), "200 %"),
        (1000, 1, (100, 0.1), "under 1 %"),
        (0, 0, (0, 0), "0 %"),
    ],
)
def test_bars_fit(given: int, kept: int, widths: tuple[float, float], percent: str) -> None:
    figures = Figures(1, given, kept)
    assert (figures.given_width, figures.kept_width) == widths
    assert figures.percent == percent
