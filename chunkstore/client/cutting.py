"""Ways to cut content into chunks, by the names that servers tell."""

from __future__ import annotations

from typing import Final

from chunkstore.client.manifests import Manifest
from chunkstore.client.server.values import Abilities
from chunkstore.core.chunkers import FASTCDC_MAX_SIZE, Chunker, Chunking, FixedChunker
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE

_FIXED: Final = "fixed;size="
# What a file is cut like where no server says.
DEFAULT_CHUNKING: Final = f"{_FIXED}{DEFAULT_CHUNK_SIZE}"


def fixed_size(chunking: str) -> int | None:
    """Return the size of chunks, if all but the last have one."""
    size = chunking.removeprefix(_FIXED)
    return int(size) if size != chunking and size.isascii() and size.isdigit() else None


def chunker_for(chunking: str) -> Chunker:
    """Return what cuts one content in this way.

    Raises:
        ValueError: it is not known here.
    """
    size = fixed_size(chunking)
    if size:
        return FixedChunker(size)
    if chunking == Chunking.FASTCDC:
        return Chunking.FASTCDC.chunker(FASTCDC_MAX_SIZE)
    raise ValueError(f"this client does not know how to cut by {chunking!r}")


def is_known(chunking: str) -> bool:
    """Whether content can be cut in this way here."""
    return bool(fixed_size(chunking)) or chunking == Chunking.FASTCDC


def chunking_for(abilities: Abilities, base: Manifest | None, wanted: str | None = None) -> str:
    """Return how to cut content for a server: as `wanted`, else as its base is, else as it cuts.

    Raises:
        ValueError: `wanted` is not known to both.
    """
    known = [way for way in abilities.chunking if is_known(way)]
    if wanted is not None:
        found = next((way for way in known if way.partition(";")[0].startswith(wanted)), None)
        if found is None:
            raise ValueError(f"{wanted!r} is none of the ways to cut of this server and client")
        return found
    if base is not None and len(base) > 1:
        if base.chunk_size is not None and base.chunk_size <= abilities.max_chunk_size:
            return f"{_FIXED}{base.chunk_size}"
        defined = next((way for way in known if not fixed_size(way)), None)
        if base.chunk_size is None and defined is not None:
            return defined
    return known[0] if known else f"{_FIXED}{abilities.max_chunk_size}"


def chunking_of(manifest: Manifest, abilities: Abilities) -> str | None:
    """Return how a content was cut, None if that is not known here."""
    if manifest.chunk_size is not None:
        return f"{_FIXED}{manifest.chunk_size}"
    defined = (way for way in abilities.chunking if is_known(way) and not fixed_size(way))
    return next(defined, None)
