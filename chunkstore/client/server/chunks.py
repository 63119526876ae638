"""Sending and fetching only what is missing: the client's side of `docs/sync.md`."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Generator, Sequence
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from chunkstore.client.credentials import origin_of
from chunkstore.client.errors import Mismatch, Missing, Refused, ServerAway, UploadGone
from chunkstore.client.manifests import Manifest
from chunkstore.client.server.answers import error_of, offset_of, read_json, require
from chunkstore.client.server.conditions import ANYTHING, Condition, digest_in, etag_of
from chunkstore.client.server.files import read_written
from chunkstore.client.server.values import (
    Abilities,
    RemoteFile,
    UploadState,
    Written,
    file_from_headers,
)
from chunkstore.client.transport import Answer, Body, Transport
from chunkstore.core.chunk_lists import DIGESTS, MANIFEST
from chunkstore.core.digest import Digest
from chunkstore.core.names import encode_path
from chunkstore.core.packs import PACK, PackParser, Record

_PROTOCOL: Final = 1
_HASH: Final = "blake3"
_UPLOADS: Final = "/uploads/"
# The draft of resumable uploads, section 6.
_PARTIAL: Final = "application/partial-upload"
_LONGEST_WAIT_SECONDS: Final = 24 * 3600
# What a record of a pack can tell.
_MOST: Final = 2**32 - 1


class Chunks:
    """Chunks, their lists and packs on the server at `base`."""

    def __init__(self, transport: Transport, base: str) -> None:
        self._transport = transport
        self._base = base

    def find_abilities(self) -> Abilities | None:
        """Return what the server can do, None if it does not speak the protocol.

        Raises:
            ServerAway: it cannot be reached.
        """
        answer = self._transport.request("GET", f"{self._base}chunks")
        if answer.status != 200 or "json" not in answer.headers.get("Content-Type", ""):
            with answer:
                if answer.status in (408, 429) or answer.status >= 500:
                    raise error_of(answer)
                return None
        found = read_json(answer)
        try:
            if found["version"] != _PROTOCOL or found["hash"] != _HASH:
                return None
            return Abilities(
                chunking=tuple(str(way) for way in found["chunking"]),
                max_chunk_size=_positive(found["max_chunk_size"]),
                max_digests=_positive(found["max_digests"]),
                max_pack_size=_positive(found["max_pack_size"]),
                codecs=frozenset(found["codecs"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def find_manifest(
        self, name: str, known: Manifest | None = None
    ) -> tuple[RemoteFile, Manifest] | None:
        """Return a file and the list of its chunks, `known` if that is still it; None without one.

        Raises:
            Mismatch: the list is malformed.
            ClientError: the server refuses or is away.
        """
        headers = {"Accept": MANIFEST}
        if known is not None:
            headers["If-None-Match"] = etag_of(known.digest)
        answer = self._transport.request("GET", self._manifest_url(name), headers=headers)
        with answer:
            if answer.status in (404, 410):
                return None
            require(answer, 200, 304)
            digest = digest_in(answer.headers.get("ETag"))
            if answer.status == 304 and known is not None and digest in (None, known.digest):
                return _described(name, answer, known), known
            try:
                if digest is None:
                    raise ValueError("it has no digest as its ETag")  # noqa: TRY301 - one message for all
                manifest = Manifest(digest, answer.read())
            except ValueError as error:
                raise Mismatch(f"The list of chunks of {name!r} is malformed: {error}.") from error
            return _described(name, answer, manifest), manifest

    def missing(self, digests: bytes) -> bytes:
        """Return those of some digests, end to end, that the server lacks: at most `max_digests`.

        Raises:
            ClientError: the server refuses or is away.
        """
        answer = self._transport.request(
            "POST", f"{self._base}chunks/missing", body=digests, headers={"Content-Type": DIGESTS}
        )
        with require(answer, 200):
            return answer.read()

    def put_manifest(
        self,
        name: str,
        entries: bytes,
        condition: Condition = ANYTHING,
        *,
        digest: Digest | None = None,
        media_type: str | None = None,
        bases: Sequence[str] = (),
    ) -> Written | None:
        """Make a file by the list of its chunks, as in `Manifest.entries`, if all are there.

        None is returned where the server had to read long for its digest, and its head has to tell.

        Raises:
            ChunksMissing: they are not.
            ConditionFailed: the file is not as the condition says.
            ClientError: the server refuses or is away.
        """
        fields = self._fields(condition, digest, media_type, bases)
        headers = {"Content-Type": MANIFEST, **fields}
        answer = self._transport.request(
            "PUT", self._manifest_url(name), headers=headers, body=entries
        )
        if answer.status != 202:
            return read_written(answer)
        answer.close()
        self.wait(resolve(self._base, answer.headers.get("Location", "")))
        return None

    def begin(
        self,
        name: str,
        condition: Condition = ANYTHING,
        *,
        size: int | None = None,
        digest: Digest | None = None,
        media_type: str | None = None,
        bases: Sequence[str] = (),
    ) -> str:
        """Begin an upload; return its URL.

        Raises:
            ClientError: the server refuses or is away.
        """
        headers = self._fields(condition, digest, media_type, bases)
        if size is not None:
            headers["Upload-Length"] = str(size)
        answer = self._transport.request("POST", self._manifest_url(name), headers=headers)
        require(answer, 201).close()
        return resolve(self._base, answer.headers.get("Location", ""))

    def send_pack(self, upload: str, pack: bytes | Body) -> int:
        """Send chunks in the form of `core.packs`; return how many the server has received.

        Raises:
            Mismatch: one did not match its digest.
            ClientError: the upload is gone, or the server refuses or is away.
        """
        answer = self._transport.request(
            "POST", f"{upload}/chunks", body=pack, headers={"Content-Type": PACK}
        )
        return int(read_json(_of_upload(answer, 200)).get("received", 0))

    def append(self, upload: str, offset: int, entries: bytes) -> int:
        """Append to the list of an upload that has `offset` bytes; return how many it has then.

        Raises:
            ChunksMissing: a chunk is not there; what came before it was appended.
            ClientError: the upload is gone, or the server refuses or is away.
        """
        answer = self._patch(upload, offset, entries, complete=False)
        with _of_upload(answer, 204):
            reached = offset_of(answer)
        if reached is None:
            raise Refused(204, "", "The server does not tell how far the upload is.")
        return reached

    def append_bytes(self, upload: str, offset: int, body: Body) -> int:
        """Append bytes of content to an upload that has `offset`; return how many it has then.

        It is tried once: where the connection was lost, `state` tells how many have arrived.

        Raises:
            Refused: the upload has another offset.
            ClientError: the upload is gone, or the server refuses or is away.
        """
        headers = {
            "Content-Type": _PARTIAL,
            "Upload-Offset": str(offset),
            "Upload-Complete": "?0",
        }
        answer = self._transport.request("PATCH", upload, headers=headers, body=body, retries=0)
        with _of_upload(answer, 204) as ended:
            return offset_of(ended) or 0

    def complete(self, upload: str, offset: int, entries: bytes) -> Written | None:
        """Append the rest of the list, and make the file; None where its head has to tell.

        Raises:
            ChunksMissing: a chunk is not there; what came before it was appended.
            ConditionFailed: the file is not as the condition says.
            ClientError: the upload is gone, or the server refuses or is away.
        """
        answer = self._patch(upload, offset, entries, complete=True)
        if answer.status != 202:
            return read_written(_of_upload(answer, 200, 201, 204))
        answer.close()
        self.wait(upload)
        return None

    def wait(self, upload: str) -> None:
        """Wait until the server has made the file of an upload whose list is whole.

        Raises:
            ClientError: it was not made, or the server is away.
        """
        until = time.monotonic() + _LONGEST_WAIT_SECONDS
        while not self.state(upload).complete:
            if time.monotonic() > until:
                raise ServerAway("The server does not come to an end with the upload.")
            time.sleep(0.2)

    def state(self, upload: str) -> UploadState:
        """Return how far an upload is; the server may wait a while for its end.

        Raises:
            UploadGone: it is there no more.
            ClientError: it has failed, or the server refuses or is away.
        """
        answer = self._transport.request("HEAD", upload)
        with _of_upload(answer, 200, 204):
            length = answer.headers.get("Upload-Length", "")
            return UploadState(
                offset_of(answer) or 0,
                int(length) if length.isascii() and length.isdigit() else None,
                answer.headers.get("Upload-Complete", "") == "?1",
            )

    def held(self, upload: str) -> bytes:
        """Return the digests, end to end, of the chunks that an upload has been sent.

        Raises:
            ClientError: the upload is gone, or the server refuses or is away.
        """
        with _of_upload(self._transport.request("GET", f"{upload}/chunks"), 200) as answer:
            return answer.read()

    def cancel(self, upload: str) -> None:
        """Delete an upload; nothing happens if it is there no more.

        Raises:
            ClientError: the server refuses or is away.
        """
        try:
            _of_upload(self._transport.request("DELETE", upload), 204).close()
        except UploadGone:
            return

    def fetch(
        self, name: str, ranges: Sequence[tuple[int, int]], etag: str, max_chunk_size: int
    ) -> Generator[Record]:
        """Yield the chunks that have a byte in one of the ranges `start, stop` of a file.

        Each comes once, in the order of their offsets, unchecked: see `Record.to_chunk`. The caller
        closes the generator, or no other request may have its connection.

        Raises:
            ConditionFailed: the file is not the one with this ETag.
            Mismatch: it is no pack.
            ClientError: there is no file, or the server refuses or is away.
        """
        url = f"{self._base}packs/{encode_path(name)}"
        text = ",".join(f"{start}-{stop - 1}" for start, stop in ranges)
        answer = require(self._ask_for_pack(url, text, etag), 200)
        parser = PackParser(max_chunk_size)
        try:
            with answer:
                for piece in answer.pieces():
                    yield from parser.feed(piece)
            parser.finish()
        except ValueError as error:
            raise Mismatch(f"What came of {name!r} is no pack of chunks: {error}.") from error

    def _ask_for_pack(self, url: str, text: str, etag: str) -> Answer:
        headers = {"If-Match": etag}
        if len(text) < 1000:
            return self._transport.request("GET", f"{url}?ranges={text}", headers=headers)
        headers["Content-Type"] = "text/plain"
        return self._transport.request("POST", url, headers=headers, body=text.encode("ascii"))

    def _fields(
        self, condition: Condition, digest: Digest | None, media_type: str | None,
        bases: Sequence[str],
    ) -> dict[str, str]:  # fmt: skip
        headers = condition.to_headers()
        if digest is not None:
            headers["Repr-Digest"] = f"blake3=:{b64encode(digest.raw).decode('ascii')}:"
        if media_type is not None:
            headers["File-Type"] = media_type
        if bases:
            path = "/" + self._base.split("/", 3)[3]
            headers["Base"] = ", ".join(f"{path}files/{quote(base)}" for base in bases)
        return headers

    def _manifest_url(self, name: str) -> str:
        return f"{self._base}manifests/{encode_path(name)}"

    def _patch(self, upload: str, offset: int, entries: bytes, *, complete: bool) -> Answer:
        headers = {
            "Content-Type": MANIFEST,
            "Upload-Offset": str(offset),
            "Upload-Complete": "?1" if complete else "?0",
        }
        return self._transport.request("PATCH", upload, headers=headers, body=entries)


def _of_upload(answer: Answer, *statuses: int) -> Answer:
    """Return the answer about an upload, if it has one of the statuses.

    Raises:
        UploadGone: it is there no more.
        ClientError: the server refuses or is away.
    """
    try:
        return require(answer, *statuses)
    except Missing as error:
        raise UploadGone(str(error)) from error


def _positive(number: object) -> int:
    if not isinstance(number, int) or not 0 < number <= _MOST:
        raise ValueError(number)
    return number


def resolve(base: str, location: str) -> str:
    """Return the URL that Location is, which has to be of the same server.

    Raises:
        Refused: it is of another one, or there is none.
    """
    url = urljoin(base, location)
    if not location or origin_of(url) != origin_of(base):
        raise Refused(201, "", "The server does not tell where the upload is.")
    path = urlsplit(url).path
    if path.startswith(_UPLOADS):
        # A proxy that takes the base's path off may not have put it before this one.
        return f"{base.removesuffix('/')}{path}"
    return url


def _described(name: str, answer: Answer, manifest: Manifest) -> RemoteFile:
    found = file_from_headers(name, answer.headers)
    return RemoteFile(
        name, manifest.size, etag_of(manifest.digest), manifest.digest, found.modified
    )
