"""Leases on uploads: exclusive, to the newest, when all older ones have ended."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import UploadSuperseded
from chunkstore.service.resumable.leases import Leases


async def run_to_quiet(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(0, 4),  # how late it comes
            st.integers(0, 6),  # how long it works
            st.integers(0, 6),  # how long it takes to keep what it has
            st.booleans(),  # whether all it waits for comes
            st.booleans(),  # whether its client goes away
        ),
        max_size=12,
    )
)
async def test_leases_are_exclusive_and_wait_for_all_older_ones(
    requests: list[tuple[str, int, int, int, bool, bool]],
) -> None:
    leases = Leases()
    holding: dict[str, int] = {}
    ended: list[int] = []
    begun: dict[str, list[int]] = {"a": [], "b": []}
    outcomes: dict[int, str] = {}

    async def hold(number: int, name: str, work: int, keep: int, *, whole: bool) -> None:
        older = list(begun[name])
        begun[name].append(number)
        try:
            async with leases.queue(name) as lease:
                await lease.take()
                assert name not in holding
                assert all(one in ended for one in older)
                holding[name] = number
                try:
                    await run_to_quiet(work)
                    if whole:
                        lease.make_irrevocable()
                    else:
                        await asyncio.Event().wait()
                finally:
                    # As an upload is kept: whoever cancels, it goes on.
                    keeping = asyncio.create_task(run_to_quiet(keep))
                    while not keeping.done():
                        try:
                            await asyncio.shield(keeping)
                        except asyncio.CancelledError:
                            continue
                    del holding[name]
            outcomes[number] = "held"
        except UploadSuperseded:
            outcomes[number] = "superseded"
        finally:
            ended.append(number)

    tasks = []
    for number, (name, late, work, keep, whole, leaves) in enumerate(requests):
        await run_to_quiet(late)
        tasks.append(asyncio.create_task(hold(number, name, work, keep, whole=whole)))
        if leaves:
            asyncio.get_running_loop().call_later(0, tasks[-1].cancel)
    await run_to_quiet(400)
    # Who waits for nothing that comes is left when nobody newer wants the upload.
    left = [task for task in tasks if not task.done()]
    assert len(left) <= 2
    for task in left:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        assert task.cancelled() or task.exception() is None
    assert not holding
    assert not leases._of


async def test_what_has_all_come_is_not_stopped() -> None:
    leases = Leases()
    settled, go_on = asyncio.Event(), asyncio.Event()

    async def older() -> str:
        async with leases.queue("a") as lease:
            await lease.take()
            lease.make_irrevocable()
            settled.set()
            await go_on.wait()
        return "kept"

    first = asyncio.create_task(older())
    await settled.wait()
    async with asyncio.TaskGroup() as group:
        newer = group.create_task(older())
        await run_to_quiet(5)
        assert not newer.done()
        assert not first.done()
        go_on.set()
    assert (await first, newer.result()) == ("kept", "kept")


async def test_who_only_queues_takes_it_from_nobody() -> None:
    leases = Leases()
    async with leases.queue("a") as older:
        await older.take()
        async with leases.queue("a"):
            await run_to_quiet(5)
    async with leases.queue("a") as older, leases.queue("a") as newer:
        older.make_irrevocable()
        taking = asyncio.create_task(newer.take())
        await run_to_quiet(5)
        assert not taking.done()
        taking.cancel()
