"""The audit log as those use it who do something: who that is, and whether it is to be told.

Edits of names are told by the transaction that makes them (`AllowedNames`), all else by `note`,
once it is done. Reads are not told. A store without accounts tells nothing unless it is to.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from chunkstore.core.current_request import CURRENT_REQUEST
from chunkstore.core.errors import StoreError
from chunkstore.service.access.principal import Principal, Via
from chunkstore.store.contract.audit import Action, AuditLog, Who

COMMAND_LINE: Final = Who("", "command line")
"""Whoever may write to the database, or ask the server that has it open."""

_logger = logging.getLogger(__name__)


class Audited(enum.StrEnum):
    """When what is done is told: as long as the store has accounts, always, or never."""

    CLOSED = "closed"
    ALWAYS = "always"
    NEVER = "never"


class Audit:
    """What is told of a store, by `when`; `is_open` says whether it has no accounts."""

    def __init__(
        self,
        log: AuditLog | None,
        is_open: Callable[[], Awaitable[bool]],
        when: Audited = Audited.CLOSED,
    ) -> None:
        self.log = log
        self._is_open = is_open
        self._when = when

    def tells(self, *, is_open: bool) -> bool:
        """Whether it is told what is done while the store is open, or is not."""
        if self.log is None or self._when is Audited.NEVER:
            return False
        return not is_open or self._when is Audited.ALWAYS

    async def tells_now(self) -> bool:
        """Whether it is told what is done at this moment."""
        return self.tells(is_open=await self._is_open())

    async def note(self, who: Who, action: str, name: str = "", /, **detail: Any) -> None:  # noqa: ANN401 - JSON
        """Tell that somebody has done something, to `name`; no secret is in `detail`."""
        with _lacking(who, action):
            if await self.tells_now():
                await self.append(who, action, name, **detail)

    async def append(self, who: Who, action: str, name: str = "", /, **detail: Any) -> None:  # noqa: ANN401 - JSON
        """Tell it whether it is to be told by now or not."""
        if self.log is not None:
            with _lacking(who, action):
                await self.log.append(who, [Action(action, name, detail)])


@contextmanager
def _lacking(who: Who, action: str) -> Iterator[None]:
    """Log what cannot be told: what is done is done."""
    try:
        yield
    except StoreError as error:
        _logger.warning("The audit log lacks that %r has done %r: %s", who.actor, action, error)


def who_is(principal: Principal, address: str) -> Who:
    """Return who a principal is to the audit log; `via` has the id of a token or a link."""
    via = principal.via.value
    if principal.via in (Via.TOKEN, Via.LINK):
        via = f"{via} {principal.credential_id}"
    actor = "" if principal.account is None else principal.account.name
    return Who(actor, via, address, CURRENT_REQUEST.get() or "")


def who_tries(address: str, via: str) -> Who:
    """Return somebody who is not known yet."""
    return Who("", via, address, CURRENT_REQUEST.get() or "")
