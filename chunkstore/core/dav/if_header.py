"""The If header of WebDAV (RFC 4918 §10.4): its grammar, and whether it holds.

A request with it goes through two gates. First the header as a whole must be true, or the answer is
412. Then each lock that the request would break must be among the tokens that the header names,
wherever they stand in it, or the answer is 423 (§10.4.1).

The header is evaluated when a request begins. Tokens are settled then: a lock that expires while a
long body comes does not end the upload. What is left are entity tags, `TagFormula`, which are
judged again in the transaction of the write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias

from chunkstore.core.errors import InvalidRequest

ResourceTag = NewType("ResourceTag", str)
"""What stands in the angle brackets before a list: a URL, or its path."""

MOST_CONDITIONS: Final = 256

_SPACE: Final = re.compile(r"[ \t]*")
_CODED_URL: Final = re.compile(r"<([^<>]*)>")
# RFC 9110 §8.8.3, then what clients send that forget the quotes: such a tag matches nothing.
_TAG: Final = re.compile(r'\[[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"[ \t]*\]|([^\]]*)\])')
_NOT: Final = re.compile(r"[Nn][Oo][Tt](?=[ \t<\[])")


@dataclass(frozen=True, slots=True)
class TokenCondition:
    """That the resource is in the scope of the lock with this token; `negated`: that it is not."""

    token: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class TagCondition:
    """That the resource has this entity tag, without quotes; None matches nothing."""

    etag: str | None
    negated: bool = False


Condition: TypeAlias = TokenCondition | TagCondition


@dataclass(frozen=True, slots=True)
class ConditionList:
    """Conditions of which all must hold of one resource, that of the request where it is None."""

    resource: ResourceTag | None
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class IfHeader:
    """A whole header: one of its lists must hold."""

    lists: tuple[ConditionList, ...]

    @property
    def tokens(self) -> frozenset[str]:
        """The tokens that are submitted, whether the list holds that they stand in or not."""
        return frozenset(
            condition.token
            for each in self.lists
            for condition in each.conditions
            if isinstance(condition, TokenCondition)
        )

    @property
    def resources(self) -> frozenset[ResourceTag | None]:
        """The resources that the lists are about."""
        return frozenset(each.resource for each in self.lists)

    @property
    def tagged(self) -> frozenset[ResourceTag | None]:
        """Those of them of which entity tags are asked that can match."""
        return frozenset(
            each.resource
            for each in self.lists
            for condition in each.conditions
            if isinstance(condition, TagCondition) and condition.etag is not None
        )


@dataclass(frozen=True, slots=True)
class TagFormula:
    """Entity tags: in one of the `lists`, all conditions must hold; each is of a resource."""

    lists: tuple[tuple[tuple[ResourceTag | None, TagCondition], ...], ...]

    @property
    def resources(self) -> frozenset[ResourceTag | None]:
        """The resources whose entity tags matter."""
        return frozenset(resource for each in self.lists for resource, _ in each)

    def holds(self, etag_of: Callable[[ResourceTag | None], str | None]) -> bool:
        """Whether it is true of resources with these entity tags."""
        return any(
            all(
                (condition.etag is not None and condition.etag == etag_of(resource))
                is not condition.negated
                for resource, condition in each
            )
            for each in self.lists
        )


TRUE: Final = TagFormula(((),))
"""The formula that always holds."""


def parse_if(text: str) -> IfHeader:
    """Return the header whose value is `text`.

    Raises:
        InvalidRequest: it breaks the grammar, mixes tagged lists with others, or is too long.
    """
    lists: list[ConditionList] = []
    position, resource, count = _skip_space(text, 0), None, 0
    is_tagged = text.startswith("<", position)
    while position < len(text):
        if is_tagged and (tag := _CODED_URL.match(text, position)):
            resource = ResourceTag(tag[1])
            position = _skip_space(text, tag.end())
        conditions, position = _parse_list(text, position)
        lists.append(ConditionList(resource, conditions))
        count += len(conditions)
        if count > MOST_CONDITIONS:
            raise InvalidRequest(f"If can have {MOST_CONDITIONS} conditions here.")
        position = _skip_space(text, position)
    if not lists:
        raise InvalidRequest("If has no list of conditions.")
    return IfHeader(tuple(lists))


def _skip_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    assert space is not None
    return space.end()


def _parse_list(text: str, position: int) -> tuple[tuple[Condition, ...], int]:
    """Return the conditions of the list at a position, and where it ends."""
    if not text.startswith("(", position):
        raise InvalidRequest("If is lists like (<token>) or <URL> (<token>), and no mixture.")
    conditions: list[Condition] = []
    position = _skip_space(text, position + 1)
    while not text.startswith(")", position):
        condition, position = _parse_condition(text, position)
        conditions.append(condition)
        position = _skip_space(text, position)
    if not conditions:
        raise InvalidRequest("A list of If has no condition.")
    return tuple(conditions), position + 1


def _parse_condition(text: str, position: int) -> tuple[Condition, int]:
    negation = _NOT.match(text, position)
    if negation is not None:
        position = _skip_space(text, negation.end())
    if token := _CODED_URL.match(text, position):
        return TokenCondition(token[1], negation is not None), token.end()
    if tag := _TAG.match(text, position):
        # By strong comparison (RFC 9110 §8.8.3.2), a weak tag matches nothing.
        etag = None if tag[1] is not None else tag[2]
        return TagCondition(etag, negation is not None), tag.end()
    raise InvalidRequest("A condition of If is <token> or [entity tag], with Not before it or not.")


def settle_tokens(
    header: IfHeader, tokens_on: Callable[[ResourceTag | None], Collection[str]]
) -> TagFormula:
    """Return what is left of a header once it is settled which tokens are locks on a resource.

    It has no list, and so never holds, where that alone decides it.
    """
    lists = []
    for each in header.lists:
        tags = []
        for condition in each.conditions:
            if isinstance(condition, TagCondition):
                tags.append((each.resource, condition))
            elif (condition.token in tokens_on(each.resource)) is condition.negated:
                break
        else:
            lists.append(tuple(tags))
    return TRUE if () in lists else TagFormula(tuple(lists))
