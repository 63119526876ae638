"""What browsers are called."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from chunkstore.http.message.browsers import browser_of

AGENTS = {
    "(X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0": "Firefox on Linux",
    "(Windows NT 10.0) Gecko Chrome/143.0 Safari/537.36": "Chrome on Windows",
    "(Windows NT 10.0) Gecko Chrome/143.0 Safari/537.36 Edg/143.0": "Edge on Windows",
    "(Macintosh; Intel Mac OS X 10_15_7) Version/26.0 Safari/605": "Safari on macOS",
    "(iPhone; CPU iPhone OS 26_0 like Mac OS X) CriOS/143 Safari/604": "Chrome on an iPhone",
    "(Linux; Android 16) Chrome/143.0 Mobile Safari/537.36": "Chrome on Android",
    "(Linux) Other/1": "a browser on Linux",
    "curl/8.14": "",
    "<script>alert(1)</script>": "",
    "x" * 2000 + "Firefox": "",
    "": "",
}


@pytest.mark.parametrize(("agent", "name"), AGENTS.items())
def test_browsers_are_called_as_people_know_them(agent: str, name: str) -> None:
    request = make_mocked_request("GET", "/", headers={"User-Agent": agent})
    assert browser_of(request) == name
