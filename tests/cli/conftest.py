"""What tests of commands share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def _interrupts_are_not_ignored() -> Iterator[None]:
    """Let processes that are started have SIGINT's default, also where these tests ignore it.

    A shell has what it runs in the background ignore it, and so would all that this starts.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
