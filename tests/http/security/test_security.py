"""What attackers try: names, types, other sites' pages, requests within requests.

`TESTS` says where all that went wrong in other servers is tested, here and in other modules.
"""

from __future__ import annotations

from base64 import b64encode
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import quote

import pytest

from tests.http import raw
from tests.http.steps import Client, exactly, on_shared_server, put, read, status_of
from tests.http.tables import check_tests_exist

pytestmark = on_shared_server

# What went wrong elsewhere, and the tests for it: the module's name, then the test's.
TESTS = {
    "script in stored files": """
        security.only_harmless_types_are_shown_in_place page.nasty_names_are_mere_text
        security.name_to_save_under""",
    "names that lead elsewhere": """
        security.name_that_is_not_possible security.name_is_decoded_once
        security.all_spellings_are_one_file security.encoded_slash_meets_the_same_rules
        security.static_files_are_no_way_out form.backslashes_lead_out_of_no_folder""",
    "names and headers that forge headers or log lines": """
        security.name_to_save_under security.no_header_is_smuggled_through_the_media_type
        security.control_character_reaches_no_log form.names_that_are_not_possible""",
    "floods of ranges": """
        ranges.with_more_ranges_the_whole_is_sent
        ranges.overlapping_ranges_do_not_multiply_the_content
        head.range_flood_means_nothing""",
    "requests that another site has a browser send": """
        security.page_of_another_site_changes_nothing security.own_page_may_change_things
        form.delete_form_of_one_folder_deletes_in_no_other""",
    "slow and silent clients": """
        slow_clients.head_that_does_not_end_is_answered_with_408
        slow_clients.body_that_stops_leaves_nothing
        slow_clients.body_slower_than_the_floor_is_ended
        slow_clients.download_that_is_not_taken_is_broken_off
        slow_clients.stalled_downloads_do_not_stop_another_client
        slow_clients.one_connection_too_many_is_told_so
        slow_clients.client_that_does_nothing_does_not_keep_its_place""",
    "lengths that are not true": """
        put.too_large_file_is_refused_before_it_is_sent
        put.too_large_file_of_unknown_length_is_refused errors.malformed_request_is_refused""",
    "bombs": """
        put.encoded_content_is_not_taken form.encoded_form_is_not_taken form.malformed_form
        form.largest_number_of_parts form.name_without_an_end_does_not_hold_the_server_up
        errors.body_of_a_get_means_nothing""",
    "digests taken for the content": "security.etag_of_a_content_gives_it_to_nobody",
    "half files": """
        put.upload_that_is_cut_changes_nothing put.short_upload_that_ends_early_changes_nothing
        form.form_that_is_cut_stores_nothing form.all_files_or_none""",
    "requests within requests": "security.no_request_hides_in_a_request",
    "lists without an end": """
        list.no_page_has_more_than_a_thousand_entries list.limit_that_is_not_possible""",
}


@pytest.mark.parametrize("line", TESTS)
async def test_every_line_of_the_table_names_tests_that_there_are(line: str) -> None:
    check_tests_exist(TESTS[line])


