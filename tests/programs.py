"""Programs and packages that pip cannot install."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, NoReturn

import pytest

# Where Debian puts servers, which is not on every user's path.
_SYSTEM_PROGRAMS: Final = "/usr/sbin"


def require_program(*names: str) -> str:
    """Return where the first of these programs is that there is; skip the test without any.

    With REQUIRE_PROGRAMS set, the test fails instead.
    """
    found = (shutil.which(name) or shutil.which(name, path=_SYSTEM_PROGRAMS) for name in names)
    path = next(filter(None, found), None)
    if path is None:
        do_without(f"{' or '.join(names)} is not installed")
    return path


def require_node_package(name: str) -> Path:
    """Return the folder in which `npm install` put packages; as `require_program` without `name`.

    NODE_PACKAGES names that folder.
    """
    require_program("node")
    folder = Path(os.environ.get("NODE_PACKAGES", ""))
    if not (folder / "node_modules" / name).is_dir():
        do_without(f"the npm package {name} is not installed in the folder NODE_PACKAGES names")
    return folder.resolve()


def do_without(what: str) -> NoReturn:
    """Skip the test for `what` is missing, or fail it if nothing may be missing."""
    if os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(what)
    pytest.skip(what)
