"""Quotas and entries of the audit log as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chunkstore.store.contract.audit import AuditEntry
from chunkstore.store.contract.quotas import Quota

Json = dict[str, Any]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def quota_to_json(quota: Quota) -> Json:
    """Return what a folder may use, and what it does."""
    return {
        "folder": f"/{quota.folder}",
        "max_size": quota.max_size,
        "max_files": quota.max_files,
        "size": quota.used.size,
        "files": quota.used.files,
    }


def format_place(entry: AuditEntry) -> str:
    """Return the place of an entry in the order of all, from which a list goes on."""
    return f"{(entry.time - EPOCH) // timedelta(microseconds=1)}-{entry.id}"


def entry_to_json(entry: AuditEntry) -> Json:
    """Return an entry of the audit log."""
    return {
        "place": format_place(entry),
        "time": entry.time.isoformat(timespec="microseconds"),
        "actor": entry.actor,
        "via": entry.via,
        "action": entry.action,
        "name": entry.name,
        "address": entry.address,
        "request": entry.request,
        "detail": entry.detail,
    }
