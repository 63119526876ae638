"""Conditional requests, held against the steps of RFC 9110 §13.2.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.conditional import (
    CREATE_ONLY,
    UNCONDITIONAL,
    Conditions,
    EntityTag,
    EntityTags,
    Outcome,
    Validators,
    format_etag,
    format_http_date,
    if_range_holds,
    parse_entity_tags,
    parse_http_date,
)
from chunkstore.core.errors import PreconditionFailed

CURRENT = Validators("abc", datetime(2024, 5, 6, 7, 8, 9, 999_999, tzinfo=UTC))
BEFORE = "Mon, 06 May 2024 07:08:08 GMT"
EXACT = "Mon, 06 May 2024 07:08:09 GMT"
AFTER = "Mon, 06 May 2024 07:08:10 GMT"

Headers = Mapping[str, Sequence[str]]


def conditions_of(headers: Headers) -> Conditions:
    return Conditions.from_headers(lambda field: headers.get(field, ()))


def permits(conditions: Conditions, current: Validators | None) -> bool:
    try:
        conditions.require(current)
    except PreconditionFailed:
        return False
    return True


# Each header in all its states: its line, and whether the condition is true for CURRENT.
IF_MATCH = {None: True, "*": True, '"abc"': True, 'W/"abc"': False, '"x"': False, '"x","abc"': True}
IF_NONE_MATCH = {
    None: True,
    "*": False,
    '"abc"': False,
    'W/"abc"': False,
    '"x"': True,
    '"x","abc"': False,
}
IF_UNMODIFIED_SINCE = {None: True, "soon": True, BEFORE: False, EXACT: True, AFTER: True}
IF_MODIFIED_SINCE = {None: True, "soon": True, BEFORE: True, EXACT: False, AFTER: False}
FIELDS = ("If-Match", "If-None-Match", "If-Unmodified-Since", "If-Modified-Since")
ALL_STATES = list(product(IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, IF_MODIFIED_SINCE))


def headers_of(states: Sequence[str | None]) -> Headers:
    return {field: [line] for field, line in zip(FIELDS, states, strict=True) if line is not None}


def status_by_steps(headers: Headers, *, reading: bool) -> int:
    """Return the status RFC 9110 §13.2.2 leads to for CURRENT; 200 stands for going on."""
    state = dict.fromkeys(FIELDS) | {field: lines[0] for field, lines in headers.items()}
    guard = IF_MATCH[state["If-Match"]]  # step 1
    if state["If-Match"] is None:
        guard = IF_UNMODIFIED_SINCE[state["If-Unmodified-Since"]]  # step 2
    if not guard:
        return 412
    if state["If-None-Match"] is not None:  # step 3
        unchanged = not IF_NONE_MATCH[state["If-None-Match"]]
        return (304 if reading else 412) if unchanged else 200
    unchanged = not IF_MODIFIED_SINCE[state["If-Modified-Since"]]  # step 4
    return 304 if reading and unchanged else 200


OUTCOMES = {200: Outcome.PROCEED, 304: Outcome.NOT_MODIFIED, 412: Outcome.FAILED}


def test_reading_follows_the_steps_of_the_rfc_in_every_case() -> None:
    for states in ALL_STATES:
        headers = headers_of(states)
        expected = OUTCOMES[status_by_steps(headers, reading=True)]
        assert conditions_of(headers).evaluate(CURRENT) is expected, headers


def test_writing_follows_the_steps_of_the_rfc_in_every_case() -> None:
    for states in ALL_STATES:
        headers = headers_of(states)
        expected = status_by_steps(headers, reading=False) == 200
        assert permits(conditions_of(headers), CURRENT) is expected, headers


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, Outcome.PROCEED),
        ({"If-Match": ['"abc"'], "If-Unmodified-Since": [BEFORE]}, Outcome.PROCEED),
        ({"If-Match": ['"x"'], "If-Unmodified-Since": [AFTER]}, Outcome.FAILED),
        ({"If-None-Match": ['"x"'], "If-Modified-Since": [AFTER]}, Outcome.PROCEED),
        ({"If-None-Match": ['"abc"'], "If-Modified-Since": [BEFORE]}, Outcome.NOT_MODIFIED),
        ({"If-Match": ['"x"'], "If-None-Match": ['"abc"']}, Outcome.FAILED),
        ({"If-Unmodified-Since": [BEFORE], "If-None-Match": ['"abc"']}, Outcome.FAILED),
        ({"If-Unmodified-Since": [AFTER], "If-Modified-Since": [AFTER]}, Outcome.NOT_MODIFIED),
    ],
)
def test_which_condition_comes_first(headers: Headers, outcome: Outcome) -> None:
    assert conditions_of(headers).evaluate(CURRENT) is outcome


@pytest.mark.parametrize(
    ("headers", "permitted"),
    [
        ({}, True),
        ({"If-Match": ["*"]}, False),
        ({"If-Match": ['"abc"']}, False),
        ({"If-None-Match": ["*"]}, True),
        ({"If-None-Match": ['"abc"']}, True),
        ({"If-Modified-Since": [AFTER]}, True),
        # The file that the client saw is gone: what it says about it does not hold any more.
        ({"If-Unmodified-Since": [AFTER]}, False),
    ],
)
def test_conditions_on_a_file_that_is_not_there(headers: Headers, *, permitted: bool) -> None:
    conditions = conditions_of(headers)
    assert permits(conditions, None) is permitted
    assert conditions.evaluate(None) is (Outcome.PROCEED if permitted else Outcome.FAILED)


def test_unconditional_permits_everything() -> None:
    assert conditions_of({}) == UNCONDITIONAL
    assert permits(UNCONDITIONAL, CURRENT)
    assert permits(UNCONDITIONAL, None)


def test_create_only_permits_no_replacing_and_says_so() -> None:
    assert conditions_of({"If-None-Match": ["*"]}) == CREATE_ONLY
    assert permits(CREATE_ONLY, None)
    with pytest.raises(PreconditionFailed, match="already"):
        CREATE_ONLY.require(CURRENT)


@pytest.mark.parametrize(
    "headers", [{"If-Match": ['"x"']}, {"If-None-Match": ['"abc"']}, {"If-Match": [""]}]
)
def test_a_write_whose_condition_fails_is_refused(headers: Headers) -> None:
    with pytest.raises(PreconditionFailed):
        conditions_of(headers).require(CURRENT)


def test_conditions_hold_until_the_second_is_over() -> None:
    start_of_second = Validators("abc", CURRENT.modified.replace(microsecond=0))
    for current in (start_of_second, CURRENT):
        assert conditions_of({"If-Modified-Since": [EXACT]}).evaluate(current) is (
            Outcome.NOT_MODIFIED
        )
        assert permits(conditions_of({"If-Unmodified-Since": [EXACT]}), current)
        assert format_http_date(current.last_modified) == EXACT
    next_second = Validators("abc", CURRENT.modified + timedelta(microseconds=1))
    assert conditions_of({"If-Modified-Since": [EXACT]}).evaluate(next_second) is Outcome.PROCEED
    assert not permits(conditions_of({"If-Unmodified-Since": [EXACT]}), next_second)


def test_what_every_reader_was_told_is_not_modified() -> None:
    headers = {"If-Modified-Since": [format_http_date(CURRENT.last_modified)]}
    assert conditions_of(headers).evaluate(CURRENT) is Outcome.NOT_MODIFIED


def test_a_repeated_date_is_ignored() -> None:
    headers = {"If-Unmodified-Since": [BEFORE, BEFORE], "If-Modified-Since": [AFTER, AFTER]}
    assert conditions_of(headers) == UNCONDITIONAL


def test_a_repeated_list_counts_as_one() -> None:
    for lines in (['"x"', '"abc"'], ['"x", "y"', '"abc"'], ["", '"abc"', ","]):
        assert permits(conditions_of({"If-Match": lines}), CURRENT)
        assert not permits(conditions_of({"If-None-Match": lines}), CURRENT)


def test_what_is_no_tag_matches_nothing() -> None:
    for line in ("abc", "JoplinIgnore-1", '"abc', "'abc'", '"x" "abc"'):
        assert not permits(conditions_of({"If-Match": [line]}), CURRENT)
        assert permits(conditions_of({"If-None-Match": [line]}), CURRENT)


@pytest.mark.parametrize("line", ['*, "x"', '"x", *', "*, *", "x,*,y"])
def test_a_star_beside_others_is_taken_so_that_nothing_is_replaced(line: str) -> None:
    for field in ("If-Match", "If-None-Match"):
        assert not permits(conditions_of({field: [line]}), CURRENT)
    assert permits(conditions_of({"If-None-Match": [line]}), None)


def tags(*opaques: str, weak: Sequence[str] = ()) -> EntityTags:
    strong = frozenset(EntityTag(opaque) for opaque in opaques)
    return EntityTags(strong | {EntityTag(opaque, weak=True) for opaque in weak})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        (["*"], EntityTags(any=True)),
        ([" * "], EntityTags(any=True)),
        (["", "*"], EntityTags(any=True)),
        (['"*"'], tags("*")),
        (['"xyzzy"'], tags("xyzzy")),
        (['W/"xyzzy"'], tags(weak=["xyzzy"])),
        (['""'], tags("")),
        (['W/""'], tags(weak=[""])),
        (['"a", "b",W/"c"'], tags("a", "b", weak=["c"])),
        (['"a"\t ,\t "b"'], tags("a", "b")),
        (['"a", W/"a"'], tags("a", weak=["a"])),
        (['"a"', '"b"'], tags("a", "b")),
        (['"a",', ',"b"'], tags("a", "b")),
        ([', ,"a",, "b", ,'], tags("a", "b")),
        ([""], tags()),
        ([" , ,"], tags()),
        (['"a,b"'], tags("a,b")),
        (['",", "c"'], tags(",", "c")),
        (['"a\\"'], tags("a\\")),
        (['"W/"'], tags("W/")),
        (['"!#~"'], tags("!#~")),
        (['"\u00e9\U0001f415"'], tags("\u00e9\U0001f415")),
        (['"a\udcff"'], tags("a\udcff")),
    ],
)
def test_parse_entity_tags(lines: list[str], expected: EntityTags | None) -> None:
    assert parse_entity_tags("If-Match", lines) == expected


@pytest.mark.parametrize(
    "line",
    [
        "abc",
        '"abc',
        'abc"',
        '"',
        '"a" "b"',
        '"a""b"',
        '"a";"b"',
        '"a"b',
        'w/"a"',
        'W/ "a"',
        "W/a",
        "W/",
        'W"a"',
        'W/W/"a"',
        "'a'",
        '"a b"',
        '"a\tb"',
        '"a\x7f"',
        '"a\x00"',
        '"a"\n',
        "*, *",
        "**",
        "abc, a",
        '"a b", "a" x',
    ],
)
def test_what_is_no_entity_tag_is_left_out(line: str) -> None:
    assert parse_entity_tags("If-Match", [line]) == tags()
    # What stands beside it counts.
    assert parse_entity_tags("If-Match", ['"left"', line, 'W/"right"']) == tags(
        "left", weak=["right"]
    )


opaques = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'), max_size=6
)
separators = st.sampled_from([",", ", ", " ,", ",,", "\t,\t", " , ,, ", ",\t ,"])


@given(members=st.lists(st.tuples(st.booleans(), opaques, separators), min_size=1, max_size=5))
def test_every_list_of_entity_tags_is_read_back(members: list[tuple[bool, str, str]]) -> None:
    line = "".join(f"{'W/' * weak}{format_etag(opaque)}{tail}" for weak, opaque, tail in members)
    expected = EntityTags(frozenset(EntityTag(opaque, weak=weak) for weak, opaque, _ in members))
    assert parse_entity_tags("If-Match", [line]) == expected
    assert parse_entity_tags("If-Match", line.split(" ", 1)) == expected or " " in line


# RFC 9110 §8.8.3.2: the table of examples, as (tag in the list, strong match, weak match).
@pytest.mark.parametrize(
    ("listed", "strong", "weak"),
    [
        ('W/"abc"', False, True),
        ('"abc"', True, True),
        ('"ABC"', False, False),
        ('W/"x"', False, False),
        ('"x"', False, False),
        ('""', False, False),
        ('"x", W/"abc"', False, True),
        ("*", True, True),
        ("", False, False),
    ],
)
def test_strong_and_weak_comparison(listed: str, *, strong: bool, weak: bool) -> None:
    listed_tags = parse_entity_tags("If-Match", [listed])
    assert listed_tags is not None
    assert listed_tags.match_strongly(CURRENT) is strong
    assert listed_tags.match_weakly(CURRENT) is weak
    assert not listed_tags.match_strongly(None)
    assert not listed_tags.match_weakly(None)


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (None, True),
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"x"', False),
        ('""', False),
        ('"abc", "abc"', False),
        ('"x", "abc"', False),
        ("abc", False),
        ("*", False),
        ("", False),
        (EXACT, True),
        (f" {EXACT} ", True),
        (BEFORE, False),
        (AFTER, False),
        ("soon", False),
        ("GMT", False),
    ],
)
def test_if_range(header: str | None, *, holds: bool) -> None:
    assert if_range_holds(header, CURRENT) is holds


# RFC 9110 §5.6.7: a recipient accepts all three.
@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "  Sun, 06 Nov 1994 08:49:37 GMT\t",
    ],
)
def test_the_three_formats_of_dates_are_read(text: str) -> None:
    assert parse_http_date([text]) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "GMT",
        " GMT",
        "0",
        "784111777",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 EST",
        "Sun, 06 Nov 1994 08:49:37 +0200 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "Sun, 06 Nov 10000 08:49:37 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        "Sun, 06 Nov 1994 99999999999:49:37 GMT",
        f"Sun, 06 Nov {'9' * 5000} 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_an_invalid_date_is_ignored(text: str) -> None:
    assert parse_http_date([text]) is None


@pytest.mark.parametrize("lines", [[], [EXACT, EXACT], [EXACT, ""]])
def test_there_is_one_date_or_none(lines: list[str]) -> None:
    assert parse_http_date(lines) is None


@given(
    text=st.one_of(
        st.text(),
        st.text(st.sampled_from("0123456789 ,:-+SunNovGMT\t"), max_size=40),
        st.tuples(*[st.integers(min_value=-(10**21), max_value=10**21)] * 5).map(
            lambda parts: "Sun, {} Nov {} {}:{}:{}".format(*parts)
        ),
    )
)
def test_no_text_makes_reading_a_date_fail(text: str) -> None:
    for ending in ("", " GMT", "GMT"):
        moment = parse_http_date([text + ending])
        assert moment is None or moment.tzinfo is UTC


@given(
    moment=st.datetimes(
        min_value=datetime(1970, 1, 1),
        timezones=st.just(UTC),
    )
)
def test_every_moment_survives_its_header_to_the_second(moment: datetime) -> None:
    text = format_http_date(moment)
    assert parse_http_date([text]) == moment.replace(microsecond=0)
    assert Validators("abc", moment).last_modified == parse_http_date([text])


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (datetime(2024, 2, 29, tzinfo=UTC), "Thu, 29 Feb 2024 00:00:00 GMT"),
        (CURRENT.modified, EXACT),
    ],
)
def test_dates_are_written_in_the_preferred_format(moment: datetime, text: str) -> None:
    assert format_http_date(moment) == text


def test_an_etag_is_written_in_quotes() -> None:
    assert format_etag("abc") == '"abc"'
