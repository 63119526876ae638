"""The contract of uploads that outlive their request, as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import CREATE_ONLY, Conditions, parse_http_date
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunkstoreError,
    NotFound,
    PreconditionFailed,
    TooMuchUnfinished,
    UploadSuperseded,
)
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.resumable import (
    FATAL,
    Failure,
    ResumableUpload,
    UploadKind,
    UploadSpec,
    UploadState,
)
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import (
    Acquire,
    Append,
    AppendLast,
    Delete,
    Event,
    Fail,
    Join,
    NoteDigest,
    Progress,
    Renew,
)
from chunkstore.store.contract.uploads import NOTHING, Bounds, Unfinished
from chunkstore.store.contract.values import Committed
from tests.conftest import RandomBytes
from tests.store.conformance import CHUNK_SIZE, Reopen, Suite, cut, etag, get, name_of, put
from tests.store.rows import Rows, UploadRow

FILE = UploadSpec(UploadKind.FILE, name_of("a"), "text/plain")
PART = UploadSpec(UploadKind.PART, None, "")


# Rows of the schemas before uploads were summed up: kind, received, extent, used, digest.
OLD_UPLOADS = [
    ("file", 0, 0, False, None),
    ("file", 5000, 9000, False, None),
    ("part", 10, 10, False, None),
    ("part", 10, 10, True, None),
    ("concatenation", 10, 10, False, None),
    ("file", 5000, 9000, False, bytes(32)),
]
UNFINISHED = (UploadState.OPEN, UploadState.WHOLE)
OLD_UNFINISHED = Unfinished(4096 + 9000 + 4096, 1, 1)
MOVES = [
    "file", "part", "concatenation", "append", "end", "ahead", "join", "complete", "fail", "delete",
    "expire",
]  # fmt: skip


def sum_of(uploads: Sequence[UploadRow]) -> Unfinished:
    """Return what they come to, reckoned from their rows."""
    open_ones = [row for row in uploads if not (row.digest or row.failure or row.used)]
    own = [row for row in open_ones if row.kind != "concatenation"]
    return Unfinished(
        sum(row.extent for row in own),
        sum(row.received == 0 for row in own),
        len(open_ones) - len(own),
    )


async def unfinished(rows: Rows) -> Unfinished:
    """Return what the store keeps as the sum of all."""
    return Unfinished(*await rows.unfinished_sum())


def later(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def apply(store: Store, upload_id: str, event: Event) -> ResumableUpload:
    """Let an event happen; what is told of the upload then is what is found."""
    told = await store.uploads.apply(upload_id, event)
    assert told == await store.uploads.get(upload_id)
    return told


async def acquire(store: Store, upload_id: str, *, joining: bool = False) -> ResumableUpload:
    return await apply(store, upload_id, Acquire(joining))


async def join(store: Store, upload_id: str, part_id: str, epoch: int) -> ResumableUpload:
    offset = (await store.uploads.get(upload_id)).offset
    return await apply(store, upload_id, Join(part_id, epoch, offset, later()))


async def note_digest(store: Store, upload_id: str, content: bytes) -> None:
    await apply(store, upload_id, NoteDigest(Digest.of(content)))


async def fail(store: Store, upload_id: str, failure: Failure) -> None:
    await apply(store, upload_id, Fail(failure))


async def delete(store: Store, upload_id: str) -> None:
    before = await store.uploads.get(upload_id)
    assert await store.uploads.apply(upload_id, Delete()) == before
    assert await store.uploads.find(upload_id) is None


async def add(
    store: Store,
    upload_id: str,
    content: bytes,
    *,
    whole: bool = False,
    max_unfinished: int | None = None,
) -> ResumableUpload:
    """Append and confirm bytes under a lease of their own."""
    upload = await acquire(store, upload_id, joining=True)
    assert upload.chunks is not None
    rest = upload.tail + content
    kept = len(rest) - len(rest) % CHUNK_SIZE
    offset = upload.offset + len(content)
    progress = Progress(offset, rest[kept:], offset if whole else None, later())
    kind = AppendLast if whole else Append
    append = kind(upload.epoch, upload.chunks.size, cut(rest[:kept]), progress, max_unfinished)
    return await apply(store, upload_id, append)


async def begin(
    store: Store, spec: UploadSpec = FILE, content: bytes = b"", *, whole: bool = False
) -> str:
    upload = await store.uploads.create(spec, None, later())
    if content or whole:
        await add(store, upload.id, content, whole=whole)
    return upload.id


async def complete(store: Store, upload_id: str, content: bytes) -> Committed:
    spec = (await store.uploads.get(upload_id)).spec
    uploaded = Uploaded(upload_id, Digest.of(content), later())
    name = FileName("none") if spec.target is None else spec.target
    [committed] = await store.names.apply([Put(name, uploaded, spec.media_type, spec.conditions)])
    return committed


def concatenation(parts: Sequence[str]) -> UploadSpec:
    return UploadSpec(UploadKind.CONCATENATION, name_of("a"), "text/plain", parts=parts)


class UploadConformance(Suite):
    """What every backend must pass."""

    async def test_an_upload_is_kept_as_it_was_begun(self, reopen: Reopen) -> None:
        store = await reopen()
        conditions = Conditions(
            if_match=etag(b"x"),
            if_unmodified_since=parse_http_date(["Sun, 06 Nov 1994 08:49:37 GMT"]),
        )
        spec = UploadSpec(
            UploadKind.FILE, name_of("é/b"), "a/b; c=d", conditions, {"sha256": b"\0\1"}, "k djE="
        )
        begun = await store.uploads.create(spec, 5, later())
        for _ in range(2):
            found = await store.uploads.get(begun.id)
            assert found == begun
            assert found.spec == spec
            assert (found.offset, found.length, found.tail) == (0, 5, b"")
            assert not found.whole
            assert not found.complete
            store = await reopen()

    async def test_ids_cannot_be_guessed(self, store: Store) -> None:
        ids = {await begin(store) for _ in range(20)}
        assert len(ids) == 20
        assert all(len(upload_id) >= 43 for upload_id in ids)

    async def test_what_is_not_there(self, store: Store) -> None:
        assert await store.uploads.find("none") is None
        events: list[Event] = [
            Acquire(),
            Append(0, 0, [], None),
            Join("none", 0, 0, later()),
            Renew(0, later()),
            NoteDigest(Digest.of(b"")),
            Fail(Failure("too-large", "")),
            Delete(),
        ]
        for failing in (
            store.uploads.get("none"),
            complete(store, "none", b""),
            *(store.uploads.apply("none", event) for event in events),
        ):
            with pytest.raises(NotFound):
                await failing

    @pytest.mark.parametrize("upload_id", ["", "\0", "a\0", "\ud800", "é", "'--", "a" * 100_000])
    async def test_ids_that_no_upload_can_have(self, store: Store, upload_id: str) -> None:
        assert await store.uploads.find(upload_id) is None
        assert list(await store.uploads.awaiting(upload_id)) == []
        final = await begin(store, concatenation([await begin(store, PART)]))
        epoch = (await acquire(store, final, joining=True)).epoch
        for failing in (
            store.uploads.apply(upload_id, Acquire()),
            store.uploads.apply(final, Join(upload_id, epoch, 0, later())),
            begin(store, concatenation([upload_id])),
            store.names.apply(
                [Put(name_of("a"), Uploaded(upload_id, Digest.of(b""), later()), "a/b")]
            ),
        ):
            with pytest.raises(NotFound):
                await failing

    @pytest.mark.parametrize("epoch", [-(2**70), -1, 0, 2, 2**63, 2**70])
    async def test_epochs_that_are_no_lease(self, store: Store, rows: Rows, epoch: int) -> None:
        part = await begin(store, PART, b"x" * CHUNK_SIZE, whole=True)
        upload_id = await begin(store, concatenation([part]))
        assert (await acquire(store, upload_id, joining=True)).epoch == 1
        before = await rows.uploads()
        progress = Progress(CHUNK_SIZE, b"", None, later())
        events: list[Event] = [
            Append(epoch, 0, cut(b"x" * CHUNK_SIZE), progress),
            AppendLast(epoch, 0, cut(b"x" * CHUNK_SIZE), progress),
            Join(part, epoch, 0, later()),
        ]
        for event in events:
            with pytest.raises(UploadSuperseded):
                await store.uploads.apply(upload_id, event)
        await apply(store, upload_id, Renew(epoch, later(7200)))
        assert await rows.uploads() == before

    @pytest.mark.parametrize("step", [1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 10_000])
    async def test_bytes_come_step_by_step_through_restarts(
        self, reopen: Reopen, rows: Rows, random_bytes: RandomBytes, step: int
    ) -> None:
        content = random_bytes(3 * CHUNK_SIZE + 5)[: 30 * step]
        store = await reopen()
        upload_id = await begin(store)
        for start in range(0, len(content), step):
            upload = await add(store, upload_id, content[start : start + step])
            assert upload.offset == min(start + step, len(content))
            if start % (7 * step) == 0:
                store = await reopen()
        await add(store, upload_id, b"", whole=True)
        committed = await complete(await reopen(), upload_id, content)
        store = await reopen()
        assert await get(store, "a") == content
        assert committed.new_size == len(content)
        assert str(committed.file.manifest.digest) == blake3(content).hexdigest()
        [row] = await rows.uploads()
        assert (row.manifest, row.tail, row.digest) == (None, b"", blake3(content).digest())
        assert await rows.count("manifest") == 1

    async def test_rows_are_what_the_schema_says(self, store: Store, rows: Rows) -> None:
        upload_id = await begin(store, FILE, b"x" * (2 * CHUNK_SIZE) + b"tail")
        [row] = await rows.uploads()
        assert (row.id, row.kind, row.target) == (upload_id, "file", "a")
        assert row.received == row.extent == 2 * CHUNK_SIZE + 4
        assert (row.length, row.whole, row.digest, row.tail) == (None, False, None, b"tail")
        chunk = blake3(b"x" * CHUNK_SIZE).digest()
        assert row.manifest is not None
        assert await rows.places(row.manifest) == [(0, chunk), (CHUNK_SIZE, chunk)]
        assert await rows.broken() == []
        assert await rows.count("chunk") == 1
        await delete(store, upload_id)
        assert await rows.count("upload") == await rows.count("manifest") == 0

    async def test_known_chunks_are_not_stored_again(self, store: Store, rows: Rows) -> None:
        content = bytes(range(256)) * 64
        await put(store, "known", content)
        upload_id = await begin(store, FILE, content, whole=True)
        committed = await complete(store, upload_id, content)
        assert (committed.new_chunks, committed.new_size) == (0, 0)
        assert await rows.count("manifest") == self.manifests(2)
        assert await get(store, "a") == content

    async def test_the_newer_lease_wins(self, store: Store, rows: Rows) -> None:
        upload_id = await begin(store, FILE, b"12")
        older = await acquire(store, upload_id)
        newer = await acquire(store, upload_id)
        assert newer.epoch > older.epoch
        chunks = cut(b"y" * CHUNK_SIZE)
        progress = Progress(CHUNK_SIZE, b"", None, later())
        with pytest.raises(UploadSuperseded):
            await store.uploads.apply(upload_id, Append(older.epoch, 0, chunks, progress))
        assert (await store.uploads.get(upload_id)).offset == 2
        assert await rows.count("place") == 0
        await apply(store, upload_id, Append(newer.epoch, 0, chunks, progress))
        assert (await store.uploads.get(upload_id)).offset == CHUNK_SIZE

    async def test_of_many_leases_at_once_one_goes_on(self, store: Store) -> None:
        upload_id = await begin(store)

        leases = await asyncio.gather(
            *(store.uploads.apply(upload_id, Acquire()) for _ in range(20))
        )

        async def append(lease: ResumableUpload) -> int:
            progress = Progress(CHUNK_SIZE, b"", None, later())
            chunks = cut(bytes([lease.epoch]) * CHUNK_SIZE)
            await store.uploads.apply(upload_id, Append(lease.epoch, 0, chunks, progress))
            return lease.epoch

        results = await asyncio.gather(*map(append, leases), return_exceptions=True)
        [winner] = [result for result in results if isinstance(result, int)]
        assert winner == max(lease.epoch for lease in leases)
        content = bytes([winner]) * CHUNK_SIZE
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, content)
        assert await get(store, "a") == content

    async def test_what_was_not_confirmed_goes_with_the_next_lease(
        self, store: Store, rows: Rows
    ) -> None:
        upload_id = await begin(store, FILE, b"x" * CHUNK_SIZE + b"tail")
        upload = await acquire(store, upload_id)
        chunks = cut(b"tail" * (2 * CHUNK_SIZE // 4))
        await apply(store, upload_id, Append(upload.epoch, CHUNK_SIZE, chunks, None))
        [row] = await rows.uploads()
        assert (row.received, row.extent) == (CHUNK_SIZE + 4, 3 * CHUNK_SIZE)
        upload = await acquire(store, upload_id)
        assert (upload.offset, upload.tail) == (CHUNK_SIZE + 4, b"tail")
        [row] = await rows.uploads()
        assert row.extent == CHUNK_SIZE + 4
        assert await rows.count("place") == 1
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, b"x" * CHUNK_SIZE + b"tail")
        assert await get(store, "a") == b"x" * CHUNK_SIZE + b"tail"

    async def test_a_lease_whose_holder_died_is_taken_over(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        content = b"x" * CHUNK_SIZE + b"tail"
        store = await reopen()
        upload_id = await begin(store, FILE, content)
        for ahead in (0, 2):
            # Killed between what it acquired and what it would have appended, or confirmed.
            died = await acquire(store, upload_id)
            chunks = cut(b"y" * (ahead * CHUNK_SIZE))
            await apply(store, upload_id, Append(died.epoch, CHUNK_SIZE, chunks, None))
            store = await reopen()
            await collect_all(store.maintenance, 0)
            assert await store.uploads.get(upload_id) == died
        newer = await acquire(store, upload_id)
        assert newer == replace(died, epoch=died.epoch + 1)
        assert newer.chunks is not None
        assert len(await rows.places(newer.chunks.id)) == 1
        progress = Progress(2 * CHUNK_SIZE, b"", None, later())
        late = Append(died.epoch, CHUNK_SIZE, cut(b"y" * CHUNK_SIZE), progress)
        with pytest.raises(UploadSuperseded):
            await store.uploads.apply(upload_id, late)
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, content)
        assert await get(store, "a") == content

    async def test_an_append_that_fails_changes_nothing(self, store: Store, rows: Rows) -> None:
        upload_id = await begin(store, FILE, b"12")
        limit = 2 * CHUNK_SIZE
        await add(store, upload_id, b"3" * (CHUNK_SIZE - 2), max_unfinished=limit)
        before = await rows.uploads()
        epoch = (await store.uploads.get(upload_id)).epoch
        progress = Progress(3 * CHUNK_SIZE, b"", None, later())
        chunks = cut(b"z" * (2 * CHUNK_SIZE))
        with pytest.raises(TooMuchUnfinished):
            await store.uploads.apply(upload_id, Append(epoch, CHUNK_SIZE, chunks, progress, limit))
        assert await rows.uploads() == before
        assert await rows.count("chunk") == await rows.count("place") == 1

    async def test_a_whole_upload_takes_nothing_more(self, store: Store) -> None:
        upload_id = await begin(store, FILE, b"12", whole=True)
        upload = await acquire(store, upload_id)
        assert upload.whole
        with pytest.raises(UploadSuperseded):
            await store.uploads.apply(upload_id, Append(upload.epoch, 0, [], None))

    async def test_only_a_whole_upload_is_completed_and_once(self, store: Store) -> None:
        upload_id = await begin(store, FILE, b"12")
        with pytest.raises(NotFound):
            await complete(store, upload_id, b"12")
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, b"12")
        with pytest.raises(NotFound):
            await complete(store, upload_id, b"12")
        assert (await store.uploads.get(upload_id)).complete

    async def test_conditions_are_judged_at_completion(self, store: Store) -> None:
        for spec in (
            UploadSpec(UploadKind.FILE, name_of("a"), "text/plain", CREATE_ONLY),
            UploadSpec(
                UploadKind.FILE, name_of("a"), "text/plain", Conditions(if_match=etag(b"other"))
            ),
        ):
            upload_id = await begin(store, spec, b"new", whole=True)
            await put(store, "a", b"old")
            with pytest.raises(PreconditionFailed):
                await complete(store, upload_id, b"new")
            assert await get(store, "a") == b"old"
            upload = await store.uploads.get(upload_id)
            assert upload.whole
            assert not upload.complete
            await put(store, "a", b"other")
            if spec.conditions.if_match is not None:
                await complete(store, upload_id, b"new")
                assert await get(store, "a") == b"new"

    async def test_the_last_append_can_be_made_again(self, store: Store, rows: Rows) -> None:
        # As it is when the answer to a COMMIT was lost.
        upload_id = await begin(store)
        upload = await acquire(store, upload_id)
        content = b"x" * CHUNK_SIZE + b"tail"
        progress = Progress(len(content), b"tail", len(content), later())
        last = AppendLast(upload.epoch, 0, cut(content[:CHUNK_SIZE]), progress)
        await apply(store, upload_id, last)
        before = await rows.uploads()
        await apply(store, upload_id, last)
        assert await rows.uploads() == before
        committed = await complete(store, upload_id, content)
        assert committed.new_size == len(content)
        # Another may have completed it meanwhile.
        await apply(store, upload_id, last)
        for epoch in (upload.epoch - 1, upload.epoch + 1):
            with pytest.raises(UploadSuperseded):
                await store.uploads.apply(upload_id, replace(last, epoch=epoch))
        assert await get(store, "a") == content

    async def test_a_lease_is_renewed_by_its_holder(self, store: Store) -> None:
        upload_id = await begin(store)
        upload = await acquire(store, upload_id)
        await apply(store, upload_id, Renew(upload.epoch - 1, later(7200)))
        assert (await store.uploads.get(upload_id)).expires == upload.expires
        await apply(store, upload_id, Renew(upload.epoch, later(7200)))
        renewed = (await store.uploads.get(upload_id)).expires
        assert renewed > upload.expires
        await apply(store, upload_id, Renew(upload.epoch, later(60)))
        assert (await store.uploads.get(upload_id)).expires == renewed

    async def test_a_digest_that_is_known_is_kept(self, reopen: Reopen, rows: Rows) -> None:
        store = await reopen()
        upload_id = await begin(store, FILE, b"12")
        await note_digest(store, upload_id, b"12")
        assert (await store.uploads.get(upload_id)).known_digest is None
        await add(store, upload_id, b"", whole=True)
        await note_digest(store, upload_id, b"12")
        store = await reopen()
        assert (await store.uploads.get(upload_id)).known_digest == Digest.of(b"12")
        await complete(store, upload_id, b"12")
        await note_digest(store, upload_id, b"other")
        assert (await rows.uploads())[0].known_digest == Digest.of(b"12").raw

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("error", [kind('why " é') for kind in FATAL])
    async def test_what_can_never_become_a_file_keeps_no_bytes(
        self, reopen: Reopen, rows: Rows, error: ChunkstoreError, whole: bool
    ) -> None:
        store = await reopen()
        content = b"x" * CHUNK_SIZE + b"tail"
        upload_id = await begin(store, FILE, content, whole=whole)
        epoch = (await store.uploads.get(upload_id)).epoch
        await fail(store, upload_id, Failure.of(error))
        await fail(store, upload_id, Failure("too-large", "another"))
        store = await reopen()
        failed = await store.uploads.get(upload_id)
        assert failed.failure is not None
        told = failed.failure.to_error()
        assert (type(told), str(told)) == (type(error), str(error))
        assert (failed.offset, failed.tail) == (len(content), b"")
        assert await acquire(store, upload_id) == failed
        progress = Progress(9, b"", 9, later())
        with pytest.raises(UploadSuperseded):
            await store.uploads.apply(upload_id, AppendLast(epoch, 0, [], progress))
        with pytest.raises(NotFound):
            await complete(store, upload_id, content)
        assert await unfinished(rows) == NOTHING
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("chunk") == await rows.count("place") == 0
        await delete(store, upload_id)
        assert await rows.count("upload") == await rows.count("manifest") == 0

    async def test_nobody_takes_a_concatenation_from_who_joins_its_parts(
        self, store: Store
    ) -> None:
        part = await begin(store, PART, b"x" * CHUNK_SIZE, whole=True)
        upload_id = await begin(store, concatenation([part]))
        joining = await acquire(store, upload_id, joining=True)
        assert await acquire(store, upload_id) == joining
        await join(store, upload_id, part, joining.epoch)

    # Expiry, bounds, collection

    async def test_collection_and_restart_spare_what_an_upload_needs(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        content = bytes(range(256)) * 40
        store = await reopen()
        upload_id = await begin(store, FILE, content)
        await collect_all(store.maintenance, 0)
        store = await reopen()
        await collect_all(store.maintenance, 0)
        assert await rows.count("chunk") == 1
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, content)
        assert await get(store, "a") == content

    async def test_what_has_expired_is_collected(self, store: Store, rows: Rows) -> None:
        kept = await begin(store, FILE, b"k" * CHUNK_SIZE)
        upload_id = await begin(store, FILE, b"x" * CHUNK_SIZE + b"tail")
        await rows.expire_uploads(upload_id)
        would = await collect_all(store.maintenance, 0, dry_run=True)
        assert await rows.count("upload") == 2
        removed = await collect_all(store.maintenance, 0)
        assert would == removed
        assert (removed.manifests, removed.chunks) == (1, 1)
        assert [row.id for row in await rows.uploads()] == [kept]
        assert await rows.count("manifest") == await rows.count("chunk") == 1

    async def test_progress_puts_expiry_off(self, store: Store, rows: Rows) -> None:
        upload_id = await begin(store)
        await rows.expire_uploads()
        await add(store, upload_id, b"1")
        assert (await store.uploads.get(upload_id)).expires > datetime.now(UTC)

    async def test_unfinished_uploads_are_bounded(self, store: Store) -> None:
        limit = 4 * CHUNK_SIZE
        first = await store.uploads.create(FILE, None, later(), Bounds(limit))
        await add(store, first.id, b"x" * (3 * CHUNK_SIZE), max_unfinished=limit)
        # Each counts for a chunk at least.
        second = await store.uploads.create(FILE, None, later(), Bounds(limit))
        with pytest.raises(TooMuchUnfinished):
            await store.uploads.create(FILE, None, later(), Bounds(limit))
        await add(store, second.id, b"y" * CHUNK_SIZE, max_unfinished=limit)
        with pytest.raises(TooMuchUnfinished):
            await add(store, second.id, b"y", max_unfinished=limit)
        await add(store, first.id, b"", whole=True)
        await complete(store, first.id, b"x" * (3 * CHUNK_SIZE))
        await add(store, second.id, b"y", max_unfinished=limit)

    async def test_the_number_of_empty_ones_is_bounded(self, store: Store) -> None:
        bounds = Bounds(empty=2, concatenations=1)
        first = await store.uploads.create(FILE, None, later(), bounds)
        part = await store.uploads.create(PART, None, later(), bounds)
        for spec in (FILE, PART):
            with pytest.raises(TooMuchUnfinished):
                await store.uploads.create(spec, None, later(), bounds)
        await store.uploads.create(concatenation([part.id]), None, later(), bounds)
        with pytest.raises(TooMuchUnfinished):
            await store.uploads.create(concatenation([part.id]), None, later(), bounds)
        await add(store, first.id, b"1")
        await store.uploads.create(FILE, None, later(), bounds)

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 5)), max_size=25))
    async def test_what_is_unfinished_is_the_sum_of_all(
        self, store: Store, rows: Rows, moves: list[tuple[str, int]]
    ) -> None:
        for row in await rows.uploads():
            await delete(store, row.id)
        for move, which in moves:
            ids = [row.id for row in sorted(await rows.uploads(), key=lambda row: row.created)]
            with suppress(ChunkstoreError):
                await self._move(store, rows, move, ids, which)
            assert await unfinished(rows) == sum_of(await rows.uploads())

    async def _move(
        self, store: Store, rows: Rows, move: str, ids: Sequence[str], which: int
    ) -> None:
        one = ids[which % len(ids)] if ids else "none"
        content = bytes([which]) * (which * CHUNK_SIZE // 2)
        match move:
            case "file" | "part":
                await begin(store, FILE if move == "file" else PART, content)
            case "concatenation":
                await begin(store, concatenation([one]))
            case "append" | "end" if (await store.uploads.get(one)).state in UNFINISHED:
                await add(store, one, content, whole=move == "end", max_unfinished=9 * CHUNK_SIZE)
            case "ahead":
                upload = await acquire(store, one)
                await apply(store, one, Append(upload.epoch, upload.offset, cut(content), None))
            case "join":
                lease = await acquire(store, one, joining=True)
                for part in lease.spec.parts:
                    if (await store.uploads.get(part)).whole and lease.offset == 0:
                        await join(store, one, part, lease.epoch)
                        await add(store, one, b"", whole=True)
            case "complete":
                await complete(store, one, content)
            case "fail":
                await fail(store, one, Failure("too-large", ""))
            case "delete":
                await delete(store, one)
            case "expire":
                await rows.expire_uploads(one)
                await collect_all(store.maintenance, 0)

    async def test_deleting_leaves_the_file(self, store: Store, rows: Rows) -> None:
        upload_id = await begin(store, FILE, b"12", whole=True)
        await complete(store, upload_id, b"12")
        await delete(store, upload_id)
        assert await get(store, "a") == b"12"
        assert await rows.count("upload") == 0

    async def test_an_upload_can_be_read_before_it_is_complete(self, store: Store) -> None:
        content = bytes(range(256)) * 40
        upload_id = await begin(store, FILE, content)
        chunks = (await store.uploads.get(upload_id)).chunks
        assert chunks is not None
        assert await store.contents.read(chunks, 5, chunks.size) == content[5 : chunks.size]
        assert Chunk.of(content[: chunks.chunk_size]) == cut(content)[0]
