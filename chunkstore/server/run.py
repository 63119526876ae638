"""Running one command of the command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from chunkstore.core.errors import ChunkstoreError, StoreUnusable
from chunkstore.store.open import redact_password

T = TypeVar("T")


def run(command: Coroutine[Any, Any, T], db: str) -> T:
    """Run a command on the store at `db` to its end; an error becomes one line and exit status 1.

    Raises:
        BrokenPipeError: whoever read the output has gone away.
    """
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(command)
    except StoreUnusable as error:
        fail(f"cannot open {redact_password(db)}: {error}")
    except ChunkstoreError as error:
        fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        where = redact_password(db) if error.filename is None else error.filename
        fail(f"{where}: {error.strerror or error}.")


def fail(message: str) -> NoReturn:
    """End the program with exit status 1 and the message on one line."""
    sys.exit(f"chunkstore: {' '.join(message.splitlines())}")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop, or of asyncio where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