@pytest.mark.parametrize("octet", [b"\x1b", b"\x00", b"\x7f", b"\x08"])
async def test_control_character_reaches_no_log(shared: Client, octet: bytes) -> None:
    # The log has the target and the User-Agent as they came.
    for octets in (
        raw.request("GET", b"/files/" + octet),
        raw.request("GET", "/files/", b"User-Agent: a" + octet + b"[2Jb"),
    ):
        assert (await raw.ask(shared, octets)).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "..",
        ".",
        "../{}",
        "{}/..",
        "{}/../x",
        "{}/./x",
        "%2e%2e",
        "%2E%2e/{}",
        ".%2e/{}",
        "{}/%2e%2e/x",
        "{}%2f..%2fx",
        "{}%2F%2e%2e%2Fx",
        "{}/%2e",
        "{}//x",
        "/{}",
        "%2f{}",
        "{}%2f%2fx",
        "{}/%2fx",
        "{}%00",
        "{}%00.txt",
        "%00",
        "{}%0a",
        "{}%0d%0aSet-Cookie:%20a=b",
        "{}%09",
        "{}%1b[31m",
        "{}%7f",
        "{}%c2%85",
        # Overlong forms of "." and "/", as in old attacks on decoders.
        "%c0%ae%c0%ae/{}",
        # What NFC makes ASCII of.
        "{}%e2%84%aaeys",
        "{}%cd%be",
        "{}%e1%bf%af",
        "{}%c0%afx",
        "{}%e0%80%afx",
        "{}%f0%80%80%afx",
        # Surrogates, alone and as the pair that CESU-8 has.
        "{}%ed%a0%80",
        "{}%ed%a0%bd%ed%b8%80",
        "{}%ff",
        "{}%c3",
        "{}%f4%90%80%80",
        "{}%",
        "{}%2",
        "{}%zz",
        "{}%u0041",
    ],
)
async def test_name_that_is_not_possible(shared: Client, name: str, path: str) -> None:
    target = f"/files/{path.format(name)}"
    for method in ("PUT", "MOVE"):
        octets = raw.request(method, target, f"Destination: /files/{name}-b", "Content-Length: 0")
        answer = await raw.ask(shared, octets)
        assert answer.status == 400, method
        assert answer.json()["type"].endswith(":invalid-name")
        assert "Set-Cookie" not in answer.headers


async def test_names_are_checked_by_every_method(shared: Client) -> None:
    async with raw.connect(shared) as connection:
        for method in ("GET", "HEAD", "PUT", "DELETE", "COPY", "MOVE", "MKCOL"):
            lines = ("Destination: /files/a", "Content-Length: 0")
            await connection.send(raw.request(method, "/files/a%2f..%2fb", *lines))
            answer = await connection.receive(method)
            assert answer.status == 400, method


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("{}%5c..%5cx", "{}\\..\\x"),
        ("{}...", "{}..."),
        ("..{}", "..{}"),
        (".{}", ".{}"),
        ("{}%20", "{} "),
        ("{}+%2b", "{}++"),
        ("{}%3f%23%3b;", "{}?#;;"),
        ("{}%252e%252e", "{}%2e%2e"),
        ("{}%252f", "{}%2f"),
        ("{}%25", "{}%"),
        ("{}%22%27%3c%3e&", "{}\"'<>&"),
        ("{}:@!$&'()*,=~", "{}:@!$&'()*,=~"),
        ("{}/%41/b", "{}/A/b"),
        ("{}%2fb", "{}/b"),
        ("{}%c3%a4", "{}ä"),
        ("{}a%cc%88", "{}ä"),
        ("{}%f0%9f%98%80", "{}😀"),
        ("{}%e2%80%ae", "{}\u202e"),
        ("{}%ef%bf%bd", "{}\ufffd"),
        ("{}%e2%84%ab", "{}Å"),
        ("{}CON", "{}CON"),
        ("{}%ef%bc%8f..%ef%bc%8f", "{}\uff0f..\uff0f"),
    ],
)
async def test_name_is_decoded_once(shared: Client, name: str, path: str, stored: str) -> None:
    octets = raw.request("PUT", f"/files/{path.format(name)}", "Content-Length: 7", body=b"content")
    answer = await raw.ask(shared, octets)
    assert answer.status == 201
    assert answer.json()["name"] == stored.format(name)
    # What is listed leads back to it.
    assert await read(shared, quote(stored.format(name))) == b"content"


async def test_encoded_slash_at_the_end_makes_no_file(shared: Client, name: str) -> None:
    for method in ("PUT", "GET", "DELETE", "COPY", "MOVE"):
        lines = (f"Destination: /files/{name}-b", "Content-Length: 0")
        answer = await raw.ask(shared, raw.request(method, f"/files/{name}%2f", *lines), method)
        assert answer.status == 400, method


