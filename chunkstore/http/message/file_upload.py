"""A request that uploads a file: what its headers say, and how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from aiohttp import web

from chunkstore.core.conditional import Conditions, format_etag, format_http_date
from chunkstore.core.digest import ContentCheck
from chunkstore.core.names import FileName
from chunkstore.core.unix_time import parse_unix_time
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.bodies import require_identity_coding, require_whole_put
from chunkstore.http.message.headers import (
    parse_checksum,
    parse_digests,
    parse_media_type,
)
from chunkstore.http.message.request import conditions_of, file_name_of
from chunkstore.service.representations import Json
from chunkstore.store.contract.values import Committed


@dataclass(frozen=True, slots=True)
class FileUpload:
    """The name and media type of the file, and the conditions under which it is stored.

    `content_digests` are of this request's body, `whole_digests` of the whole file, which may come
    in several requests (RFC 9530 §2, §3); both by `hashlib`'s name of the algorithm. `modified` is
    the time that the file is to have, None for that of the request.
    """

    name: FileName
    media_type: str
    conditions: Conditions
    content_digests: Mapping[str, bytes]
    whole_digests: Mapping[str, bytes]
    modified: datetime | None = None

    def content_checks(self) -> list[ContentCheck]:
        """Return the checks of this request's body."""
        return [ContentCheck(*digest) for digest in self.content_digests.items()]

    def whole_checks(self) -> list[ContentCheck]:
        """Return the checks of the whole file."""
        return [ContentCheck(*digest) for digest in self.whole_digests.items()]


def read_file_upload(request: web.Request) -> FileUpload:
    """Read the headers of a request that uploads the file its URL names.

    Raises:
        InvalidRequest: they are malformed, or the body is only a part of the file, or encoded.
    """
    name = file_name_of(request)
    require_whole_put(request)
    require_identity_coding(request)
    return FileUpload(
        name=name,
        media_type=parse_media_type(request.headers.get("Content-Type"), name),
        conditions=conditions_of(request),
        content_digests=parse_digests(request.headers.getall("Content-Digest", [])),
        whole_digests={
            **parse_digests(request.headers.getall("Repr-Digest", [])),
            **parse_checksum(request.headers.get("OC-Checksum", "")),
        },
        modified=modified_of(request),
    )


def modified_of(request: web.Request) -> datetime | None:
    """Return the time that a file is to have, None where the request says none.

    Programs that keep files alike send it, rclone, lftp, gvfs and ownCloud among them.
    """
    return parse_unix_time(request.headers.get("X-OC-Mtime", ""))


def committed_response(committed: Committed, described: Json) -> web.Response:
    """Return the answer to a request whose file has been stored, as it is described."""
    validators = committed.file.validators
    return json_response(
        described,
        status=HTTPStatus.OK if committed.replaced else HTTPStatus.CREATED,
        headers={
            "ETag": format_etag(validators.etag),
            "Last-Modified": format_http_date(validators.modified),
        },
    )
