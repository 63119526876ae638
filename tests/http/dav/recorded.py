"""Requests as programs send them, byte for byte, and what they read in the answers."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from textwrap import dedent
from xml.etree.ElementTree import Element, fromstring

from tests.http import raw
from tests.http.dav.steps import DAV
from tests.http.steps import Client


async def send(client: Client, head: str, body: str | bytes = b"", **places: str) -> raw.Answer:
    """Send a request whose head is `head`, and return the answer.

    A word in capitals between @, as `@NAME@`, is replaced by what `places` has by it in small
    letters. A Content-Length without a value gets that of the body.
    """
    content = _filled(body, places).encode() if isinstance(body, str) else body
    lines = _filled(dedent(head).strip(), places).splitlines()
    octets = "\r\n".join(
        f"{line} {len(content)}" if line == "Content-Length:" else line for line in lines
    )
    method = lines[0].split(" ")[0]
    answer = await raw.ask(client, f"{octets}\r\n\r\n".encode() + content, method)
    if answer.headers["Content-Encoding"] == "gzip":
        return replace(answer, body=gzip.decompress(answer.body))
    return answer


def _filled(text: str, places: dict[str, str]) -> str:
    return re.sub("@([A-Z]+)@", lambda match: places[match[1].lower()], text)


def token_of(answer: raw.Answer) -> str:
    """Return the token of the lock that was taken, which head and body tell alike."""
    assert answer.status in (200, 201), (answer.status, answer.body)
    match = re.fullmatch("<([^<>]+)>", answer.headers["Lock-Token"])
    assert match is not None
    active = active_lock(answer)
    assert active.findtext(f"{DAV}locktoken/{DAV}href") == match[1]
    return match[1]


def active_lock(answer: raw.Answer) -> Element:
    """Return the lock that an answer to LOCK tells of."""
    found = fromstring(answer.body).find(f"{DAV}lockdiscovery/{DAV}activelock")
    assert found is not None
    return found
