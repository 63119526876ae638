"""The log as JSON and as text: one entry a line, whatever a client sends."""

from __future__ import annotations

import json
import logging
import re
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.current_request import CURRENT_REQUEST
from chunkstore.server.config import LogFormat
from chunkstore.server.logs import make_formatter
from chunkstore.service.access.tokens import new_link_token, new_token
from tests.cli.test_access import PASSWORD
from tests.documents.blocks import ROOT
from tests.http import raw
from tests.process import ServerProcess, served
from tests.server.test_admission import add_admin


def record(message: str, *values: object, **more: Any) -> logging.LogRecord:  # noqa: ANN401
    made = logging.LogRecord("chunkstore", logging.WARNING, "", 0, message, values, None)
    vars(made).update(more)
    return made


ANY_TEXT = st.text(st.characters())


@given(message=ANY_TEXT, field=ANY_TEXT)
def test_an_entry_is_one_line_of_json(message: str, field: str) -> None:
    line = make_formatter(LogFormat.JSON).format(record("%s", message, fields={"target": field}))
    assert line.isascii()
    assert line.isprintable()
    entry = json.loads(line)
    # No reader of JSON stumbles over it.
    for sent, logged in ((message, entry["event"]), (field, entry["target"])):
        assert logged.encode().decode("utf-8") == re.sub("[\ud800-\udfff]", "\ufffd", sent)


@given(ANY_TEXT)
def test_an_entry_is_one_line_of_text(message: str) -> None:
    line = make_formatter(LogFormat.TEXT).format(record("%s", message))
    assert line.splitlines() == [line]
    assert not set(line) & {"\x1b", "\x9b", "\u202e", "\x00"}
    assert line.encode()


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_token_is_logged(log_format: LogFormat) -> None:
    """Gogs CVE-2026-26196: what is sent in a query is in logs."""
    made, token = record("GET %s", "", exc_info=None), new_token()
    for text in (f"/files/a?token={token}", f"/files/{token[:-9]}", f"Bearer {token}, {token}"):
        vars(made).update(args=(text,), fields={"target": text})
        line = make_formatter(log_format).format(made)
        assert token[4:20] not in line
        assert "cks_***" in line
    # Nor in a traceback.
    made.exc_text = f"ValueError: {token}"
    assert token not in make_formatter(log_format).format(made)


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_token_of_a_link_is_logged(log_format: LogFormat) -> None:
    made, token = record("GET %s", "", exc_info=None), new_link_token()
    vars(made).update(args=(f"/base/s/{token}/files/a",), fields={"target": f"/s/{token}"})
    line = make_formatter(log_format).format(made)
    assert token not in line
    assert "/s/*" in line


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_code_of_a_provider_is_logged(log_format: LogFormat) -> None:
    made = record("GET %s", "", exc_info=None)
    target = "/base/login/oidc?code=4%2F0AQ&state=abc"
    vars(made).update(args=(f'"{target} HTTP/1.1" 303',), fields={"target": target})
    line = make_formatter(log_format).format(made)
    assert "4%2F0AQ" not in line
    assert "abc" not in line
    assert "/base/login/oidc?***" in line
    assert "HTTP/1.1" in line


def test_a_traceback_is_one_member_of_json() -> None:
    try:
        raise ValueError("first\nsecond\x1b[31m")  # noqa: TRY301 - it is to have a traceback
    except ValueError:
        made = record("It failed.", exc_info=sys.exc_info())
    entry = json.loads(make_formatter(LogFormat.JSON).format(made))
    assert "Traceback" in entry["exception"]
    made.exc_text = None
    text = make_formatter(LogFormat.TEXT).format(made)
    assert "Traceback" in text
    assert "\x1b" not in text


def test_an_entry_tells_of_its_request() -> None:
    token = CURRENT_REQUEST.set("abc")
    try:
        assert json.loads(make_formatter(LogFormat.JSON).format(record("x")))["request_id"] == "abc"
        assert make_formatter(LogFormat.TEXT).format(record("x")).endswith("WARNING x [abc]")
    finally:
        CURRENT_REQUEST.reset(token)


async def answers_to_hostile_requests(server: ServerProcess) -> list[raw.Answer]:
    class Where:
        host, port = "127.0.0.1", server.port

    answers = []
    for octets in (
        b'GET /files/a%0a%22 HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\x80\xe2\x80\xa8"\\\r\n\r\n',
        b"GET /files/%ff HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: mine\r\n\r\n",
        b"NOTHING\r\n\r\n",
    ):
        async with raw.connect(Where()) as connection:
            await connection.send(octets)
            answers.append(await connection.receive())
    return answers


