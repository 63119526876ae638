"""Running a command of the command line to its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from chunkstore.core.errors import ChunkstoreError, StoreUnusable
from chunkstore.store.open import redact_password

T = TypeVar("T")


def run(command: Coroutine[Any, Any, T], db: str) -> T:
    """Run a command to its end; an error becomes one line and exit status 1."""
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(command)
    except StoreUnusable as error:
        sys.exit(f"chunkstore: cannot open {redact_password(db)}: {error}")
    except ChunkstoreError as error:
        sys.exit(f"chunkstore: {error}")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop, and asyncio's own where there is no uvloop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
