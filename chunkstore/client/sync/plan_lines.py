"""Plans as JSON lines, which people read before they have them applied.

The first line, broken here, says what the plan is of; each further one is a step:

    {"plan": 1, "source": "/home/ada/build", "target": "http://h/files/build/",
     "follow_links": false, "unchanged": 7, "unchanged_size": 4096}
    {"step": "put", "name": "a", "size": 6, "digest": "8e4c…", "replaces": null}
    {"step": "copy", "name": "b", "source": "c", "size": 6, "digest": "8e4c…", "replaces": "77…"}
    {"step": "make_folder", "name": "empty"}
    {"step": "delete", "name": "d", "size": 6, "digest": "8e4c…"}
    {"step": "delete_folder", "name": "old"}

`replaces` is there only for a name that is there. `in_the_way` of a `delete` that has to be first
is true. Lines may be taken out; a plan that was made for another state is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from chunkstore.client.sync.plan import (
    CopyFile,
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PutFile,
    Step,
)
from chunkstore.core.digest import Digest

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """A plan, and the places that it is of, as `sync` takes them."""

    source: str
    target: str
    follow_links: bool
    plan: Plan


def format_plan(written: WrittenPlan) -> Iterator[str]:
    """Yield the lines, each with its line break."""
    head = {
        "plan": _VERSION,
        "source": written.source,
        "target": written.target,
        "follow_links": written.follow_links,
        "unchanged": written.plan.unchanged,
        "unchanged_size": written.plan.unchanged_size,
    }
    yield _line(head)
    for step in written.plan.steps:
        yield _line(step_to_json(step))


def step_to_json(step: Step) -> dict[str, Any]:
    """Return a step as its line has it."""
    match step:
        case PutFile():
            return {"step": "put", **_content(step), **_replaced(step)}
        case CopyFile():
            members = {"step": "copy", "source": step.source}
            return {**members, **_content(step), **_replaced(step)}
        case MakeEmptyFolder():
            return {"step": "make_folder", "name": step.name}
        case DeleteFile():
            way = {"in_the_way": True} if step.in_the_way else {}
            return {"step": "delete", **_content(step), **way}
        case DeleteEmptyFolder():
            return {"step": "delete_folder", "name": step.name}


def parse_plan(lines: Iterable[str]) -> WrittenPlan:
    """Parse the lines of a plan.

    Raises:
        ValueError: they are none; the message says which line, from 1 on.
    """
    head: dict[str, Any] | None = None
    steps = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            members = _parse_object(line)
            if head is None:
                head = _check_head(members)
            else:
                steps.append(_parse_step(members))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"line {number} is not one of a plan: {error}") from error
    if head is None:
        raise ValueError("it is empty")
    plan = Plan(tuple(steps), head.get("unchanged", 0), head.get("unchanged_size", 0))
    return WrittenPlan(head["source"], head["target"], bool(head.get("follow_links")), plan)


def _parse_object(line: str) -> dict[str, Any]:
    members = json.loads(line)
    if isinstance(members, dict):
        return members
    raise ValueError("it is no JSON object")


def _check_head(members: dict[str, Any]) -> dict[str, Any]:
    if members.get("plan") != _VERSION:
        raise ValueError(f"it does not say that it is a plan of version {_VERSION}")
    _text(members, "source")
    _text(members, "target")
    for member in ("unchanged", "unchanged_size"):
        if type(members.get(member, 0)) is not int:
            raise ValueError(f"{member} is no number")
    return members


def _parse_step(members: dict[str, Any]) -> Step:
    name = _text(members, "name")
    match members.get("step"):
        case "put":
            digest, is_new = _digest(members, "digest"), "replaces" not in members
            return PutFile(name, _size(members), digest, _digest(members, "replaces"), is_new)
        case "copy":
            digest = _digest(members, "digest")
            if digest is None:
                raise ValueError("a copy has a digest")
            replaces, is_new = _digest(members, "replaces"), "replaces" not in members
            source = _text(members, "source")
            return CopyFile(name, source, _size(members), digest, replaces, is_new)
        case "make_folder":
            return MakeEmptyFolder(name)
        case "delete":
            way = members.get("in_the_way", False) is True
            return DeleteFile(name, _size(members), _digest(members, "digest"), way)
        case "delete_folder":
            return DeleteEmptyFolder(name)
    raise ValueError("it has no step that is known")


def _line(members: dict[str, Any]) -> str:
    return json.dumps(members, ensure_ascii=False) + "\n"


def _content(step: PutFile | CopyFile | DeleteFile) -> dict[str, Any]:
    return {"name": step.name, "size": step.size, "digest": _shown(step.digest)}


def _replaced(step: PutFile | CopyFile) -> dict[str, Any]:
    return {} if step.is_new else {"replaces": _shown(step.replaces)}


def _shown(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _text(members: dict[str, Any], member: str) -> str:
    value = members.get(member)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{member} is no text")
    return value


def _size(members: dict[str, Any]) -> int:
    value = members.get("size")
    if type(value) is not int or value < 0:
        raise ValueError("size is no number of bytes")
    return value


def _digest(members: dict[str, Any], member: str) -> Digest | None:
    value = members.get(member)
    return None if value is None else Digest.parse(_text(members, member))
