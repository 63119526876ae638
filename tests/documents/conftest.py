"""A machine for commands of the documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.nginx import free_port
from tests.documents.shell import Shell, shell


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Shell]:
    """Return a machine that nothing has been done on."""
    with shell(tmp_path, free_port(), {}) as machine:
        yield machine
