"""Requests that once kept the server busy: each takes the event loop for a moment now."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import pytest

from chunkstore.core.chunk_lists import (
    DIGESTS,
    MANIFEST,
    TEXT,
    ListEntry,
    format_digests,
    format_manifest,
    format_text,
)
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Codec, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.packs import PACK, Record
from chunkstore.service.resumable.packs import MAX_DIGESTS
from tests.http import raw
from tests.http.runtime import ticking
from tests.http.test_fuzz import Address
from tests.process import ServerProcess

_MOST_BUSY_MS: Final = 50
_TIMES: Final = 3
_FORM: Final = "Content-Type: multipart/form-data; boundary=b"
_DISPOSITION: Final = b'--b\r\nContent-Disposition: form-data; name="f"'
_URLENCODED: Final = "Content-Type: application/x-www-form-urlencoded"
_MARKS: Final = "%CC%B4%CC%80%CC%A1%CC%81" * 330


def posted(*lines: str, body: bytes) -> bytes:
    return raw.request("POST", "/files/", *lines, f"Content-Length: {len(body)}", body=body)


def sent(method: str, path: str, *lines: str) -> bytes:
    return raw.request(method, path, *lines, "Content-Length: 0")


def listed(method: str, path: str, form: str, body: bytes) -> bytes:
    lines = f"Content-Type: {form}", f"Content-Length: {len(body)}"
    return raw.request(method, path, *lines, body=body)


_X: Final = Chunk.of(b"x")
_MISSING: Final = format_text([ListEntry(Digest.of(b"%d" % at)) for at in range(MAX_DIGESTS)])
# Each as large as HTTP lets it come.
ATTACKS: Final = {
    "Content-Type of parameters": sent("POST", "/files/", "Content-Type: a/b" + ";x1" * 2700),
    "Content-Type of quotes": sent("PUT", "/files/a", 'Content-Type: a/b;"' + '"' * 8100),
    "Content-Type of tus": sent("PATCH", "/uploads/a", "Content-Type: a/b;" + "a=b;" * 2000),
    "Accept in many lines": sent("GET", "/files/", *["Accept: " + "a/b;q=1," * 70] * 110),
    "Accept in a few": sent("GET", "/files/", *["Accept: " + "*/*," * 2000] * 7),
    "Accept of an error": sent("GET", "/nowhere", *["Accept: " + "*/*;" * 2000] * 7),
    "If-None-Match": sent("GET", "/files/a", *['If-None-Match: "a",' + '"b",' * 1900] * 7),
    "If-Match of commas": sent("PUT", "/files/a", "If-Match: " + "," * 8100 + "x"),
    "Range": sent("GET", "/files/a", *["Range: bytes=" + "0-0," * 2000] * 7),
    "Content-Digest": sent("PUT", "/files/a", *["Content-Digest: a" + ";b" * 4000] * 7),
    "Repr-Digest of lists": sent("PUT", "/files/a", "Repr-Digest: a=(" + "1 " * 4000 + ")"),
    "Upload-Complete": sent("PUT", "/files/a", "Upload-Complete: ?1" + ";a" * 4000),
    "Origin": sent("PUT", "/files/a", "Origin: http://" + "é." * 2700),
    "Destination": sent("COPY", "/files/a", "Destination: http://" + "é." * 2700),
    "Upload-Concat": sent(
        "POST",
        "/uploads",
        "Tus-Resumable: 1.0.0",
        "Upload-Metadata: filename YQ==",
        "Upload-Concat: final;" + "/uploads/a " * 730,
    ),
    "name of marks": sent("PUT", f"/files/{_MARKS}"),
    "prefix of marks": sent("GET", f"/files/?prefix={_MARKS}"),
    "path of slashes": sent("GET", "/" * 8000),
    "query": sent("GET", "/files/?" + "a&" * 4000),
    "semicolons in a part": posted(_FORM, body=_DISPOSITION + b";" * 7900 + b"\r\n\r\n\r\n--b--"),
    "semicolons in parts": posted(
        _FORM, body=(_DISPOSITION + b"; " * 1900 + b"\r\n\r\n\r\n") * 200 + b"--b--"
    ),
    "lines of a part's header": posted(
        _FORM, body=(_DISPOSITION + b"\r\n x" * 1000 + b"\r\n\r\n\r\n") * 100 + b"--b--"
    ),
    "preamble": posted(_FORM, body=b"a\r\n" * 300_000),
    "preamble of one line": posted(_FORM, body=b"\r" * 900_000),
    "parts": posted(_FORM, body=(_DISPOSITION + b"\r\n\r\n\r\n") * 1000 + b"--b--"),
    "content like a boundary": posted(_FORM, body=_DISPOSITION + b"\r\n\r\n" + b"\r\n--" * 200_000),
    "percent": posted(_URLENCODED, body=b"delete=" + b"%41" * 2700),
    "fields": posted(_URLENCODED, body=b"a&" * 4000),
    "digests that are missing": listed("POST", "/chunks/missing", TEXT, _MISSING),
    "digests of one chunk": listed(
        "POST", "/chunks/missing", DIGESTS, format_digests([_X.digest] * MAX_DIGESTS)
    ),
    "a file of known chunks": listed(
        "PUT", "/manifests/xs", MANIFEST, format_manifest([(_X.digest, 1)] * MAX_DIGESTS)
    ),
    "its manifest as text": sent("GET", "/manifests/xs", "Accept: text/plain"),
    "ranges of packs": listed("POST", "/packs/xs", TEXT, b"0-0,5-9\n" * (MAX_DIGESTS // 2)),
    "scattered ranges": listed(
        "POST", "/packs/xs", TEXT, b"".join(b"%d-%d\n" % (at, at) for at in range(0, 16_000, 2))
    ),
}


def attacks_on(upload: str) -> dict[str, bytes]:
    """Return those on an upload that is to take a list."""
    records = b"".join(
        Record(_X.digest, 1, Encoded(Codec.IDENTITY, b"x")).to_bytes() for _ in range(MAX_DIGESTS)
    )
    entries = format_manifest([(_X.digest, 1)] * 50_000)
    patch = raw.request(
        "PATCH", upload, f"Content-Type: {MANIFEST}", "Upload-Offset: 0",
        f"Content-Length: {len(entries)}", body=entries,
    )  # fmt: skip
    return {"records": listed("POST", f"{upload}/chunks", PACK, records), "entries": patch}


async def test_no_request_keeps_others_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ServerProcess(
        tmp_path, "--allow-host", "test", wrapper=(sys.executable, ticking.__file__)
    )
    statuses = {}
    try:
        address = Address(server.port)
        await raw.ask(address, raw.request("PUT", "/files/x", "Content-Length: 1", body=b"x"))
        upload = (await raw.ask(address, sent("POST", "/manifests/ys"), "POST")).headers["Location"]
        for name, octets in {**ATTACKS, **attacks_on(upload)}.items():
            for _ in range(_TIMES):
                try:
                    statuses[name] = (await raw.ask(address, octets)).status
                except ConnectionError:
                    # Closed, with an answer that a client which only sends does not get to see.
                    statuses[name] = 0
    finally:
        assert server.stop() == 0
    gaps = [gap for gap, _ in json.loads((tmp_path / ticking.GAPS).read_text())]
    with capsys.disabled():
        print(f"\nlongest gaps {[round(gap, 1) for gap in gaps[:5]]} ms")  # noqa: T201 - measured
    assert {name: status for name, status in statuses.items() if status >= 500} == {}
    assert 421 not in statuses.values()
    assert gaps[0] < _MOST_BUSY_MS
    assert "Warning" not in server.log.read_text()
