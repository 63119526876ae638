"""The memory budget: never more than there is, in the order of asking, and nothing leaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.service.memory import Account, MemoryBudget, Reservation, Use

LIMIT = 1000


async def let_others_run() -> None:
    """Give every task that can go on the turns it needs; nothing here waits for more."""
    for _ in range(10):
        await asyncio.sleep(0)


def ask(
    budget: MemoryBudget,
    least: int,
    most: int | None = None,
    *,
    use: Use = Use.DOWNLOAD,
    client: str = "",
) -> asyncio.Task[Reservation]:
    account = budget.account(use, client)
    return asyncio.create_task(account.reserve(least, least if most is None else most))


async def test_all_is_free_at_first() -> None:
    budget = MemoryBudget(LIMIT)
    assert budget.free == budget.limit == LIMIT


async def test_what_is_reserved_is_not_free_until_it_is_released() -> None:
    budget = MemoryBudget(LIMIT)
    reservation = await budget.account(Use.DOWNLOAD).reserve(10, 50)
    assert reservation.size == 50
    assert budget.free == LIMIT - 50
    reservation.release()
    assert reservation.size == 0
    assert budget.free == LIMIT


async def test_the_second_release_is_harmless() -> None:
    budget = MemoryBudget(LIMIT)
    first, second = (
        await budget.account(Use.DOWNLOAD).reserve(10, 10),
        await budget.account(Use.DOWNLOAD).reserve(20, 20),
    )
    first.release()
    first.release()
    assert budget.free == LIMIT - 20
    second.release()
    assert budget.free == LIMIT


async def test_leaving_the_context_releases() -> None:
    budget = MemoryBudget(LIMIT)
    with await budget.account(Use.DOWNLOAD).reserve(10, 10) as reservation:
        assert budget.free == LIMIT - reservation.size
    assert budget.free == LIMIT
    with pytest.raises(ZeroDivisionError), await budget.account(Use.DOWNLOAD).reserve(10, 10):
        raise ZeroDivisionError
    assert budget.free == LIMIT


async def test_the_first_to_come_does_not_get_everything() -> None:
    budget = MemoryBudget(LIMIT)
    sizes = [(await budget.account(Use.DOWNLOAD).reserve(1, LIMIT)).size for _ in range(20)]
    assert sizes[0] <= LIMIT // 2
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]
    assert sum(sizes) <= LIMIT


@pytest.mark.parametrize("least", [1, 100, 500, 999, 1000])
async def test_the_least_is_honoured_however_little_is_free(least: int) -> None:
    budget = MemoryBudget(LIMIT)
    await budget.account(Use.UPLOAD).reserve(LIMIT - least, LIMIT - least)
    assert (await budget.account(Use.DOWNLOAD).reserve(least, LIMIT)).size == least
    assert budget.free == 0


async def test_who_asks_for_more_than_there_is_waits_for_all_there_is() -> None:
    budget = MemoryBudget(LIMIT)
    with await budget.account(Use.DOWNLOAD).reserve(1, 1):
        asking = ask(budget, 5 * LIMIT)
        await let_others_run()
        assert not asking.done()
    reservation = await asking
    assert reservation.size == LIMIT
    reservation.release()
    assert budget.free == LIMIT


async def test_a_waiter_goes_on_when_enough_is_released_and_not_before() -> None:
    budget = MemoryBudget(LIMIT)
    first = await budget.account(Use.DOWNLOAD).reserve(400, 400)
    second = await budget.account(Use.UPLOAD).reserve(600, 600)
    asking = ask(budget, 500)
    first.release()
    await let_others_run()
    assert not asking.done()
    second.release()
    assert (await asking).size == 500


async def test_one_release_serves_all_who_fit() -> None:
    budget = MemoryBudget(LIMIT)
    everything = await budget.account(Use.DOWNLOAD).reserve(LIMIT, LIMIT)
    asking = [ask(budget, 250) for _ in range(4)]
    await let_others_run()
    everything.release()
    await let_others_run()
    assert [task.done() for task in asking] == [True, True, True, False]
    (await asking[0]).release()
    assert (await asking[3]).size == 250


@pytest.mark.parametrize(("use", "other"), [(Use.UPLOAD, Use.DOWNLOAD), (Use.DOWNLOAD, Use.UPLOAD)])
async def test_a_quarter_is_kept_for_the_other_use(use: Use, other: Use) -> None:
    budget = MemoryBudget(LIMIT)
    greedy = [ask(budget, 50, use=use) for _ in range(100)]
    await let_others_run()
    assert budget.free == LIMIT // 4
    # Those who wait for their own part do not stand in the way.
    assert budget.account(other).try_reserve(50, 50) is not None
    assert (await budget.account(other).reserve(200, 200)).size == 200
    for task in greedy:
        task.cancel()


async def test_the_client_that_holds_the_least_is_served_first() -> None:
    budget = MemoryBudget(LIMIT)
    held = [await budget.account(Use.DOWNLOAD, "greedy").reserve(50, 50) for _ in range(15)]
    greedy = [ask(budget, 50, client="greedy") for _ in range(100)]
    await let_others_run()
    modest = ask(budget, 50, client="modest")
    await let_others_run()
    assert not modest.done()
    assert held[0].wanted
    assert held[0].wanted_by_smaller_holder
    held[0].release()
    await let_others_run()
    assert modest.done()
    assert not any(task.done() for task in greedy)
    # Going on, it stands before those who have more, though they came first.
    again = budget.account(Use.DOWNLOAD, "modest").reserve(50, 50, instead_of=modest.result())
    assert (await again).size == 50
    assert not any(task.done() for task in greedy)
    held[1].release()
    await let_others_run()
    assert [task.done() for task in greedy] == [True] + [False] * 99
    for task in greedy:
        task.cancel()


async def test_a_client_that_is_alone_has_all_there_is() -> None:
    budget = MemoryBudget(LIMIT)
    alone = [ask(budget, 50, client="alone") for _ in range(15)]
    await let_others_run()
    assert all(task.done() for task in alone)
    assert not alone[0].result().wanted


async def test_a_part_of_a_reservation_outlives_the_rest() -> None:
    budget = MemoryBudget(LIMIT)
    reservation = await budget.account(Use.DOWNLOAD).reserve(100, 100)
    part = reservation.split(30)
    reservation.release()
    assert (part.size, budget.free) == (30, LIMIT - 30)
    assert part.split(1000).size == 30
    assert part.size == 0


async def test_who_does_not_wait_gets_what_is_free_or_nothing() -> None:
    budget = MemoryBudget(100)
    first = budget.account(Use.DOWNLOAD).try_reserve(60, 80)
    assert first is not None
    assert first.size == 60
    assert budget.account(Use.DOWNLOAD).try_reserve(41, 50) is None
    waiting = ask(budget, 50)
    await let_others_run()
    # Not even what is free, while somebody waits for more.
    assert budget.account(Use.DOWNLOAD).try_reserve(1, 1) is None
    first.release()
    (await waiting).release()
    assert budget.free == budget.limit


async def test_a_small_wish_does_not_overtake_a_large_one() -> None:
    budget = MemoryBudget(LIMIT)
    half = await budget.account(Use.DOWNLOAD).reserve(500, 500)
    large = ask(budget, 600)
    await let_others_run()
    small = ask(budget, 1)
    await let_others_run()
    assert not large.done()
    assert not small.done()
    half.release()
    assert (await large).size == 600
    assert (await small).size == 1


async def test_who_gives_up_lets_those_behind_go_on() -> None:
    budget = MemoryBudget(LIMIT)
    await budget.account(Use.DOWNLOAD).reserve(500, 500)
    large, small = ask(budget, 600), ask(budget, 100)
    await let_others_run()
    large.cancel()
    assert (await small).size == 100
    assert large.cancelled()
    assert budget.free == 400


async def test_who_gives_up_in_the_middle_leaves_the_order_as_it_is() -> None:
    budget = MemoryBudget(LIMIT)
    everything = await budget.account(Use.DOWNLOAD).reserve(LIMIT, LIMIT)
    first, second, third = ask(budget, 600), ask(budget, 100), ask(budget, 500)
    await let_others_run()
    second.cancel()
    await let_others_run()
    everything.release()
    await let_others_run()
    assert first.done()
    assert not third.done()
    (await first).release()
    assert (await third).size == 500


async def test_who_is_cancelled_at_the_moment_of_being_served_takes_nothing() -> None:
    budget = MemoryBudget(LIMIT)
    everything = await budget.account(Use.DOWNLOAD).reserve(LIMIT, LIMIT)
    first, second = ask(budget, LIMIT), ask(budget, LIMIT)
    await let_others_run()
    everything.release()
    first.cancel()
    assert (await second).size == LIMIT
    assert first.cancelled()
    second.result().release()
    assert budget.free == LIMIT


async def test_a_newcomer_waits_behind_one_who_is_giving_up() -> None:
    budget = MemoryBudget(LIMIT)
    await budget.account(Use.DOWNLOAD).reserve(500, 500)
    first = ask(budget, 600)
    await let_others_run()
    first.cancel()
    newcomer = ask(budget, 100)
    assert (await newcomer).size == 100
    assert budget.free == 400


@dataclass(frozen=True, slots=True)
class Request:
    """One who asked: for what, how much, and what became of it."""

    account: Account
    least: int
    most: int
    task: asyncio.Task[Reservation]

    @property
    def waits(self) -> bool:
        return not self.task.done()

    @property
    def granted(self) -> Reservation | None:
        return self.task.result() if self.task.done() and not self.task.cancelled() else None


@dataclass
class Schedule:
    """Runs requests on a budget and checks after each step what must hold."""

    budget: MemoryBudget
    requests: list[Request] = field(default_factory=list)

    def ask(self, use: Use, client: str, least: int, most: int) -> None:
        task = ask(self.budget, least, most, use=use, client=client)
        least = min(least, self.budget.limit)
        self.requests.append(Request(self.budget.account(use, client), least, most, task))

    def release(self, place: int) -> None:
        if granted := self.granted():
            granted[place % len(granted)].release()

    def cancel(self, place: int) -> None:
        if self.requests:
            self.requests[place % len(self.requests)].task.cancel()

    def granted(self) -> list[Reservation]:
        return [one.granted for one in self.requests if one.granted is not None]

    def held(self, use: Use, client: str | None = None) -> int:
        return sum(
            one.granted.size
            for one in self.requests
            if one.granted is not None
            and one.account.use is use
            and client in (None, one.account.client)
        )

    def check_bounds(self) -> None:
        held = sum(reservation.size for reservation in self.granted())
        assert 0 <= self.budget.free <= self.budget.limit - held

    async def settle(self) -> None:
        waiting = {id(one) for one in self.requests if one.waits}
        await let_others_run()
        self._check_new_grants(waiting)
        self._check_that_nothing_leaked()
        self._check_parts()
        self._check_the_queue()

    def _check_new_grants(self, waiting: set[int]) -> None:
        for one in self.requests:
            if id(one) in waiting and one.granted is not None:
                assert one.least <= one.granted.size <= max(one.least, one.most)

    def _check_that_nothing_leaked(self) -> None:
        held = sum(reservation.size for reservation in self.granted())
        assert self.budget.free + held == self.budget.limit

    def _check_parts(self) -> None:
        for use in Use:
            largest = max((one.granted.size for one in self.requests if one.granted), default=0)
            assert self.held(use) <= max(largest, self._part), "nothing is left for the other use"

    def _check_the_queue(self) -> None:
        next_ones = sorted(filter(None, map(self._next, Use)), key=self.requests.index)
        for one in next_ones:
            if 0 < self.held(one.account.use) > self._part - one.least:
                continue
            assert one.least > self.budget.free, "nobody need wait"
            break

    def _next(self, use: Use) -> Request | None:
        waiting = [one for one in self.requests if one.waits and one.account.use is use]
        return min(waiting, key=lambda one: self.held(use, one.account.client), default=None)

    @property
    def _part(self) -> int:
        return self.budget.limit - self.budget.limit // 4


sizes = st.integers(min_value=0, max_value=60)
steps = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(Use), st.sampled_from("abc"), sizes, sizes),
    st.tuples(st.sampled_from(["release", "cancel"]), st.integers(min_value=0, max_value=20)),
    st.just(("settle",)),
)


@given(limit=st.integers(min_value=1, max_value=50), schedule=st.lists(steps, max_size=40))
async def test_any_schedule_keeps_the_budget(
    limit: int, schedule: list[tuple[object, ...]]
) -> None:
    budget = MemoryBudget(limit)
    run = Schedule(budget)
    for step in schedule:
        match step:
            case ("ask", Use() as use, str(client), int(least), int(most)):
                run.ask(use, client, least, most)
            case ("release", int(place)):
                run.release(place)
            case ("cancel", int(place)):
                run.cancel(place)
            case _:
                await run.settle()
        run.check_bounds()
    await run.settle()
    while any(one.waits for one in run.requests):
        for reservation in run.granted():
            reservation.release()
        await run.settle()
    for reservation in run.granted():
        reservation.release()
    assert budget.free == limit