async def test_all_spellings_are_one_file(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a%C3%A4", b"content")
    for spelling in ("/a%c3%a4", "%2fa%C3%A4", "/%61%C3%A4", "/aa%CC%88", "%2Faa%cc%88"):
        assert await read(shared, f"{name}{spelling}") == b"content"
        told = await put(shared, f"{name}{spelling}", b"content")
        assert told["name"] == f"{name}/aä"


async def test_encoded_slash_meets_the_same_rules(shared: Client, name: str) -> None:
    await put(shared, name, b"content")
    response = await shared.put(exactly(f"/files/{name}%2Fbelow"), data=b"new")
    assert response.status == 409


@pytest.mark.parametrize("character", ["x", "ä", "😀"])
async def test_longest_name(shared: Client, name: str, character: str) -> None:
    fill = "x" * ((1024 - len(name)) % len(character.encode()))
    longest = name + fill + character * ((1024 - len(name)) // len(character.encode()))
    assert len(longest.encode()) == 1024
    await put(shared, quote(longest), b"content")
    assert await read(shared, quote(longest)) == b"content"
    response = await shared.put(exactly(f"/files/{quote(longest)}x"), data=b"content")
    assert response.status == 400
    assert "1024" in (await response.json())["detail"]


async def test_length_is_that_of_the_stored_form(shared: Client, name: str) -> None:
    # Composed it has 1,024 bytes, decomposed 1,536.
    longest = (name + "x" * (len(name) % 2)).encode()
    longest += b"a%CC%88" * ((1024 - len(longest)) // 2)
    assert (await put(shared, longest.decode()))["name"].startswith(name)


async def test_target_with_two_leading_slashes_is_no_host(shared: Client, name: str) -> None:
    await put(shared, name)
    for target in (f"//files/{name}", f"//elsewhere.example/files/{name}"):
        assert (await raw.ask(shared, raw.request("GET", target))).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2fpages.py",
        "/static/..%5cpages.py",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/static/%ff",
    ],
)
async def test_static_files_are_no_way_out(shared: Client, target: str) -> None:
    answer = await raw.ask(shared, raw.request("GET", target))
    assert answer.status in (400, 403, 404)
    assert b"import" not in answer.body
    assert b"root:" not in answer.body


@pytest.mark.parametrize(
    ("media_type", "inline"),
    [
        ("text/plain", True),
        ("text/plain; charset=utf-8", True),
        ("TEXT/PLAIN", True),
        ("image/png", True),
        ("image/jpeg", True),
        ("image/webp", True),
        ("audio/mpeg", True),
        ("video/mp4", True),
        ("text/html", False),
        ("TEXT/HTML", False),
        ("text/html;charset=utf-7", False),
        ("text/html ; a=text/plain", False),
        ("application/xhtml+xml", False),
        ("image/svg+xml", False),
        ("IMAGE/SVG+XML", False),
        ("audio/x+xml", False),
        ("video/x+xml;a=b", False),
        ("text/xml", False),
        ("application/xml", False),
        ("application/pdf", False),
        ("text/css", False),
        ("text/javascript", False),
        ("application/octet-stream", False),
        ("application/json", False),
        ("multipart/x-mixed-replace", False),
    ],
)
async def test_only_harmless_types_are_shown_in_place(
    shared: Client, name: str, media_type: str, inline: bool
) -> None:
    await put(shared, name, b"<script>alert(1)</script>", Content_Type=media_type)
    async with shared.get(f"/files/{name}") as response:
        kind = response.headers["Content-Disposition"].partition(";")[0]
        assert kind == ("inline" if inline else "attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox;")
        assert "allow-" not in policy


@pytest.mark.parametrize(
    "filename",
    [
        "plain.txt",
        "a b",
        'a"b',
        "a\\b",
        "a%b",
        "%41",
        "a'b",
        "a;b=c",
        'a"; filename="b',
        "ä€😀",
        "\u202eexe.png",
        "(a)*,&",
        "\u00a0",
        "=?utf-8?q?a?=",
    ],
)
async def test_name_to_save_under(shared: Client, name: str, filename: str) -> None:
    # RFC 6266 and RFC 8187, as the standard library's e-mail package understands them.
    await put(shared, f"{name}/{quote(filename)}")
    async with shared.get(exactly(f"/files/{name}/{quote(filename)}")) as response:
        disposition = response.headers["Content-Disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    message = Message()
    message["Content-Disposition"] = disposition
    kind = message.get_content_disposition()
    assert kind in ("inline", "attachment")
    parameters = dict(message.get_params([], header="Content-Disposition"))
    assert set(parameters) <= {kind, "filename", "filename*"}
    told = message.get_param("filename", header="Content-Disposition")
    assert told is not None
    extended = "filename*=" in disposition
    if extended:
        value = disposition.rpartition("filename*=")[2]
        message.replace_header("Content-Disposition", f"attachment; filename*={value}")
        told = message.get_param("filename", header="Content-Disposition")
        assert told is not None
    assert collapse_rfc2231_value(told) == filename
    # Browsers that know only the plain form must see nothing special in it either.
    plain = disposition.partition('filename="')[2].partition('"')[0]
    assert not set(plain) & set('"\\%')
    assert extended or plain == filename


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Type: text/plain\r\n Set-Cookie: a=b",
        b"Content-Type: text/plain\rSet-Cookie: a=b",
        b"Content-Type: text/plain\nSet-Cookie: a=b",
        b"Content-Type: text/plain\0",
    ],
)
async def test_no_header_is_smuggled_through_the_media_type(
    shared: Client, name: str, line: bytes
) -> None:
    octets = raw.request("PUT", f"/files/{name}", line, "Content-Length: 0")
    await raw.ask(shared, octets)
    answer = await raw.ask(shared, raw.request("GET", f"/files/{name}"))
    assert "Set-Cookie" not in answer.headers
    assert "\0" not in (answer.headers["Content-Type"] or "")


