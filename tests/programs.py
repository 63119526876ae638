"""Programs that pip cannot install."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def require_program(name: str) -> str:
    """Return where the program `name` is; skip the test where there is none.

    With REQUIRE_PROGRAMS set, the test fails instead.
    """
    path = shutil.which(name)
    if path is None:
        lack(f"{name} is not installed")
    return path


def lack(what: str) -> NoReturn:
    """Skip the test for `what`, or with REQUIRE_PROGRAMS set fail it."""
    if os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(what)
    pytest.skip(what)
