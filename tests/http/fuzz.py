"""Requests made of chance: each byte that the server reads may be any, or repeat what parsers mind.

Everything comes from one `random.Random`, so that a run can be repeated by its seed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final
from urllib.parse import quote_from_bytes

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
from chunkstore.core.compression import DEFAULT_COMPRESSION, NO_COMPRESSION
from chunkstore.core.packs import PACK, Record
from chunkstore.http.message.fields import MOST_BYTES
from tests.http import raw

_LINE: Final = 8000
_FORM: Final = b"multipart/form-data; boundary="
_BOUNDARY: Final = b"----WebKitFormBoundary"
# How often something is done that seldom gets far.
_SOME: Final = 0.3
_SELDOM: Final = 0.03
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})
_METHODS: Final = (
    *("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "COPY", "MOVE", "MKCOL"),
    *("PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "TRACE", "CONNECT", "FROB"),
)
_PATHS: Final = (
    *("/", "/files", "/files/", "/files/a", "/files/a/", "/files/b/c", "/uploads", "/uploads/"),
    *("/uploads/none", "/stats", "/health/ready", "/static/style.css", "/nowhere", "*"),
    *("/chunks", "/chunks/missing", "/manifests/a", "/manifests/b/c", "/uploads/none/chunks"),
    *("/packs/a", "/packs/a?ranges=0-", "/packs/b/c?ranges=1-2,5-5"),
    *("/nx/v1/cache/a", "/dav", "/dav/", "/dav/a", "/dav/a/", "/dav/b/c", "/dav/none"),
)
# What the grammars of fields are made of, and bytes that are in none.
_ATOMS: Final = (
    *(b"a", b"1", b"0", b'"', b"'", b"\\", b";", b",", b"=", b" ", b"\t", b":", b"/", b"?", b"?1"),
    *(b"(", b")", b"@", b"%", b"%4", b"%41", b"%ff", b"%00", b"*", b"-", b".", b"..", b"W/"),
    *(b"a=", b"q=0.1", b"\xc3\xa9", b"\xcc\x81\xcc\x96", b"\xff", b"\xed\xa0\x80", b"\x01"),
)  # fmt: skip
_VALID: Final = {
    "Base": b"/files/a, /files/b/c",
    "Accept": b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "Content-Digest": b"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    "Content-Type": b"application/offset+octet-stream",
    "Depth": b"infinity",
    "Destination": b"/files/b",
    "Brief": b"t",
    "Expect": b"100-continue",
    "File-Type": b"text/plain",
    "If": b'</dav/a> (<lock:a> ["b"]) (Not <DAV:no-lock>)',
    "If-Match": b'"a", W/"b"',
    "If-Modified-Since": b"Sat, 28 Nov 2026 10:00:00 GMT",
    "If-None-Match": b"*",
    "If-Range": b'"a"',
    "Lock-Token": b"<lock:a>",
    "OC-Checksum": b"SHA1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "Origin": b"http://localhost",
    "Prefer": b"return=minimal",
    "Overwrite": b"F",
    "Range": b"bytes=0-1,3-",
    "Sec-Fetch-Site": b"same-origin",
    "Timeout": b"Infinite, Second-60",
    "Tus-Resumable": b"1.0.0",
    "Upload-Checksum": b"sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    "Upload-Complete": b"?1",
    "Upload-Concat": b"final;/uploads/a /uploads/b",
    "Upload-Defer-Length": b"1",
    "Upload-Draft-Interop-Version": b"6",
    "Upload-Length": b"3",
    "Upload-Metadata": b"filename YQ==,filetype dGV4dC9wbGFpbg==",
    "Upload-Offset": b"0",
    "X-HTTP-Method-Override": b"PATCH",
    "X-OC-Mtime": b"1000000000.5",
}
# Bodies of WebDAV, by the method that takes them.
_XML: Final = {
    "PROPFIND": (
        b'<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/><a xmlns="urn:x"/></D:prop></D:propfind>',
        b'<propfind xmlns="DAV:"><allprop/><include><x/></include></propfind>',
    ),
    "PROPPATCH": (
        b'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>'
        b'<D:creationdate>2001-02-03T04:05:06Z</D:creationdate><x xml:lang="de">&#65536;</x>'
        b"<D:lastmodified>1</D:lastmodified></D:prop></D:set><D:remove><D:prop><y/></D:prop>"
        b"</D:remove></D:propertyupdate>",
    ),
    "LOCK": (
        b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/>'
        b"</D:locktype><D:owner>me</D:owner></D:lockinfo>",
    ),
}


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes of a request, and the method that its answer is read by."""

    method: str
    octets: bytes


