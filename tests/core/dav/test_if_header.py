"""The If header, held against RFC 4918 §10.4 and what clients send."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.dav.if_header import (
    MOST_CONDITIONS,
    TRUE,
    Condition,
    ConditionList,
    IfHeader,
    ResourceTag,
    TagCondition,
    TokenCondition,
    parse_if,
    settle_tokens,
)
from chunkstore.core.errors import InvalidRequest


@dataclass(frozen=True)
class State:
    """What a resource is judged by: its entity tag, if it has one, and the locks on it."""

    etag: str | None = None
    tokens: Collection[str] = ()


ABSENT = State()


def evaluate(header: IfHeader, state_of: Callable[[ResourceTag | None], State]) -> bool:
    """Whether a header holds, by the two steps in which it is judged."""
    formula = settle_tokens(header, lambda resource: state_of(resource).tokens)
    return formula.holds(lambda resource: state_of(resource).etag)


def holds(text: str, states: Mapping[str | None, State]) -> bool:
    return evaluate(parse_if(text), lambda resource: states.get(resource, ABSENT))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(<urn:l1>)", True),
        ("(<urn:other>)", False),
        ("(Not <urn:l1>)", False),
        ("(Not <DAV:no-lock>)", True),
        ('(["abc"])', True),
        ('(["other"])', False),
        ('(W/["abc"])', None),
        ('([W/"abc"])', False),
        ("([abc])", False),
        ('(Not ["abc"])', False),
        ('(Not["other"])', True),
        ('(<urn:l1> ["abc"])', True),
        ('(<urn:l1> ["other"])', False),
        ('(<urn:l1> ["other"]) (Not <DAV:no-lock>)', True),
        ("(<urn:l1> Not <DAV:no-lock>)", True),
        ('( <urn:l1>\t[ "abc" ] )( Not <urn:l1> )', True),
        ('(["a]b"])', False),
        # Lists of another resource, by URL or path, of which nothing is known.
        ("<http://host/x> (<urn:l1>)", False),
        ("</dav/x> (Not <urn:l1>)", True),
        ('</dav/x> (["abc"]) (Not ["abc"])', True),
        ("(<urn:l1>) </dav/x> (<urn:l1>)", None),
        ("</dav/x> (<urn:l1>) </dav/y> (<urn:l2>)", False),
        ("", None),
        ("()", None),
        ("(Not)", None),
        ("(<urn:l1>", None),
        ("<urn:l1>", None),
        ("</dav/x>", None),
        ("(<urn:l1>) x", None),
        ("(Notx <urn:l1>)", None),
    ],
)
def test_examples(text: str, expected: bool | None) -> None:
    states: Mapping[str | None, State] = {None: State("abc", {"urn:l1"})}
    if expected is None:
        with pytest.raises(InvalidRequest):
            parse_if(text)
    else:
        assert holds(text, states) is expected


def test_a_token_is_submitted_wherever_it_stands() -> None:
    header = parse_if('</a> (<urn:1> ["x"]) (Not <urn:2>) </b> (<urn:3>)')
    assert header.tokens == {"urn:1", "urn:2", "urn:3"}
    assert header.resources == {"/a", "/b"}


def test_conditions_are_bounded() -> None:
    assert len(parse_if("(<a:b>)" * MOST_CONDITIONS).lists) == MOST_CONDITIONS
    with pytest.raises(InvalidRequest, match=str(MOST_CONDITIONS)):
        parse_if("(<a:b>)" * (MOST_CONDITIONS + 1))


def test_what_tokens_decide_is_not_asked_again() -> None:
    header = parse_if('(<urn:1>) (<urn:2> ["x"])')
    assert settle_tokens(header, lambda _: {"urn:1"}) == TRUE
    assert settle_tokens(header, lambda _: {"urn:1"}).resources == frozenset()
    assert not settle_tokens(header, lambda _: ()).holds(lambda _: "x")
    left = settle_tokens(header, lambda _: {"urn:2"})
    assert left.resources == {None}
    assert left.holds(lambda _: "x")
    assert not left.holds(lambda _: "y")


names = st.sampled_from(["urn:1", "urn:2", "DAV:no-lock"])
etags = st.sampled_from(["a", "b", "c]d", ""])
conditions: st.SearchStrategy[Condition] = st.one_of(
    st.builds(TokenCondition, names, st.booleans()), st.builds(TagCondition, etags, st.booleans())
)
lists = st.lists(conditions, min_size=1, max_size=3).map(tuple)
tags = st.sampled_from(["/a", "http://host/b"]).map(ResourceTag)
headers = st.one_of(
    st.lists(st.builds(ConditionList, st.none(), lists), min_size=1, max_size=4),
    st.lists(st.builds(ConditionList, tags, lists), min_size=1, max_size=4),
).map(lambda found: IfHeader(tuple(found)))
states = st.builds(State, st.none() | etags, st.frozensets(names))


def write(header: IfHeader) -> str:
    def of(condition: Condition) -> str:
        no = "Not " if condition.negated else ""
        if isinstance(condition, TokenCondition):
            return f"{no}<{condition.token}>"
        return f'{no}["{condition.etag}"]'

    return " ".join(
        ("" if each.resource is None else f"<{each.resource}> ")
        + f"({' '.join(map(of, each.conditions))})"
        for each in header.lists
    )


@given(headers)
def test_what_is_written_is_read(header: IfHeader) -> None:
    assert parse_if(write(header)) == header


@given(headers, st.dictionaries(st.none() | tags, states))
def test_it_holds_if_all_conditions_of_a_list_do(
    header: IfHeader, known: Mapping[str | None, State]
) -> None:
    def is_met(resource: str | None, condition: Condition) -> bool:
        state = known.get(resource, ABSENT)
        if isinstance(condition, TokenCondition):
            found = condition.token in state.tokens
        else:
            found = condition.etag == state.etag
        return found != condition.negated

    expected = any(
        all(is_met(each.resource, condition) for condition in each.conditions)
        for each in header.lists
    )
    assert evaluate(header, lambda resource: known.get(resource, ABSENT)) is expected


@given(st.text(alphabet='()<>[]"NotW/ \taé\U00010000'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        header = parse_if(text)
    except InvalidRequest:
        return
    tokens: Collection[str] = header.tokens
    assert isinstance(evaluate(header, lambda _: State("a", tokens)), bool)
