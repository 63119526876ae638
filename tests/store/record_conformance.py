"""The contract of records as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.errors import RecordsChanged
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.records import (
    ABSENT,
    DeleteRecord,
    PutRecord,
    Record,
    RecordChange,
    Records,
)
from chunkstore.store.contract.store import Store
from tests.store.conformance import ODD_NAMES, Reopen, Suite
from tests.store.rows import Rows

PAST = datetime(2020, 1, 1, tzinfo=UTC)
# Whole microseconds, as times are stored.
FUTURE = datetime.now(UTC).replace(microsecond=7) + timedelta(days=1)


def record(key: str, value: str = "{}", owner: str = "", kind: str = "account") -> PutRecord:
    return PutRecord(kind, key, owner, value)


async def keys(records: Records, kind: str = "account", owner: str | None = None) -> list[str]:
    return [found.key for found in await records.list(kind, owner)]


async def revision_of(records: Records, key: str) -> int:
    found = await records.find("account", key)
    assert found is not None
    return found.revision


class RecordConformance(Suite):
    """What every store owes those who keep records in it."""

    async def test_a_record_is_as_it_was_put(self, reopen: Reopen) -> None:
        records = (await reopen()).records
        await records.apply([PutRecord("token", "é\n😀", "anna", '{"ü": 1}', FUTURE)])
        found = await records.find("token", "é\n😀")
        assert found == Record(
            "token", "é\n😀", "anna", '{"ü": 1}', found.revision if found else 0, FUTURE
        )
        assert await records.list("token") == [found]
        records = (await reopen()).records
        assert await records.find("token", "é\n😀") == found
        assert await records.find("token", "é") is None
        assert await records.find("link", "é\n😀") is None

    async def test_one_of_another_kind_is_another_record(self, store: Store) -> None:
        await store.records.apply([record("a", "1"), record("a", "2", kind="group")])
        await store.records.apply([DeleteRecord("group", "a")])
        assert await keys(store.records) == ["a"]
        assert await keys(store.records, "group") == []

    async def test_lists_are_in_order_of_the_bytes_in_pages(self, store: Store) -> None:
        put: list[RecordChange] = [record(name, owner=name[:1]) for name in ODD_NAMES]
        await store.records.apply(put)
        expected = sorted(ODD_NAMES, key=lambda name: name.encode())
        assert await keys(store.records) == expected
        paged: list[str] = []
        while page := await store.records.list("account", after=paged[-1] if paged else "", most=7):
            assert len(page) <= 7
            paged += [found.key for found in page]
        assert paged == expected
        of_a = [name for name in expected if name.startswith("a")]
        assert await keys(store.records, owner="a") == of_a
        last = await store.records.list("account", "a", of_a[1], most=2)
        assert [found.key for found in last] == of_a[2:4]
        assert await keys(store.records, owner="nobody") == []

    async def test_a_put_replaces_owner_value_and_expiry(self, store: Store) -> None:
        await store.records.apply([PutRecord("account", "a", "one", "1", FUTURE)])
        before = await store.records.find("account", "a")
        await store.records.apply([PutRecord("account", "a", "two", "2")])
        after = await store.records.find("account", "a")
        assert before is not None
        assert after == Record("account", "a", "two", "2", after.revision if after else 0)
        assert after.revision != before.revision
        assert await keys(store.records, owner="one") == []

    @pytest.mark.parametrize("second", ["put", "delete"])
    async def test_of_two_who_change_the_same_one_is_told_to_look_again(
        self, store: Store, second: Literal["put", "delete"]
    ) -> None:
        records = store.records
        await records.apply([record("a", "old")])
        seen = await revision_of(records, "a")
        await records.apply([PutRecord("account", "a", "", "first", expected=seen)])
        change: RecordChange = (
            PutRecord("account", "a", "", "second", expected=seen)
            if second == "put"
            else DeleteRecord("account", "a", seen)
        )
        with pytest.raises(RecordsChanged):
            await records.apply([change])
        found = await records.find("account", "a")
        assert found is not None
        assert found.value == "first"
        await records.apply([DeleteRecord("account", "a", found.revision)])
        # One that was made anew is not the one that was seen.
        await records.apply([record("a", "new")])
        with pytest.raises(RecordsChanged):
            await records.apply([DeleteRecord("account", "a", found.revision)])

    async def test_what_is_expected_to_be_absent_must_be(self, store: Store) -> None:
        new = PutRecord("account", "a", "", "1", expected=ABSENT)
        await store.records.apply([new])
        with pytest.raises(RecordsChanged):
            await store.records.apply([new])
        with pytest.raises(RecordsChanged):
            await store.records.apply([PutRecord("account", "b", "", "1", expected=1)])
        with pytest.raises(RecordsChanged):
            await store.records.apply([DeleteRecord("account", "b", 1)])
        # Whatever there is, may also be nothing.
        await store.records.apply([DeleteRecord("account", "b")])
        assert await keys(store.records) == ["a"]

    async def test_of_several_who_add_the_same_at_once_one_does(self, store: Store) -> None:
        results = await asyncio.gather(
            *(
                store.records.apply(
                    [PutRecord("account", "a", "", str(index), expected=ABSENT)],
                    announced=bool(index % 2),
                )
                for index in range(12)
            ),
            return_exceptions=True,
        )
        assert results.count(None) == 1
        assert sum(isinstance(result, RecordsChanged) for result in results) == 11

    async def test_nobody_s_change_is_lost_when_all_expect_what_they_saw(
        self, store: Store
    ) -> None:
        await store.records.apply([record("count", "0")])

        async def add_one() -> None:
            while True:
                found = await store.records.find("account", "count")
                assert found is not None
                value = str(int(found.value) + 1)
                change = PutRecord("account", "count", "", value, expected=found.revision)
                try:
                    return await store.records.apply([change])
                except RecordsChanged:
                    continue

        await asyncio.gather(*(add_one() for _ in range(8)))
        found = await store.records.find("account", "count")
        assert found is not None
        assert found.value == "8"

    async def test_changes_are_made_all_or_none(self, store: Store) -> None:
        await store.records.apply([record("b"), record("c")])
        before = await store.records.revision()
        for wrong in (
            PutRecord("account", "z", "", "", expected=5),
            PutRecord("account", "b", "", "", expected=ABSENT),
            DeleteRecord("account", "a", 5),
        ):
            with pytest.raises(RecordsChanged):
                await store.records.apply([record("x"), DeleteRecord("account", "c"), wrong])
        assert await keys(store.records) == ["b", "c"]
        assert await store.records.revision() == before

    async def test_two_changes_of_one_record_are_a_mistake(self, store: Store) -> None:
        with pytest.raises(ValueError, match="one record"):
            await store.records.apply([record("a"), DeleteRecord("account", "a")])
        assert await keys(store.records) == []

    async def test_changes_that_are_announced_move_the_revision(self, reopen: Reopen) -> None:
        records = (await reopen()).records
        seen = [await records.revision()]
        changes: Sequence[RecordChange] = (record("a"), record("a"), DeleteRecord("account", "a"))
        for change in changes:
            await records.apply([change])
            seen.append(await records.revision())
        assert len(set(seen)) == 4
        await records.apply([record("b")], announced=False)
        assert await records.revision() == seen[-1]
        assert await keys(records) == ["b"]
        records = (await reopen()).records
        assert await records.revision() == seen[-1]

    async def test_an_expired_record_is_as_good_as_absent(self, store: Store, rows: Rows) -> None:
        records = store.records
        await records.apply([PutRecord("account", "a", "o", "1", PAST), record("b", owner="o")])
        assert await records.find("account", "a") is None
        assert await keys(records) == ["b"]
        assert await keys(records, owner="o") == ["b"]
        [(revision,)] = await rows.fetch("SELECT revision FROM record WHERE key = 'a'")
        with pytest.raises(RecordsChanged):
            await records.apply([DeleteRecord("account", "a", revision)])
        with pytest.raises(RecordsChanged):
            await records.apply([PutRecord("account", "a", "", "", expected=revision)])
        await records.apply([PutRecord("account", "a", "", "2", FUTURE, ABSENT)])
        found = await records.find("account", "a")
        assert found is not None
        assert (found.value, found.expires) == ("2", FUTURE)

    async def test_a_collection_removes_what_has_expired(self, store: Store, rows: Rows) -> None:
        expired = [PutRecord("session", str(number), "", "", PAST) for number in range(600)]
        await store.records.apply([*expired, PutRecord("session", "x", "", "", FUTURE)])
        await store.records.apply([record("a")])
        await collect_all(store.maintenance, 3600)
        assert await rows.fetch("SELECT key FROM record ORDER BY key") == [("a",), ("x",)]

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c"]),
                st.sampled_from(["put", "add", "change", "change another", "delete", "drop"]),
            ),
            max_size=12,
        )
    )
    async def test_any_sequence_of_changes_comes_to_what_a_dictionary_has(
        self, store: Store, steps: list[tuple[str, str]]
    ) -> None:
        # Left by another example.
        await store.records.apply([DeleteRecord("account", key) for key in "abc"])
        there: dict[str, str] = {}
        for number, (key, step) in enumerate(steps):
            found = await store.records.find("account", key)
            assert (None if found is None else found.value) == there.get(key)
            seen = 1 if found is None else found.revision
            changes: dict[str, tuple[RecordChange, bool]] = {
                "put": (record(key, str(number)), True),
                "add": (
                    PutRecord("account", key, "", str(number), expected=ABSENT),
                    key not in there,
                ),
                "change": (
                    PutRecord("account", key, "", str(number), expected=seen),
                    key in there,
                ),
                "change another": (
                    PutRecord("account", key, "", "", expected=seen + 1),
                    False,
                ),
                "delete": (DeleteRecord("account", key), True),
                "drop": (DeleteRecord("account", key, seen), key in there),
            }
            change, succeeds = changes[step]
            try:
                await store.records.apply([change])
            except RecordsChanged:
                assert not succeeds
                continue
            assert succeeds
            if isinstance(change, PutRecord):
                there[key] = change.value
            else:
                there.pop(key, None)
        listed = await store.records.list("account")
        assert {found.key: found.value for found in listed} == there