WRITES = ["PUT", "POST", "DELETE", "COPY", "MOVE", "MKCOL"]


def write(method: str, name: str, *lines: str, host: str = "test") -> bytes:
    """Return a request that would change something but for its header lines."""
    target = {"POST": f"/files/{name}/", "MKCOL": f"/files/{name}-made/"}.get(
        method, f"/files/{name}/a"
    )
    body = f"delete={name}/a".encode() if method == "POST" else b""
    fields = [f"Destination: /files/{name}-b", f"Content-Length: {len(body)}"]
    if body:
        fields.append("Content-Type: application/x-www-form-urlencoded")
    return raw.request(method, target, *fields, *lines, body=body, host=host)


@pytest.mark.parametrize(
    "lines",
    [
        ["Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-site"],
        ["Sec-Fetch-Site: CROSS-SITE"],
        ["Sec-Fetch-Site: nonsense"],
        ["Sec-Fetch-Site: "],
        ["Sec-Fetch-Site: cross-site", "Origin: http://test"],
        ["Origin: http://elsewhere.example"],
        ["Origin: http://test.elsewhere.example"],
        ["Origin: http://elsewhere.example@test:81"],
        ["Origin: http://test:8080"],
        ["Origin: null"],
        ["Origin: "],
        ["Origin: test"],
        ["Origin: http://["],
        ["Origin: http://elsewhere.example http://test"],
    ],
    ids=str,
)
async def test_page_of_another_site_changes_nothing(
    shared: Client, name: str, lines: list[str]
) -> None:
    await put(shared, f"{name}/a", b"old")
    for method in WRITES if len(lines) == 2 else ("PUT", "POST"):
        answer = await raw.ask(shared, write(method, name, *lines))
        assert answer.status == 403, method
        assert answer.json()["type"].endswith(":forbidden")
    assert await read(shared, f"{name}/a") == b"old"
    assert await status_of(shared, f"{name}-b") == 404
    assert await status_of(shared, f"{name}-made") == 404


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Sec-Fetch-Site: same-origin"],
        ["Sec-Fetch-Site: none"],
        ["Sec-Fetch-Site: Same-Origin"],
        ["Origin: http://test"],
        ["Origin: http://test:80"],
        ["Origin: http://TEST"],
        ["Sec-Fetch-Site: same-origin", "Origin: http://test"],
    ],
    ids=str,
)
async def test_own_page_may_change_things(shared: Client, name: str, lines: list[str]) -> None:
    await put(shared, f"{name}/a", b"old")
    for method, status in [("COPY", 201), ("PUT", 200), ("MOVE", 204), ("MKCOL", 201)]:
        assert (await raw.ask(shared, write(method, name, *lines))).status == status, method
    for method, status in [("POST", 200), ("DELETE", 204)]:
        await put(shared, f"{name}/a", b"old")
        assert (await raw.ask(shared, write(method, name, *lines))).status == status, method


