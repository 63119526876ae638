"""Commands on what is kept beside accounts: quotas, and the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from chunkstore.core.errors import InvalidRequest
from chunkstore.service.access.arguments import Arguments, Command, Json, parse_folder
from chunkstore.service.access.documents import (
    EPOCH,
    entry_to_json,
    format_place,
    quota_to_json,
)
from chunkstore.service.access.people import People
from chunkstore.store.contract.audit import AuditFilter, AuditLog
from chunkstore.store.contract.quotas import Quotas, check_limits

MOST_ENTRIES: Final = 1000


async def set_quota(people: People, arguments: Arguments) -> Json:
    """Set the quota of a folder: `size` in bytes and `files`, None for any."""
    folder = parse_folder(arguments["folder"])
    size, files = arguments["size"], arguments["files"]
    try:
        check_limits(size, files)
    except (TypeError, ValueError) as error:
        raise InvalidRequest("A quota has a size, a number of files, or both.") from error
    return quota_to_json(await _quotas(people).set(folder, size, files))


async def remove_quota(people: People, arguments: Arguments) -> Json:
    """Remove the quota of a folder."""
    await _quotas(people).remove(parse_folder(arguments["folder"]))
    return {}


async def list_quotas(people: People, _: Arguments) -> Json:
    """List the quotas, by folder."""
    return [quota_to_json(quota) for quota in await _quotas(people).list()]


async def list_audit(people: People, arguments: Arguments) -> Json:
    """Return a page of the audit log: `entries` in order, and `after` which to go on, or None."""
    wanted = AuditFilter(
        since=_parse_time(arguments.get("since")),
        until=_parse_time(arguments.get("until")),
        actor=_text(arguments, "actor"),
        action=_text(arguments, "action"),
        name=_text(arguments, "name") or "",
    )
    most = min(int(arguments.get("most") or MOST_ENTRIES), MOST_ENTRIES)
    if most < 1:
        raise InvalidRequest("A page has one entry or more.")
    found = await _log(people).list(wanted, _parse_place(arguments.get("after")), most)
    after = format_place(found[-1]) if len(found) == most else None
    return {"entries": [entry_to_json(entry) for entry in found], "after": after}


def _text(arguments: Arguments, field: str) -> str | None:
    text: str | None = arguments.get(field)
    if text is not None and "\0" in text:
        # PostgreSQL takes no such text.
        raise InvalidRequest(f"No {field} in the audit log has a null character.")
    return text


def _parse_place(text: str | None) -> tuple[datetime, int] | None:
    if text is None:
        return None
    try:
        time, entry_id = map(int, text.split("-"))
        return EPOCH + timedelta(microseconds=time), entry_id & ((1 << 63) - 1)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{text[:100]!r} is no place in the audit log.") from error


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{text[:100]!r} is no time like 2026-11-28T23:59:59Z.") from error


def _quotas(people: People) -> Quotas:
    assert people.quotas is not None
    return people.quotas


def _log(people: People) -> AuditLog:
    assert people.audit.log is not None
    return people.audit.log


STORE_COMMANDS: Final[Mapping[str, Command]] = {
    "quota set": set_quota,
    "quota remove": remove_quota,
    "quota ls": list_quotas,
    "audit": list_audit,
}
