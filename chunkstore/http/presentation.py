"""Files, lists and figures as JSON."""

from __future__ import annotations

from typing import Any

from chunkstore.store.base import Committed, File, Listing, Stats

Json = dict[str, Any]


def describe_file(file: File) -> Json:
    """Return what a list tells of a file."""
    return {
        "name": file.name,
        "size": file.manifest.size,
        "digest": str(file.manifest.digest),
        "media_type": file.media_type,
        "modified": file.modified.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }


def describe_committed(committed: Committed) -> Json:
    """Return what an upload came to: the file, and how much of it was not known before."""
    return {
        **describe_file(committed.file),
        "chunks": committed.file.manifest.chunk_count,
        "new_chunks": committed.new_chunks,
        "new_size": committed.new_size,
    }


def describe_listing(listing: Listing) -> Json:
    """Return one page of a list."""
    return {
        "files": [describe_file(file) for file in listing.files],
        "folders": list(listing.folders),
        "next": listing.next,
    }


def describe_stats(stats: Stats) -> Json:
    """Return what a store holds."""
    return {
        "files": stats.files,
        "contents": stats.contents,
        "chunks": stats.chunks,
        "damaged": stats.damaged,
        "logical_size": stats.logical_size,
        "unique_size": stats.unique_size,
        "stored_size": stats.stored_size,
        "ratio": _rounded(stats.ratio),
        "deduplication": _rounded(stats.deduplication),
        "compression": _rounded(stats.compression),
        "database_size": stats.database_size,
        "chunk_size": stats.chunk_size,
        "versions": stats.versions,
    }


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 3)
