"""Ways to cut content into chunks, by the names that servers tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chunkstore.client.manifests import Manifest
from chunkstore.client.server.values import Abilities
from chunkstore.core.chunkers import Chunker, Chunking, FixedChunker, recognise
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE

_FIXED: Final = f"{Chunking.FIXED};size="
# What a file is cut like where no server says.
DEFAULT_CHUNKING: Final = f"{_FIXED}{DEFAULT_CHUNK_SIZE}"


def fixed_size(chunking: str) -> int | None:
    """Return the size of chunks, if all but the last have one."""
    size = chunking.removeprefix(_FIXED)
    return int(size) if size != chunking and size.isascii() and size.isdigit() else None


def is_known(chunking: str) -> bool:
    """Whether content can be cut in this way here."""
    return bool(fixed_size(chunking)) or chunking == Chunking.FASTCDC


def chunker_for(chunking: str) -> Chunker:
    """Return what cuts one content in this way.

    Raises:
        ValueError: it is not known here.
    """
    size = fixed_size(chunking)
    if size:
        return FixedChunker(size)
    if chunking != Chunking.FASTCDC:
        raise ValueError(f"this client does not know how to cut by {chunking!r}")
    return Chunking.FASTCDC.chunker(DEFAULT_CHUNK_SIZE)


def chunking_for(
    abilities: Abilities, base: Manifest | None, wanted: Chunking | None,
    first: Callable[[], bytes],
) -> str:  # fmt: skip
    """Return how to cut content for a server: as `wanted`, else as its base is, else as it cuts.

    `AUTO` is as the base is, else what `first`, the first bytes of the content, suggests.

    Raises:
        ValueError: `wanted` is not known to the server.
    """
    known = [way for way in abilities.chunking if is_known(way)]
    if wanted in (Chunking.FIXED, Chunking.FASTCDC):
        return _way(known, wanted)
    if base is not None and len(base) > 1 and (way := chunking_of(base, abilities)) is not None:
        return way
    if wanted is Chunking.AUTO and recognise(first()) is Chunking.FASTCDC:
        return next((way for way in known if not fixed_size(way)), known[0])
    return known[0] if known else f"{_FIXED}{abilities.max_chunk_size}"


def chunking_of(manifest: Manifest, abilities: Abilities) -> str | None:
    """Return how a content was cut, None if that is not known here."""
    size = manifest.chunk_size
    if size is not None:
        return f"{_FIXED}{size}" if size <= abilities.max_chunk_size else None
    defined = (way for way in abilities.chunking if is_known(way) and not fixed_size(way))
    return next(defined, None)


def _way(known: list[str], wanted: Chunking) -> str:
    is_fixed = wanted is Chunking.FIXED
    for way in known:
        if bool(fixed_size(way)) == is_fixed:
            return way
    raise ValueError(f"the server does not know how to cut by {wanted.value!r}")
