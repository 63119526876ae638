"""The client for asyncio: the functions of `chunkstore.client`, each on a thread of its own.

A call that is cancelled ends soon after, and the next one goes on from there; a session that was
given to it is stopped, and all of its other transfers with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from chunkstore.client import api
from chunkstore.client.session import Session

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _on_thread(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, Awaitable[_Result]]:
    @wraps(function)
    async def call(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        given = options.get("session")
        # On a thread, because it reads files.
        session = given if isinstance(given, Session) else await asyncio.to_thread(Session)

        def run() -> _Result:
            settings: dict[str, Any] = {**options, "session": session}
            try:
                return function(*arguments, **settings)
            finally:
                if session is not given:
                    session.close()

        running = asyncio.ensure_future(asyncio.to_thread(run))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running, asyncio.ensure_future(asyncio.to_thread(session.stop))])
            if not running.cancelled():
                # Nobody else asks how it ended.
                running.exception()
            raise

    return call


push = _on_thread(api.push)
push_folder = _on_thread(api.push_folder)
pull = _on_thread(api.pull)
pull_folder = _on_thread(api.pull_folder)
cat = _on_thread(api.cat)
compare = _on_thread(api.compare)
