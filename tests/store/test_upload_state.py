"""The state machine of uploads, without a store: pure values in, pure values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunkstoreError,
    Forbidden,
    NotFound,
    PartGone,
    TooLarge,
    UploadCompleted,
    UploadSuperseded,
)
from chunkstore.core.manifest import ChunkList
from chunkstore.store.contract.resumable import (
    FATAL,
    Failure,
    ResumableUpload,
    UploadKind,
    UploadSpec,
    UploadState,
)
from chunkstore.store.contract.upload_state import (
    TRANSITIONS,
    Acquire,
    Append,
    AppendLast,
    Complete,
    Fail,
    Hold,
    Join,
    NoteDigest,
    Progress,
    Renew,
    Transition,
    advance,
    require_part,
)

CHUNK_SIZE: Final = 4
START: Final = datetime(2020, 1, 1, tzinfo=UTC)
DIGEST: Final = Digest.of(b"content")
OPEN, WHOLE, COMPLETE, FAILED = UploadState


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def upload_of(kind: UploadKind, state: UploadState = OPEN) -> ResumableUpload:
    """Return an upload with a chunk and a tail of one byte, under the lease with epoch 1."""
    new = ResumableUpload(
        id="id",
        spec=UploadSpec(kind, None, ""),
        offset=0,
        length=None,
        whole=False,
        epoch=0,
        created=START,
        expires=START,
        tail=b"",
        chunks=ChunkList(7, 0, CHUNK_SIZE),
    )
    upload = advance(new, Acquire(joining=True))
    chunks = [Chunk.of(b"1234")]
    upload = advance(upload, Append(1, 0, chunks, Progress(5, b"5", None, START)))
    if state is not OPEN:
        upload = advance(upload, AppendLast(1, 4, [], Progress(5, b"5", 5, START)))
    if state is COMPLETE:
        upload = advance(upload, Complete(DIGEST, START))
    if state is FAILED:
        upload = advance(upload, Fail(Failure("too-large", "why")))
    assert upload.state is state
    return upload


def part_of(size: int, state: UploadState = WHOLE) -> ResumableUpload:
    part = upload_of(UploadKind.PART, state)
    if part.chunks is None:
        return part
    tail = bytes(size % CHUNK_SIZE)
    return replace(part, offset=size, tail=tail, chunks=ChunkList(8, size - len(tail), CHUNK_SIZE))


# What comes of each event in each state: the state that it leads to, None where nothing happens,
# or the error.
Outcome = UploadState | type[ChunkstoreError] | None
EVENTS: Final[Mapping[str, Transition]] = {
    "acquire": Acquire(joining=True),
    "append": Append(1, 4, [Chunk.of(b"5678")], Progress(8, b"", None, START)),
    "ahead": Append(1, 4, [Chunk.of(b"5678")], None),
    "last": AppendLast(1, 4, [Chunk.of(b"5678")], Progress(8, b"", 8, START)),
    "renew": Renew(1, at(1)),
    "note": NoteDigest(DIGEST),
    "fail": Fail(Failure("too-large", "why")),
    "complete": Complete(DIGEST, START),
    "hold": Hold(7, at(1)),
}
OUTCOMES: Final[Mapping[str, tuple[Outcome, Outcome, Outcome, Outcome]]] = {
    # In order: open, whole, complete, failed.
    "acquire": (OPEN, None, None, None),
    "append": (OPEN, UploadSuperseded, UploadSuperseded, UploadSuperseded),
    "ahead": (OPEN, UploadSuperseded, UploadSuperseded, UploadSuperseded),
    "last": (WHOLE, UploadSuperseded, UploadSuperseded, UploadSuperseded),
    "renew": (OPEN, WHOLE, None, None),
    "note": (None, WHOLE, None, None),
    "fail": (FAILED, FAILED, None, None),
    "complete": (NotFound, COMPLETE, NotFound, NotFound),
    "hold": (OPEN, UploadCompleted, UploadCompleted, TooLarge),
}


@pytest.mark.parametrize("kind", UploadKind)
@pytest.mark.parametrize("state", UploadState)
@pytest.mark.parametrize("name", EVENTS)
def test_what_each_event_does_in_each_state(
    kind: UploadKind, state: UploadState, name: str
) -> None:
    upload, event = upload_of(kind, state), EVENTS[name]
    outcome = OUTCOMES[name][list(UploadState).index(state)]
    if name == "hold" and kind is UploadKind.CONCATENATION and state is not FAILED:
        outcome = Forbidden
    match outcome:
        case None:
            assert advance(upload, event) is upload
        case UploadState() as expected:
            after = advance(upload, event)
            assert after is not upload
            assert after.state is expected is TRANSITIONS[state][type(event)]
        case error:
            with pytest.raises(error):
                advance(upload, event)


@pytest.mark.parametrize("state", UploadState)
def test_the_last_append_can_be_made_again_by_its_lease_alone(state: UploadState) -> None:
    upload = upload_of(UploadKind.FILE, state)
    last = AppendLast(1, 4, [], Progress(5, b"5", 5, START))
    if state is OPEN:
        assert advance(upload, last).state is WHOLE
        return
    assert advance(upload, last) is upload
    for other in (
        replace(last, epoch=0),
        replace(last, epoch=2),
        replace(last, progress=Progress(6, b"56", 6, START)),
    ):
        with pytest.raises(UploadSuperseded):
            advance(upload, other)


@pytest.mark.parametrize(
    ("start", "progress"),
    [
        (0, Progress(8, b"", None, START)),  # over what is confirmed
        (0, None),
        (4, Progress(4, b"", None, START)),  # back behind it
    ],
)
def test_what_is_confirmed_is_never_taken_back(start: int, progress: Progress | None) -> None:
    upload = upload_of(UploadKind.FILE)
    chunks = [Chunk.of(b"1234")] if start == 0 else []
    with pytest.raises(UploadSuperseded):
        advance(upload, Append(1, start, 2 * chunks, progress))


def test_an_append_whose_answer_was_lost_changes_nothing_more() -> None:
    upload = upload_of(UploadKind.FILE)
    append = Append(1, 4, [Chunk.of(b"5678")], Progress(8, b"", None, START))
    after = advance(upload, append)
    assert advance(after, append) is after


def test_a_concatenation_is_acquired_by_who_joins_its_parts_alone() -> None:
    upload = upload_of(UploadKind.CONCATENATION)
    assert advance(upload, Acquire()) is upload
    assert advance(upload, Acquire(joining=True)).epoch == upload.epoch + 1


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (None, PartGone),
        (part_of(4, COMPLETE), PartGone),
        (part_of(4, FAILED), TooLarge),
        (part_of(4, OPEN), NotFound),
        (upload_of(UploadKind.FILE, WHOLE), NotFound),
        (upload_of(UploadKind.FILE, COMPLETE), NotFound),
        (upload_of(UploadKind.CONCATENATION, WHOLE), NotFound),
    ],
)
def test_only_whole_parts_are_joined(
    part: ResumableUpload | None, error: type[ChunkstoreError]
) -> None:
    upload = advance(
        replace(upload_of(UploadKind.CONCATENATION), offset=4, tail=b""), Acquire(joining=True)
    )
    with pytest.raises(error):
        advance(upload, Join("id", upload.epoch, upload.offset, START), part)
    if part is None or part.state is not OPEN:
        with pytest.raises(error):
            require_part(part)


def test_why_an_upload_failed_is_told_as_it_was() -> None:
    for kind in FATAL:
        told = Failure.of(kind("why")).to_error()
        assert (type(told), str(told)) == (kind, "why")
    # What may pass, or is about another upload, fails none.
    assert not isinstance(NotFound(), FATAL)


def test_what_a_client_may_append_to() -> None:
    for state, error in ((COMPLETE, UploadCompleted), (FAILED, TooLarge)):
        with pytest.raises(error):
            upload_of(UploadKind.FILE, state).require_appendable()
    for state in (OPEN, WHOLE):
        upload_of(UploadKind.PART, state).require_appendable()
        with pytest.raises(Forbidden):
            upload_of(UploadKind.CONCATENATION, state).require_appendable()


class UploadMachine(RuleBasedStateMachine):
    """Any events in any order, with leases new and old; what must hold is looked at after each."""

    @initialize(kind=st.sampled_from(UploadKind))
    def begin(self, kind: UploadKind) -> None:
        self.upload = replace(
            upload_of(kind),
            offset=0,
            epoch=0,
            tail=b"",
            chunks=ChunkList(7, 0, CHUNK_SIZE),
        )
        self.content = b""
        self.places = 0

    def happen(self, event: Transition, part: ResumableUpload | None = None) -> bool:
        """Let an event happen; return whether it changed anything."""
        before = self.upload
        try:
            after = advance(before, event, part)
        except ChunkstoreError:
            return False
        # Whoever is told has an upload that nobody else changes.
        assert before == self.upload
        assert after.epoch >= before.epoch
        assert after.offset >= before.offset
        assert (after.id, after.spec, after.created) == (before.id, before.spec, before.created)
        assert isinstance(event, Complete) or after.expires >= before.expires
        if after is before:
            return False
        assert TRANSITIONS[before.state][type(event)] is after.state
        self.upload = after
        return True

    @rule(joining=st.booleans())
    def acquire(self, joining: bool) -> None:
        before, possible = self.upload.epoch, self.upload.can_grow(joining=joining)
        assert self.happen(Acquire(joining)) == possible
        assert self.upload.epoch == before + possible

    @rule(content=st.binary(max_size=9), late=st.integers(-1, 1), last=st.booleans())
    def append(self, content: bytes, late: int, last: bool) -> None:
        rest = self.upload.tail + content
        kept = len(rest) - len(rest) % CHUNK_SIZE
        chunks = [
            Chunk.of(rest[place : place + CHUNK_SIZE]) for place in range(0, kept, CHUNK_SIZE)
        ]
        progress = Progress(self.upload.offset + len(content), rest[kept:], None, at(len(rest)))
        count = 0 if self.upload.chunks is None else self.upload.chunks.size
        kind = AppendLast if last else Append
        epoch = self.upload.epoch + late
        possible = self.upload.state is OPEN and late == 0
        assert self.happen(kind(epoch, count, chunks, progress)) == possible
        if possible:
            self.content += content

    @rule(late=st.integers(-1, 1), chunks=st.integers(0, 3))
    def append_ahead(self, late: int, chunks: int) -> None:
        before = self.upload
        ahead = [Chunk.of(b"1234")] * chunks
        count = 0 if before.chunks is None else before.chunks.size
        self.happen(Append(before.epoch + late, count, ahead, None))
        assert before == self.upload

    @rule(
        size=st.integers(0, 9),
        late=st.integers(-1, 1),
        moved=st.integers(-1, 1),
        state=st.sampled_from(UploadState),
    )
    def join(self, size: int, late: int, moved: int, state: UploadState) -> None:
        if self.upload.tail:
            return
        part = part_of(size, state)
        join = Join("part", self.upload.epoch + late, self.upload.offset + moved, at(size))
        possible = self.upload.state is OPEN and late == moved == 0 and state is WHOLE
        assert self.happen(join, part) == possible
        if possible:
            self.content += bytes(size)

    @rule(late=st.integers(-1, 1), seconds=st.integers(-5, 5))
    def renew(self, late: int, seconds: int) -> None:
        longer = at(seconds) > self.upload.expires
        possible = self.upload.state in (OPEN, WHOLE) and late == 0 and longer
        assert self.happen(Renew(self.upload.epoch + late, at(seconds))) == possible

    @rule(seconds=st.integers(-5, 5))
    def hold(self, seconds: int) -> None:
        before = self.upload
        possible = before.state is OPEN and before.spec.kind is not UploadKind.CONCATENATION
        assert self.happen(Hold(1, at(seconds))) == possible
        assert self.upload == replace(before, expires=self.upload.expires)

    @rule()
    def note_digest(self) -> None:
        possible = self.upload.state is WHOLE
        assert self.happen(NoteDigest(DIGEST)) == possible

    @rule()
    def fail(self) -> None:
        possible = self.upload.state in (OPEN, WHOLE)
        assert self.happen(Fail(Failure("too-large", "why"))) == possible

    @rule()
    def complete(self) -> None:
        possible = self.upload.state is WHOLE
        assert self.happen(Complete(DIGEST, START)) == possible

    @invariant()
    def all_that_is_confirmed_is_there(self) -> None:
        upload = self.upload
        assert upload.offset == len(self.content)
        assert (upload.chunks is None) == (upload.state is COMPLETE)
        if upload.state in (OPEN, WHOLE):
            assert upload.chunks is not None
            assert upload.chunks.size + len(upload.tail) == upload.offset
            assert len(upload.tail) < CHUNK_SIZE
        else:
            assert upload.tail == b""
            assert upload.chunks is None or upload.chunks.size == 0
            assert not TRANSITIONS[upload.state]

    @invariant()
    def it_is_in_one_state(self) -> None:
        upload = self.upload
        assert (upload.state is FAILED) == (upload.failure is not None)
        assert (upload.state is COMPLETE) == (upload.digest is not None)
        assert upload.whole or upload.state in (OPEN, FAILED)


TestUploadMachine = UploadMachine.TestCase