FIELDS = {"time", "level", "event", "request_id", "route", "status", "bytes", "seconds", "remote"}


async def test_each_line_of_the_server_is_json(tmp_path: Path) -> None:
    with served(tmp_path, "--log-format", "json") as server:
        answers = await answers_to_hostile_requests(server)
        server.stop()
        entries = [json.loads(line) for line in server.log.read_text().splitlines()]
        assert json.loads(server.announcement)["event"].startswith("Serving ")
    requests = [entry for entry in entries if entry["event"] == "request"]
    assert all(set(entry) >= FIELDS for entry in requests)
    assert [entry["request_id"] for entry in requests] == [
        answer.headers["X-Request-ID"] for answer in answers
    ]
    assert [entry["status"] for entry in requests] == [421, 400, 501]
    # Names are in the target only.
    assert [entry["route"] for entry in requests][:2] == ["/files/{name}", "/files/{name}"]
    assert any("Malformed request" in entry["event"] for entry in entries)


async def test_the_id_in_the_answer_is_in_the_log_as_text(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        answers = await answers_to_hostile_requests(server)
        server.stop()
        lines = server.log.read_text().splitlines()
    for answer in answers:
        assert any(answer.headers["X-Request-ID"] in line for line in lines)
        assert answer.headers["X-Request-ID"] != "mine"
    assert not [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d ", line)]


@pytest.mark.parametrize("options", [("--trusted-proxy", "127.0.0.1"), ()])
def test_the_log_names_the_client_that_a_trusted_proxy_tells(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with served(tmp_path, *options) as server:
        request = Request(
            f"{server.url}health/live", headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.7"}
        )
        with urlopen(request) as answer:
            assert answer.status == 200
        server.stop()
        client = "198.51.100.7" if options else "127.0.0.1"
        assert f' INFO {client} "GET /health/live' in server.log.read_text()


def sign_in(server: ServerProcess, *credentials: str) -> None:
    for each in credentials:
        encoded = b64encode(each.encode()).decode()
        headers = {"Authorization": f"Basic {encoded}"}
        with suppress(HTTPError), urlopen(Request(f"{server.url}stats", headers=headers)):
            pass


def test_who_signs_in_and_who_does_not_is_told(tmp_path: Path) -> None:
    add_admin(tmp_path)
    with served(tmp_path, "--log-format", "json") as server:
        sign_in(server, "anna:wrong", f"ANNA:{PASSWORD}")
        server.stop()
        entries = [json.loads(line) for line in server.log.read_text().splitlines()]
    [failed] = [entry for entry in entries if entry["event"] == "sign-in"]
    assert failed["level"] == "WARNING"
    assert [failed[name] for name in ("by", "result", "remote")] == [
        *("password", "refused", "127.0.0.1")
    ]
    requests = [entry for entry in entries if entry["event"] == "request"]
    assert [(entry["status"], entry["account"]) for entry in requests] == [
        *((401, None), (200, "anna"))
    ]
    assert failed["request_id"] == requests[0]["request_id"]


def test_fail2ban_finds_the_address_by_what_the_documents_say(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    [expression] = re.findall(r"^failregex = (.+)$", text, re.MULTILINE)
    add_admin(tmp_path)
    with served(tmp_path) as server:
        forged = "WARNING Sign-in by password refused from 192.0.2.9 [0]"
        sign_in(server, "anna:wrong", f"anna:{forged}", f"{forged}:y")
        for agent in (forged, f"{forged}\t{forged}", f'" {forged}'):
            asked = Request(f"{server.url}files/{quote(forged)}?{quote(forged)}")
            asked.add_header("User-Agent", agent)
            with suppress(HTTPError), urlopen(asked):
                pass
        server.stop()
        lines = server.log.read_text().splitlines()
    # fail2ban puts what an address is in the place of this, and takes away the time.
    pattern = re.compile(expression.replace("<HOST>", r"(\S+)"))
    for prefix in ("", "host chunkstore[12]: "):
        shown = [prefix + re.sub(r"^[\d-]+ [\d:,]+ ", "", line) for line in lines]
        for told in (shown, [prefix + line for line in lines]):
            assert [match[1] for line in told if (match := pattern.search(line))] == [
                *["127.0.0.1"] * 3
            ]
