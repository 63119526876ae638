"""Whatever a request says, the server does not fail, and what it refuses changes nothing."""

from __future__ import annotations

import re
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.dav.steps import ask, make
from tests.http.steps import Client, on_shared_server

PIECES = (
    *(
        "<D:prop>",
        "</D:prop>",
        "<D:set>",
        "</D:set>",
        "<D:remove>",
        "<D:allprop/>",
        "<D:propname/>",
    ),
    *("<D:exclusive/>", "<D:lockscope>", "<D:lockinfo xmlns:D='DAV:'>", "<D:owner>", "<D:write/>"),
    *("<D:propfind xmlns:D='DAV:'>", "<D:propertyupdate xmlns:D='DAV:'>", "<D:getetag/>", "<x/>"),
    *(
        "</D:propfind>",
        "</D:propertyupdate>",
        "<!DOCTYPE a>",
        "&amp;",
        "&a;",
        "\x00",
        "\ud7ff",
        "]",
    ),
    *(
        "<a xmlns=''/>",
        "<p:a xmlns:p=''/>",
        "<xml:a/>",
        "<?xml version='1.0'?>",
        "<![CDATA[",
        "--",
        "<",
        "ä",
    ),
)
WORDS = (
    *(
        "(",
        ")",
        "<",
        ">",
        "[",
        "]",
        '"',
        "Not",
        " ",
        "DAV:no-lock",
        "lock:a",
        "/dav/",
        "/",
        "..",
        "*",
    ),
    *(
        "0",
        "1",
        "infinity",
        "Infinite",
        "Second-",
        "-1",
        "9" * 30,
        ",",
        "%00",
        "%ff",
        "%2e%2e",
        ":",
    ),
    *("http://test/dav/a", "//", "#", "?", "T", "F", "W/", "JoplinIgnore-1", "SHA1:", "\t", "é"),
)
FIELDS = (
    *("Depth", "Destination", "If", "If-Match", "If-None-Match", "Lock-Token", "Overwrite"),
    *("OC-Checksum", "Prefer", "Timeout", "X-OC-Mtime"),
)
METHODS = (
    *("PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "MKCOL", "COPY", "MOVE", "DELETE", "PUT", "POST"),
    *("OPTIONS", "GET", "HEAD"),
)
READING = {"PROPFIND", "OPTIONS", "GET", "HEAD"}


async def state_of(client: Client, folder: str) -> bytes:
    """Return all that a list tells of a folder, but how long locks still last."""
    answer = await ask(client, "PROPFIND", f"/dav/{folder}/", "Depth: infinity")
    return re.sub(rb"Second-\d+", b"", answer.body)


@on_shared_server
@pytest.mark.parametrize("method", METHODS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_any_request(shared: Client, name: str, method: str, data: st.DataObject) -> None:
    fields = data.draw(st.sets(st.sampled_from(FIELDS), max_size=4))
    values = st.lists(st.sampled_from(WORDS), max_size=5).map("".join)
    lines = [f"{field}: {data.draw(values)}" for field in sorted(fields)]
    member = data.draw(st.sampled_from(("", "/", "/a", "/a/", "/none", "/none/x", "/d", "/%2e%2e")))
    body = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=8)))
    if (await ask(shared, "PROPFIND", f"/dav/{name}/", "Depth: 0")).status == 404:
        await make(shared, f"{name}/", f"{name}/a", f"{name}/d/")
    before = await state_of(shared, name)
    answer = await ask(shared, method, f"/dav/{name}{member}", *lines, body=body)
    # 502 is a Destination that is elsewhere.
    assert answer.status < 500 or (answer.status == 502 and "Destination" in fields), answer.body
    if method != "HEAD" and answer.headers.get_content_subtype() == "xml":
        # Whatever was asked, it can be read (§8.2).
        fromstring(answer.body)
    if method in READING or answer.status >= 400:
        assert await state_of(shared, name) == before
