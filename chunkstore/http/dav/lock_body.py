"""What a LOCK asks for (RFC 4918 §14.11), and how locks are told of (§14.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chunkstore.core.dav.locks import MAX_OWNER_SIZE, Lock
from chunkstore.core.errors import InvalidRequest, TooLarge
from chunkstore.http.dav.multistatus import DAV, DECLARATION, dav
from chunkstore.http.dav.xml_reading import escape_text, format_element, parse_xml

# What neon, of which davfs2 and cadaver are made, keeps of the text of an element.
_LONGEST_ROOT: Final = 255


@dataclass(frozen=True, slots=True)
class LockInfo:
    """Which lock is asked for, and the owner element that is kept with it, "" for none."""

    is_exclusive: bool
    owner: str


def parse_lock_info(body: bytes) -> LockInfo:
    """Return what a body asks for.

    Raises:
        InvalidRequest: it is none, or asks for another lock than a write lock.
        TooLarge: what it says of its owner is too long. ExternalEntities: as `parse_xml`.
    """
    root = parse_xml(body)
    scope, kind = root.find(DAV, "lockscope"), root.find(DAV, "locktype")
    if root.name != dav("lockinfo") or scope is None or kind is None:
        raise InvalidRequest("The body of LOCK is a lockinfo element of DAV:.")
    is_exclusive = scope.find(DAV, "exclusive") is not None
    if is_exclusive is (scope.find(DAV, "shared") is not None) or kind.find(DAV, "write") is None:
        raise InvalidRequest("A lock is a write lock, exclusive or shared.")
    owner = root.find(DAV, "owner")
    text = "" if owner is None else format_element(owner)
    if len(text.encode()) > MAX_OWNER_SIZE:
        raise TooLarge(f"The owner of a lock can have {MAX_OWNER_SIZE} bytes here.")
    return LockInfo(is_exclusive, text)


def format_locks(locks: Iterable[Lock], href_of: Callable[[Lock], str]) -> str:
    """Return what `lockdiscovery` has: an activelock for each."""
    now = datetime.now(UTC)
    return "".join(_format_lock(lock, href_of(lock), now) for lock in locks)


def _format_lock(lock: Lock, root: str, now: datetime) -> str:
    scope = "exclusive" if lock.is_exclusive else "shared"
    depth = "infinity" if lock.is_deep else "0"
    # Its end is by the database's clock, so what is left is about that.
    left = min(max(int((lock.expires - now).total_seconds() + 0.5), 0), lock.seconds)
    place = f"<D:lockroot><D:href>{escape_text(root)}</D:href></D:lockroot>"
    return (
        f"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope>"
        f"<D:depth>{depth}</D:depth>{lock.owner}<D:timeout>Second-{left}</D:timeout>"
        f"<D:locktoken><D:href>{escape_text(lock.token)}</D:href></D:locktoken>"
        f"{place if len(root) <= _LONGEST_ROOT else ''}</D:activelock>"
    )


def format_lock_answer(content: str) -> str:
    """Return the body of an answer to LOCK; `content` is that of `lockdiscovery`."""
    return (
        f'{DECLARATION}<D:prop xmlns:D="DAV:"><D:lockdiscovery>{content}</D:lockdiscovery></D:prop>'
    )
