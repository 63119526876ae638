"""What tests of locks do on their way."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, fromstring

from tests.http import raw
from tests.http.dav.steps import DAV, Told, ask, propfind
from tests.http.steps import Client

OWNER = '<D:owner><D:href xml:lang="de">mailto:a@b</D:href> &amp; Anna</D:owner>'
PROP = "<D:prop><D:lockdiscovery/></D:prop>"


def info(scope: str = "exclusive", owner: str = OWNER) -> str:
    return (
        '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope>'
        f"<D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype>{owner}</D:lockinfo>"
    )


async def lock(client: Client, path: str, *lines: str, scope: str = "exclusive") -> str:
    """Take a lock; return its token."""
    answer = await ask(client, "LOCK", f"/dav/{path}", *lines, body=info(scope))
    assert answer.status in (200, 201), (answer.status, answer.body)
    match = re.fullmatch("<(.+)>", answer.headers["Lock-Token"])
    assert match is not None
    assert match[1] in answer.body.decode()
    return match[1]


async def unlock(client: Client, path: str, token: str) -> int:
    answer = await ask(client, "UNLOCK", f"/dav/{path}", f"Lock-Token: <{token}>")
    return answer.status


async def write(client: Client, path: str, *lines: str) -> int:
    return (await ask(client, "PUT", f"/dav/{path}", *lines, body=b"written")).status


def locks_in(told: Told) -> list[Element]:
    return told.found[f"{DAV}lockdiscovery"].findall(f"{DAV}activelock")


async def locks_on(client: Client, path: str) -> list[Element]:
    """Return what lockdiscovery tells of a name."""
    return locks_in(next(iter((await propfind(client, f"/dav/{path}", "0", PROP)).values())))


def condition_of(answer: raw.Answer) -> tuple[str, list[str]]:
    """Return the precondition that an answer names, and the addresses with it."""
    error = fromstring(answer.body)
    assert error.tag == f"{DAV}error"
    return error[0].tag.removeprefix(DAV), [each.text or "" for each in error[0]]
