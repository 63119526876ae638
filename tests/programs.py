"""Programs that pip cannot install."""

from __future__ import annotations

import os
import shutil

import pytest


def require_program(name: str) -> None:
    """Skip the test where there is no program `name`; with REQUIRE_PROGRAMS set, fail it."""
    if shutil.which(name) is not None:
        return
    if os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")
