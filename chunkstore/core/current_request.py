"""The request that is being answered, for what is told of it far from its handler."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

CURRENT_REQUEST: Final[ContextVar[str | None]] = ContextVar("current_request", default=None)
"""The id by which the log knows it, None outside of requests."""
