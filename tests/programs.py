"""Programs and packages that pip cannot install."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def require_program(name: str) -> None:
    """Skip the test where there is no program `name`; with REQUIRE_PROGRAMS set, fail it."""
    if shutil.which(name) is None:
        _do_without(f"{name} is not installed")


def require_node_package(name: str) -> Path:
    """Return the folder in which `npm install` put the package; as `require_program` without it.

    NODE_PACKAGES names that folder.
    """
    require_program("node")
    folder = Path(os.environ.get("NODE_PACKAGES", ""))
    if not (folder / "node_modules" / name).is_dir():
        _do_without(f"the npm package {name} is not installed in the folder NODE_PACKAGES names")
    return folder.resolve()


def _do_without(what: str) -> None:
    if os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(what)
    pytest.skip(what)