async def test_own_page_behind_a_proxy_that_ends_tls_may_change_things(
    shared: Client, name: str
) -> None:
    # The browser's Origin has https; the proxy speaks http and passes Host on.
    await put(shared, f"{name}/a")
    answer = await raw.ask(shared, write("DELETE", name, "Origin: https://test"))
    assert answer.status == 204


@pytest.mark.parametrize("host", ["", "[", "a:99999"])
async def test_host_that_is_none_is_not_the_origin_that_is_none(
    shared: Client, name: str, host: str
) -> None:
    await put(shared, f"{name}/a")
    for origin in ("null", "http://["):
        answer = await raw.ask(shared, write("DELETE", name, f"Origin: {origin}", host=host))
        assert answer.status in (400, 403)
    assert await status_of(shared, f"{name}/a") == 200


async def test_other_sites_may_read(shared: Client, name: str) -> None:
    await put(shared, name, b"content")
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://elsewhere.example"}
    async with shared.get(f"/files/{name}", headers=headers) as response:
        assert response.status == 200
        # Their scripts may not.
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n"),
        (["Content-Length: 0", "Content-Length: 5"], b""),
        (["Content-Length: 0, 5"], b""),
        (["Content-Length: +5"], b"hello"),
        (["Content-Length: 0x5"], b"hello"),
        (["Transfer-Encoding: xchunked"], b""),
        (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
        (["Transfer-Encoding : chunked"], b"0\r\n\r\n"),
        (["Content-Length : 5"], b"hello"),
        ([" Content-Length: 5"], b"hello"),
        (["Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"0x0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"-0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"5\r\nhelloworld\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"5\nhello\n0\n\n"),
    ],
    ids=str,
)
async def test_no_request_hides_in_a_request(
    shared: Client, name: str, lines: list[str], body: bytes
) -> None:
    # RFC 9112 §11.2: where the length is in doubt, what follows must not be answered.
    await put(shared, f"{name}-victim")
    smuggled = raw.request("DELETE", f"/files/{name}-victim")
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("PUT", f"/files/{name}", *lines, body=body) + smuggled)
        assert (await connection.receive()).status >= 400
        assert await connection.receive_rest() == b""
    assert await status_of(shared, f"{name}-victim") == 200
    assert await status_of(shared, name) == 404


async def test_etag_of_a_content_gives_it_to_nobody(shared: Client, name: str) -> None:
    # Whoever knows a digest has shown nothing: the bytes themselves make a file of it.
    digest = (await put(shared, name, b"secret"))["digest"]
    await put(shared, f"{name}-b", b"", ETag=f'"{digest}"')
    assert await read(shared, f"{name}-b") == b""
    claim = f"blake3=:{b64encode(bytes.fromhex(digest)).decode()}:"
    async with shared.put(f"/files/{name}-c", data=b"", headers={"Repr-Digest": claim}) as refused:
        assert refused.status == 400
    assert await status_of(shared, f"{name}-c") == 404
    for path in (digest, f"chunks/{digest}", f"files/{digest}", f"contents/{digest}"):
        assert (await shared.get(f"/{path}")).status == 404
