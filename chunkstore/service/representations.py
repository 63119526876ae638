"""JSON of files, listings and statistics, for every protocol and the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from chunkstore.core.names import FileName
from chunkstore.core.periodic import Ended, Periodic
from chunkstore.core.timestamps import to_rfc3339_in_full
from chunkstore.service.access.documents import quota_to_json
from chunkstore.store.contract.quotas import Quota
from chunkstore.store.contract.reports import ScrubReport, Stats
from chunkstore.store.contract.values import Applied, Committed, File, Listing

Json = dict[str, Any]


def file_to_json(file: File) -> Json:
    """Return a file as lists show it."""
    return {
        "name": file.name,
        "size": file.size,
        "digest": file.etag,
        "media_type": file.media_type,
        "modified": to_rfc3339_in_full(file.modified_us),
    }


def committed_to_json(committed: Committed, *, tells_new: bool) -> Json:
    """Return the result of a `Put`: the file, and how much was new if that is to be told."""
    described = {
        **file_to_json(committed.file),
        "chunks": committed.file.chunk_count,
    }
    if tells_new:
        described["new_chunks"] = committed.new_chunks
        described["new_size"] = committed.new_size
    return described


def applied_to_json(applied: Applied, *, tells_new: bool) -> Json:
    """Return what an edit of a batch came to."""
    members: Json = {}
    if isinstance(applied, Committed):
        members = committed_to_json(applied, tells_new=tells_new)
    return {**members, "replaced": applied.replaced}


def listing_to_json(listing: Listing, may_read: Callable[[FileName], bool] | None = None) -> Json:
    """Return one page of a listing; the digests of files that one may not read are left out."""
    files = [file_to_json(file) for file in listing.files]
    if may_read is not None:
        for file in files:
            if not may_read(file["name"]):
                file["digest"] = None
    return {
        "files": files,
        "folders": list(listing.folders),
        "next": listing.next,
    }


def stats_to_json(stats: Stats, quotas: Sequence[Quota]) -> Json:
    """Return what a store holds, and what of its quotas is used."""
    return {
        "files": stats.files,
        "contents": stats.contents,
        "chunks": stats.chunks,
        "damaged": stats.damaged,
        "logical_size": stats.logical_size,
        "unique_size": stats.unique_size,
        "stored_size": stats.stored_size,
        "reclaimable_size": stats.reclaimable_size,
        "ratio": _rounded(stats.ratio),
        "deduplication": _rounded(stats.deduplication),
        "compression": _rounded(stats.compression),
        "database_size": stats.database_size,
        "chunk_size": stats.chunk_size,
        "scrub": scrub_to_json(stats.scrub),
        "quotas": [quota_to_json(quota) for quota in quotas],
        "versions": stats.versions,
    }


def scrub_to_json(report: ScrubReport | None) -> Json | None:
    """Return the report of the last scrub, None if there was none."""
    if report is None:
        return None
    return {
        "started": _format_time(report.started),
        "finished": _format_time(report.finished),
        "chunks": report.chunks,
        "size": report.size,
        "damaged": report.damaged,
    }


def tasks_to_json(tasks: Sequence[Periodic]) -> Json:
    """Return when each background task last ended and how, by the task's name."""
    return {task.name: _ended_to_json(task.last) for task in tasks}


def _ended_to_json(last: Ended | None) -> Json:
    if last is None:
        return {"last": None, "ended": None}
    ended = "ok" if last.error is None else f"failed: {last.error}"
    return {"last": _format_time(last.time), "ended": ended}


def _format_time(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 3)
