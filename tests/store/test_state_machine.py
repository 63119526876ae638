"""The store against a model in memory: any sequence of calls, what it holds checked after each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chunkstore.core.compression import DEFAULT_COMPRESSION, NO_COMPRESSION
from chunkstore.core.errors import ChunksMissing
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Edit
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import Delete as DeleteUpload
from tests.backends import Backend, SQLiteBackend
from tests.conftest import on_each_backend
from tests.store.conformance import CHUNK_SIZE, cut, get, name_of, names, put, scrub, whole_put
from tests.store.edits import get_file
from tests.store.model import Drawn, Model, Refused, Write, any_folder, edits_of, file_names
from tests.store.pack_conformance import hold, known, refer
from tests.store.upload_conformance import begin, complete

T = TypeVar("T")

# Few different chunks, so that contents share them, by what they are filled with; and what follows.
shapes = st.tuples(st.binary(max_size=5), st.sampled_from([b"", b"x", b"end"]))


def content_of(shape: tuple[bytes, bytes]) -> bytes:
    chunks, last = shape
    return b"".join(bytes([value % 5]) * CHUNK_SIZE for value in chunks) + last


contents = shapes.map(content_of)


async def push(store: Store, name: FileName, content: bytes, *, collected: bool) -> None:
    """Put a file as who sends only what is missing, in two packs at once."""
    chunks = cut(content)
    upload_id = await begin(store, UploadSpec(UploadKind.FILE, name, "text/plain"))
    known_ones = await store.chunks.find_sizes([chunk.digest for chunk in chunks])
    missing = [chunk for chunk in chunks if chunk.digest not in known_ones]
    await asyncio.gather(
        hold(store, upload_id, missing[::2]), hold(store, upload_id, missing[1::2], appended=1)
    )
    if collected:
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
    try:
        await refer(store, upload_id, known(chunks), whole=True)
    except ChunksMissing:
        # What was known belonged to no file any more.
        assert collected
        await hold(store, upload_id, chunks)
        await refer(store, upload_id, known(chunks), whole=True)
    await complete(store, upload_id, content)


class StoreMachine(RuleBasedStateMachine):
    """Calls of the store, each mirrored on `model`."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.runner = asyncio.Runner()
        self.model = Model()
        self.run(backend.clear())
        self.store: Store = self.run(backend.open())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    @rule(name=file_names, content=contents, appended=st.integers(0, 3))
    def put(self, name: FileName, content: bytes, appended: int) -> None:
        self.expect(
            self.model.apply([Write(name, content)]),
            put(self.store, name, content, appended=appended),
        )

    @rule(name=file_names, content=contents, collected=st.booleans())
    def push(self, name: FileName, content: bytes, collected: bool) -> None:
        """Put a file by its list, and send of its chunks only those that are missing."""
        self.expect(
            self.model.apply([Write(name, content)]),
            push(self.store, name, content, collected=collected),
        )
        self.delete_uploads()

    def delete_uploads(self) -> None:
        for row in self.run(self.backend.rows.uploads()):
            self.run(self.store.uploads.apply(row.id, DeleteUpload()))

    @rule(drawn=st.lists(edits_of(contents), min_size=1, max_size=4))
    def apply(self, drawn: list[Drawn]) -> None:
        async def apply() -> list[bool]:
            edits = [self.edit_of(one) for one in drawn]
            return [applied.replaced for applied in await self.store.names.apply(edits)]

        expected = self.model.apply(drawn)
        applied = self.expect(expected, apply())
        assert isinstance(expected, Refused) or applied == expected

    def expect(self, expected: object, call: Coroutine[Any, Any, T]) -> T | None:
        """Run a call that fails if the model says so."""
        if not isinstance(expected, Refused):
            return self.run(call)
        with pytest.raises(expected.error) as caught:
            self.run(call)
        assert (type(caught.value), caught.value.edit) == (expected.error, expected.place)
        return None

    def edit_of(self, drawn: Drawn) -> Edit:
        if not isinstance(drawn, Write):
            return drawn
        put = whole_put(self.store, drawn.name, drawn.content, drawn.conditions)
        return replace(put, strict=drawn.strict)

    @rule(name=file_names, start=st.integers(0, 30_000), length=st.integers(0, 30_000))
    def read_range(self, name: str, start: int, length: int) -> None:
        if name not in self.model.files:
            return
        content = self.model.files[name]
        start = min(start, len(content))
        stop = min(start + length, len(content))
        manifest = self.run(get_file(self.store, name_of(name))).manifest
        assert self.run(self.store.contents.read(manifest, start, stop)) == content[start:stop]

    @rule()
    def abandon_an_upload(self) -> None:
        async def abandon() -> None:
            upload = self.store.contents.begin()
            await upload.append([])
            await upload.abort()

        self.run(abandon())

    @rule(folder=any_folder, chunks=st.integers(0, 6), files=st.integers(0, 4))
    def set_quota(self, folder: FolderName, chunks: int, files: int) -> None:
        quota = self.run(self.store.quotas.set(folder, chunks * CHUNK_SIZE, files))
        self.model.quotas[folder] = (chunks * CHUNK_SIZE, files)
        assert (quota.folder, quota.max_size, quota.max_files) == (
            folder,
            chunks * CHUNK_SIZE,
            files,
        )

    @precondition(lambda self: self.model.quotas)
    @rule(data=st.data())
    def remove_quota(self, data: st.DataObject) -> None:
        folder = data.draw(st.sampled_from(sorted(self.model.quotas)))
        self.run(self.store.quotas.remove(FolderName(folder)))
        del self.model.quotas[folder]

    @rule(compressed=st.booleans())
    def reopen(self, compressed: bool) -> None:
        self.run(self.store.close())
        compression = DEFAULT_COMPRESSION if compressed else NO_COMPRESSION
        self.store = self.run(self.backend.open(compression=compression))

    @rule()
    def scrub(self) -> None:
        assert not any(step.damage for step in self.run(scrub(self.store)))

    @rule()
    def collect(self) -> None:
        self.run(collect_all(self.store.maintenance, 0))
        assert self.run(self.backend.rows.unused()) == []
        needed = {
            content[start : start + CHUNK_SIZE]
            for content in self.model.files.values()
            for start in range(0, len(content), CHUNK_SIZE)
        }
        stats = self.run(self.store.maintenance.stats())
        assert (stats.chunks, stats.unique_size) == (len(needed), sum(map(len, needed)))

    @invariant()
    def contents_are_equal(self) -> None:
        async def held() -> dict[str, bytes]:
            return {name: await get(self.store, name) for name in await names(self.store)}

        assert self.run(held()) == self.model.files
        assert sorted(self.run(self.backend.rows.names())) == self.model.names()

    @invariant()
    def what_is_used_is_exact(self) -> None:
        kept = {quota.folder: quota.used for quota in self.run(self.store.quotas.list())}
        assert {folder: (used.size, used.files) for folder, used in kept.items()} == {
            folder: self.model.usage(folder) for folder in self.model.quotas
        }

    @invariant()
    def every_reference_holds(self) -> None:
        assert self.run(self.backend.rows.broken()) == []


@on_each_backend
def test_any_sequence_of_calls(backend: Backend) -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(backend)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            # Each takes several times as long there, most of it to open the store again and again.
            max_examples=20 if isinstance(backend, SQLiteBackend) else 8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