class Fuzz:
    """A source of requests, the same for the same `random`."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._uploads = ["/uploads/none"]
        self._kinds: Sequence[Callable[[], Request]] = (
            self.file,
            self.any_fields,
            self.any_fields,
            self.one_long_field,
            self.long_head,
            self.any_target,
            self.any_list,
            self.form,
            self.form,
            self.urlencoded,
            self.xml,
            self.xml,
            self.upload,
            self.upload_of_a_list,
            self.chunk_list,
            self.chunk_list,
            self.pack,
            self.pack,
            self.ranges,
            self.tiny_chunks,
            self.nonsense,
        )

    def request(self) -> Request:
        """Return the next request."""
        return self._random.choice(self._kinds)()

    def learn(self, location: str) -> None:
        """Have later requests go to an upload that there is."""
        self._uploads = [*self._uploads[-3:], location]

    def breaks_off(self) -> bool:
        """Whether the client goes away in the middle of a request."""
        return self._random.random() < _SELDOM

    def octets(self, most: int) -> bytes:
        """Return bytes for the value of a field: any, or a few atoms again and again."""
        size = self._size(most)
        if self._random.random() < _SOME:
            octets = self._random.randbytes(size)
        else:
            atoms = b"".join(self._random.choices(_ATOMS, k=self._random.randint(1, 4)))
            octets = atoms * (size // len(atoms) + 1)
        begin = self._random.choice((b"", b"", b"a/b", b'"', b"bytes=", b"http://", b"a=", b"a "))
        octets = (begin + octets)[:most].translate(None, b"\r\n\0")
        # Else a parser of HTTP refuses the most before anything else sees it.
        return octets if self._random.random() < _SOME else octets.translate(None, _CONTROLS)

    def file(self) -> Request:
        """A file as there should be one, for other requests to find."""
        path = self._random.choice(("/files/a", "/files/b/c"))
        return self._send("PUT", path, (), b"x" * self._size(9000))

    def any_fields(self) -> Request:
        """A few fields, some as they should be, others anything, anywhere."""
        return self._send(self._method(), self._path(), self._fields(), self._content())

    def one_long_field(self) -> Request:
        """One field as long as a line may be, or longer by several lines."""
        field = self._random.choice(sorted(MOST_BYTES))
        count = self._random.choice((1, 1, 7))
        lines = [self._line(field, self.octets(_LINE)) for _ in range(count)]
        return self._send(self._method(), self._path(), lines, self._content())

    def long_head(self) -> Request:
        """Lines of one field that have 64 KiB together, or more."""
        field = self._random.choice(("Accept", "If-None-Match", "Range", "Cookie", "X-Any"))
        size, count = self._random.choice((500, 580, _LINE)), self._random.choice((9, 110))
        lines = [self._line(field, self.octets(size)) for _ in range(count)]
        return self._send("GET", "/files/a", lines)

    def any_target(self) -> Request:
        """A path of which any byte may be encoded in percent, or not."""
        root = self._random.choice(("/files/", "/uploads/", "/static/", "/", ""))
        path = self._quoted(2500, "/", "/%?&=#;")
        return self._send(self._method(), root + path, self._fields(), self._content())

    def any_list(self) -> Request:
        """The query of a list."""
        keys = self._random.choices(("prefix", "after", "delimiter", "limit", "a", ""), k=3)
        query = "&".join(f"{key}={self._quoted(900, '', '&=%')}" for key in keys)
        return self._send("GET", f"/files/?{query}", self._fields())

    def form(self) -> Request:
        """A form whose parts have any heads, contents and boundaries."""
        count = self._random.choice((1, 2, 3, 8, 1001))
        parts = [self._part(small=count > 8) for _ in range(count)]
        body = b"".join([*parts, b"--", _BOUNDARY, b"--\r\n"])
        around = self._random.choice((b"a\r\n", b"\r", b"--", b"-" * 60)) * 5000
        body = self._random.choice((body, body, body, around + body, body + around))
        if self._random.random() < _SOME:
            body = body[: self._random.randint(0, len(body))]
        boundary = self._random.choice((_BOUNDARY, _BOUNDARY, self.octets(80)))
        return self._send("POST", "/files/", [b"Content-Type: " + _FORM + boundary], body)

    def urlencoded(self) -> Request:
        """The form of a button."""
        value = self._quoted(2700, "", "&=%;+")
        body = self._random.choice((f"delete={value}", value, "delete=a&" * 900)).encode()
        lines = ["Content-Type: application/x-www-form-urlencoded"]
        return self._send("POST", "/files/", lines, body)

    def xml(self) -> Request:
        """A request of WebDAV, its XML whole or not."""
        method = self._random.choice(sorted(_XML))
        body = self._perhaps_changed(self._random.choice(_XML[method]))
        # What is locked would be written no more.
        paths = ("/dav/a", "/dav/b/c", "/dav/", "/dav/none", "/dav/b")
        path = "/dav/locked" if method == "LOCK" else self._random.choice(paths)
        fields = [self._line(field, self._value(field)) for field in ("Depth", "If", "Timeout")]
        lines = self._random.sample(fields, k=self._random.randint(0, 2))
        return self._send(method, path, lines, body)

    def upload(self) -> Request:
        """An upload by tus, its metadata whole or not."""
        keys = self._random.sample(("filename", "folder", "filetype", "a"), k=2)
        pairs = [key.encode() + b" " + b64encode(self.octets(1000)) for key in keys]
        if self._random.random() < 1 - _SOME:
            pairs = [b"filename YQ==", self._changed(b"folder Yg==")]
        length = self._random.choice((b"0", b"3", b"9" * 18, self.octets(40)))
        lines = [
            b"Tus-Resumable: 1.0.0",
            b"Upload-Metadata: " + b",".join(pairs),
            b"Upload-Length: " + length,
        ]
        if self._random.random() < _SOME:
            lines += self._fields()
        return self._send("POST", "/uploads", lines)

    def upload_of_a_list(self) -> Request:
        """An upload that is to take a list."""
        path = self._random.choice(("/manifests/a", "/manifests/d"))
        return self._send("POST", path, self._fields())

    def chunk_list(self) -> Request:
        """A list of chunks, some of which are there, in any form and for whatever takes one."""
        takers = [("PUT", "/manifests/a"), ("PUT", "/manifests/d"), ("POST", "/chunks/missing")]
        takers += [("PATCH", upload) for upload in self._uploads]
        method, path = self._random.choice(takers)
        entries = [(chunk.digest, chunk.size) for chunk in self._chunks()]
        forms = {
            DIGESTS: format_digests(digest for digest, _ in entries),
            MANIFEST: format_manifest(entries),
            TEXT: format_text([ListEntry(*entry) for entry in entries]),
        }
        form, body = self._random.choice(list(forms.items()))
        complete = self._random.choice(("?0", "?1"))
        lines = [f"Content-Type: {form}", "Upload-Offset: 0", f"Upload-Complete: {complete}"]
        return self._send(method, path, lines, self._perhaps_changed(body))

    def pack(self) -> Request:
        """A pack of chunks, whole or not, or anything that is called one."""
        codec = self._random.choice((NO_COMPRESSION, DEFAULT_COMPRESSION))
        records = [
            Record(one.digest, one.size, codec.encode(one.content)).to_bytes()
            for one in self._chunks()
        ]
        form = self._random.choice((PACK, PACK, "application/octet-stream"))
        body = self._perhaps_changed(b"".join(records))
        path = f"{self._random.choice(self._uploads)}/chunks"
        return self._send("POST", path, [f"Content-Type: {form}"], body)

    def ranges(self) -> Request:
        """Ranges of a pack."""
        count = self._random.choice((1, 2, 300))
        bounds = [sorted(self._random.choices(range(9000), k=2)) for _ in range(count)]
        text = ",".join(f"{start}-{stop}" for start, stop in bounds)
        body = self._perhaps_changed(text.encode())
        if self._random.random() < _SOME:
            query = quote_from_bytes(body[:3000])
            return self._send("GET", f"/packs/a?ranges={query}", self._fields())
        return self._send("POST", "/packs/a", [f"Content-Type: {TEXT}"], body)

    def _chunks(self) -> Sequence[Chunk]:
        """Return a few chunks, some of files that there are."""
        sizes = self._random.choices((1, 2, 100, 4096, 8999), k=self._random.choice((0, 1, 3, 40)))
        return [Chunk.of(self._random.choice((b"x", b"y")) * size) for size in sizes]

    def _perhaps_changed(self, octets: bytes) -> bytes:
        return self._changed(octets) if self._random.random() < _SOME else octets

    def tiny_chunks(self) -> Request:
        """A body in chunks of one byte, maybe with trailers (RFC 9112 §7.1)."""
        method, path = self._random.choice((("PUT", "/files/tiny"), ("POST", "/files/")))
        lines = [b"Content-Type: " + _FORM + _BOUNDARY, b"Transfer-Encoding: chunked"]
        head = raw.request(method, path, *lines, host="localhost")
        count = self._random.choice((1, 100, 2000))
        trailer = self._line("X-Any", self.octets(_LINE)) + b"\r\n"
        end = b"0\r\n" + trailer * self._random.choice((0, 0, 1, 9)) + b"\r\n"
        return Request(method, head + raw.chunked(*[b"x"] * count) + end)

    def nonsense(self) -> Request:
        """What may be no request at all."""
        line = b"GET " + self.octets(9000) + b" HTTP/1.1"
        octets = self._random.choice((self._random.randbytes(9000), line))
        return Request("GET", octets + b"\r\n\r\n")

    def _send(
        self, method: str, path: str, lines: Sequence[str | bytes], body: bytes = b""
    ) -> Request:
        length = f"Content-Length: {len(body)}"
        octets = raw.request(method, path, *lines, length, body=body, host="localhost")
        return Request(method, octets)

    def _method(self) -> str:
        return self._random.choice(_METHODS)

    def _path(self) -> str:
        return self._random.choice(_PATHS)

    def _size(self, most: int) -> int:
        """Return a size of which each power of two is as probable."""
        return min(most, int(2 ** (self._random.random() * 13)))

    def _quoted(self, most: int, *safe: str) -> str:
        return quote_from_bytes(self.octets(most), safe=self._random.choice(safe))

    def _fields(self) -> list[bytes]:
        fields = self._random.sample(sorted(MOST_BYTES), k=self._random.randint(0, 5))
        return [self._line(field, self._value(field)) for field in fields]

    def _value(self, field: str) -> bytes:
        valid = _VALID.get(field, b"a")
        chance = self._random.random()
        if chance < 1 - _SOME:
            return valid
        if chance < 1 - _SOME / 2:
            return self._changed(valid)
        return self.octets(self._random.choice((30, MOST_BYTES[field] + 1)))

    def _changed(self, octets: bytes) -> bytes:
        """Return the bytes with something else in some place."""
        start = self._random.randint(0, len(octets))
        stop = self._random.randint(start, len(octets))
        more = b"".join(self._random.choices(_ATOMS, k=self._random.randint(0, 3)))
        return octets[:start] + more + octets[stop:]

    def _line(self, field: str, value: bytes) -> bytes:
        return field.encode() + b": " + value

    def _content(self) -> bytes:
        return self._random.choice((b"", b"abc", self.octets(300)))

    def _part(self, *, small: bool) -> bytes:
        most = 30 if small else 5000
        disposition = self._random.choice(
            (b'; name="a"; filename="', b"; name=", b";", b"; filename*=")
        )
        lines = [
            b"--" + _BOUNDARY,
            b"Content-Disposition: form-data" + disposition + self.octets(most) + b'"',
            *(b"Content-Type: " + self.octets(most) for _ in range(self._random.randint(0, 1))),
            *(self.octets(most) for _ in range(self._random.choice((0, 0, 0, 0, 1, 9)))),
        ]
        if small or self._random.random() < 1 - _SOME:
            filename = self._random.choice((b"", b"a", self.octets(30)))
            lines[1] = b'Content-Disposition: form-data; name="a"; filename="' + filename + b'"'
            del lines[2:]
        return b"\r\n".join([*lines, b"", self._random.randbytes(self._size(most)), b""])
