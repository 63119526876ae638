"""Links as values: what is counted never passes what is allowed, and nobody forges a visit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.digest import Digest
from chunkstore.core.errors import LinkFull, LinkUsedUp
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.access.link_uses import NO_USE, Usage
from chunkstore.service.access.links import (
    Link,
    LinkKind,
    LinkLimits,
    format_visit,
    parse_visit,
)
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.records import Record

NOW = datetime(2026, 11, 28, tzinfo=UTC)
limits = st.builds(LinkLimits, *(st.none() | st.integers(1, 6) for _ in range(3)))
visitors = st.sampled_from(["a", "b", "c"])
# A use by a visitor after some minutes, an upload of some bytes that begins, ends or is put.
steps = st.lists(
    st.tuples(st.just("use"), visitors, st.integers(0, 90))
    | st.tuples(st.just("begin"), visitors, st.integers(0, 4))
    | st.tuples(st.sampled_from(["end", "put"]), visitors, st.just(0)),
    max_size=30,
)


def link_of(limits: LinkLimits, secret: str = "secret", kind: LinkKind = LinkKind.DROP) -> Link:
    return Link(
        "d", "i", "anna", "1", kind, FolderName("in/"), "", NOW, None, limits=limits, secret=secret
    )


def kept(link: Link) -> Link:
    put = link.to_record(None)
    return Link.of(Record(put.kind, put.key, put.owner, put.value, 7, put.expires))


@given(limits=limits, steps=steps)
def test_never_more_than_a_link_allows(
    limits: LinkLimits, steps: list[tuple[str, str, int]]
) -> None:
    link, usage, now, told = link_of(limits), NO_USE, NOW, 0
    for step, who, amount in steps:
        try:
            match step:
                case "use":
                    now += timedelta(minutes=amount)
                    if not usage.has_seen([who], now, rest=False):
                        usage = usage.used(link, [who], now)
                        told += 1
                case "begin":
                    usage = usage.begun(link, who, amount)
                case "end":
                    usage = usage.without(who)
                case "put":
                    content = Uploaded(who, Digest.of(b""), now)
                    usage = usage.put(link, [Put(FileName("in/x"), content, "")])
        except (LinkFull, LinkUsedUp):
            pass
        assert usage.uses == told
        assert limits.uses is None or usage.uses <= limits.uses
        assert limits.files is None or usage.files + len(usage.unfinished) <= limits.files
        size = usage.bytes + sum(usage.unfinished.values())
        assert limits.bytes is None or size <= limits.bytes
        record = Record("link-use", "i", "anna", usage.to_value(), 1, None)
        assert Usage.of(record) == usage


@given(limits=limits, kind=st.sampled_from(LinkKind))
def test_a_link_is_kept_as_it_is(limits: LinkLimits, kind: LinkKind) -> None:
    link = link_of(limits, kind=kind)
    assert kept(link) == Link.of(Record("link", "d", "anna", link.to_record(None).value, 7, None))
    assert kept(link).limits == limits


@given(segment=st.text(max_size=90).filter(lambda text: text.isprintable()))
def test_a_visit_is_what_its_link_has_signed(segment: str) -> None:
    link, other = link_of(LinkLimits()), link_of(LinkLimits(), "another")
    text = format_visit(link, segment)
    assert text.isascii()
    assert parse_visit(link, text) == segment
    assert parse_visit(other, text) is None


@given(text=st.text(max_size=60))
def test_no_other_text_is_a_visit(text: str) -> None:
    assert parse_visit(link_of(LinkLimits()), text) is None
    signed = format_visit(link_of(LinkLimits()), "2026-11-28 Berta abcd")
    encoded, _, mac = signed.partition("~")
    assert parse_visit(link_of(LinkLimits()), f"{encoded}{text}~{mac}") in (
        None, "2026-11-28 Berta abcd",
    )  # fmt: skip
