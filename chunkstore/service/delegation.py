"""Commands of people who have signed in, as far as `command_needs` lets them.

The command line may do everything; over HTTP this is the only way to the same commands.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from chunkstore.core.errors import Forbidden, InvalidRequest, NotFound, PasswordNeeded
from chunkstore.service.access.arguments import Arguments, Json
from chunkstore.service.access.audit import who_is
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import Principal, Via
from chunkstore.service.command_needs import NEEDS, Asker, Kinds, Need

# No number that is meant is larger, and no database keeps larger ones.
_MOST: Final = 2**53


class Delegation:
    """The commands of a store, as those who have signed in may run them."""

    def __init__(self, people: People) -> None:
        self._people = people
        # What one changes, the next is judged by: side by side, two that are harmless could add up.
        self._one_at_a_time = asyncio.Lock()

    async def run(
        self, principal: Principal, name: str, arguments: Arguments, address: str = ""
    ) -> Json:
        """Run a command for somebody, who asks from `address`; return its result.

        Raises:
            NotFound: there is no such command, or nothing there that they may know of.
            Forbidden, SignInFailed: they may not, or not any more.
            PasswordNeeded: they have to give the password again.
            ChunkstoreError: it is not possible.
        """
        need = NEEDS.get(name)
        if need is None:
            raise NotFound(f"There is no command {name!r} here.")
        _check(need, arguments)
        async with self._one_at_a_time if need.changes else nullcontext():
            asker = await self._ask_anew(principal, changes=need.changes)
            if need.session or need.recent:
                _require_session(asker, recent=need.recent)
            # With very many rules it takes its time.
            judged = await asyncio.to_thread(need.judge, asker, arguments)
            result = await run_command(self._people, name, judged, who_is(principal, address))
        return await asyncio.to_thread(need.show, asker, result)

    async def _ask_anew(self, principal: Principal, *, changes: bool) -> Asker:
        directory = self._people.directory
        snapshot = await (directory.fresh() if changes else directory.current())
        if snapshot.is_open:
            raise Forbidden(
                "The store is open to everybody, until `chunkstore user add` closes it."
            )
        access = await self._people.access_now(principal)
        return Asker(replace(principal, access=access), snapshot, self._people.clock.now())


def _check(need: Need, arguments: Arguments) -> None:
    """Refuse arguments that are missing, unknown or of another kind."""
    known = {**need.arguments, **need.optional}
    wrong = [name for name in arguments if name not in known]
    wrong += [name for name in need.arguments if not _is_of(arguments.get(name), known[name])]
    wrong += [
        name
        for name in need.optional
        if name in arguments and not _is_of(arguments[name], known[name])
    ]
    if wrong:
        raise InvalidRequest(
            f"The command takes {', '.join(known) or 'nothing'}; wrong is {wrong[0]!r}."
        )


def _is_of(value: object, kinds: Kinds) -> bool:
    if kinds is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    # A truth value is a number to Python, and to nobody else.
    if isinstance(value, bool):
        return kinds is bool
    return isinstance(value, kinds) and not (isinstance(value, int) and value > _MOST)


def _require_session(asker: Asker, *, recent: bool) -> None:
    if asker.principal.via is not Via.SESSION:
        raise Forbidden("That can only be done by somebody who has signed in on the page.")
    if recent and not asker.principal.may_change_credentials(asker.now):
        raise PasswordNeeded
