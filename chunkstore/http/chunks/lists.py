"""Bodies that are lists of chunks: in which form they come, and how short ones are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from chunkstore.core.chunk_lists import DIGESTS, MANIFEST, PARSERS, TEXT, ListEntry
from chunkstore.core.errors import Crowded, InvalidRequest, TooLarge
from chunkstore.core.names import FileName, decode_path
from chunkstore.http.message.bodies import read_body, require_identity_coding
from chunkstore.http.message.headers import essence_of
from chunkstore.http.message.problems import UnsupportedMedia
from chunkstore.http.message.request import base_of, service_of
from chunkstore.service.memory import Reservation
from chunkstore.service.resumable.listing import ENTRY_COST
from chunkstore.service.resumable.packs import MAX_DIGESTS

_MOST_BASES: Final = 16
FORMS: Final = (DIGESTS, MANIFEST, TEXT)
# The longest entry there is: 64 digits, a space, ten digits and a line break of two characters.
_LONGEST_ENTRY: Final = 77
# A line of the longest form has 78 bytes; lines may be empty of sizes, never of digests.
_PARSED_AT_ONCE: Final = 16 * 1024
_PARSED_ENTRIES: Final = _PARSED_AT_ONCE // 32


def form_of(request: web.Request, allowed: Sequence[str] = FORMS) -> str:
    """Return the media type of the request's body, which is one of those `allowed`.

    Raises:
        UnsupportedMedia: it is another, or encoded.
    """
    require_identity_coding(request)
    form = essence_of(request)
    if form not in allowed:
        raise UnsupportedMedia(f"The Content-Type here is {' or '.join(allowed)}.")
    return form


async def read_list(request: web.Request, form: str) -> Sequence[ListEntry]:
    """Read a body that is a short list; its memory is reserved until it has come.

    Nothing is reserved after that: what is made of it may have to wait for memory.

    Raises:
        InvalidRequest: it is no list of this form. TooLarge: it has more than `MAX_DIGESTS`.
        Crowded: the client was slow while others waited for memory.
    """
    if (request.content_length or 0) > MAX_DIGESTS * _LONGEST_ENTRY:
        raise _too_large()
    memory = service_of(request).upload_memory
    parser = PARSERS[form]()
    entries: list[ListEntry] = []
    reserved: Reservation | None = None
    try:
        async for piece in read_body(request):
            if not piece and reserved is not None and reserved.wanted:
                raise Crowded
            for start in range(0, len(piece), _PARSED_AT_ONCE):
                size = (len(entries) + _PARSED_ENTRIES) * ENTRY_COST
                if reserved is None or reserved.size < size:
                    reserved = await memory.reserve(size, size, instead_of=reserved)
                entries += parser.feed(piece[start : start + _PARSED_AT_ONCE])
                _check_count(entries)
        entries += parser.finish()
        _check_count(entries)
    except ValueError as error:
        raise InvalidRequest(f"The list is malformed: {error}.") from error
    finally:
        if reserved is not None:
            reserved.release()
    return entries


def _check_count(entries: Sequence[ListEntry]) -> None:
    if len(entries) > MAX_DIGESTS:
        raise _too_large()


def _too_large() -> TooLarge:
    return TooLarge(f"A list can have {MAX_DIGESTS} entries here.")


def bases_of(request: web.Request) -> Sequence[FileName]:
    """Return the files that Base names.

    Raises:
        InvalidRequest: it names more than 16, or something that is no file's path here.
    """
    base = base_of(request)
    lines = ",".join(request.headers.getall("Base", []))
    paths = [path for part in lines.split(",") if (path := part.strip(" \t"))]
    if len(paths) > _MOST_BASES:
        raise InvalidRequest(f"Base names at most {_MOST_BASES} files.")
    if any(not path.startswith(base.path) for path in paths):
        raise InvalidRequest(f"Base lists paths under {base.path}, separated by commas.")
    return [base.file(decode_path(path.removeprefix(base.path))) for path in paths]
