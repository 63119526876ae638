"""`/chunks`: what this server can do, and which chunks it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web

from chunkstore.core.chunk_lists import DIGESTS, TEXT, ListEntry, format_digests, format_text
from chunkstore.core.chunkers import offered
from chunkstore.core.compression import Codec
from chunkstore.core.digest import Digest
from chunkstore.core.packs import MAX_PACK_SIZE
from chunkstore.http.answers.documents import json_response
from chunkstore.http.chunks.lists import bases_of, form_of, read_list
from chunkstore.http.message.request import service_of
from chunkstore.http.security.allowed import known_chunks
from chunkstore.service.resumable.listing import digests_in
from chunkstore.service.resumable.packs import MAX_DIGESTS

_VERSION: Final = 1


async def get(request: web.Request) -> web.Response:
    """Answer GET and HEAD of `/chunks`."""
    service = service_of(request)
    chunk_size = service.store.contents.chunk_size
    return json_response(
        {
            "version": _VERSION,
            "hash": "blake3",
            "chunking": offered(service.chunking, chunk_size),
            "max_chunk_size": chunk_size,
            "max_digests": MAX_DIGESTS,
            "max_pack_size": MAX_PACK_SIZE,
            "codecs": [codec.name.lower() for codec in Codec],
        }
    )


async def post_missing(request: web.Request) -> web.Response:
    """Answer with those of the digests in the body that the store lacks, in the same form.

    For who may not read everything, only chunks of the files that Base names are there.
    """
    form = form_of(request, (DIGESTS, TEXT))
    # Elsewhere, because there can be many.
    digests = await asyncio.to_thread(digests_in, await read_list(request, form))
    known = known_chunks(request, bases_of(request))
    sizes = await known.find_sizes(digests) if digests else {}
    body = await asyncio.to_thread(_format_missing, form, digests, sizes)
    return web.Response(body=body, content_type=form)


def _format_missing(form: str, digests: Sequence[Digest], sizes: Mapping[Digest, int]) -> bytes:
    missing = (digest for digest in digests if digest not in sizes)
    if form == DIGESTS:
        return format_digests(missing)
    return format_text([ListEntry(digest) for digest in missing])
