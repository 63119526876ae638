"""How large the contents are that real clients upload: a plugin of pytest.

A plugin, because options must be known before any test below this folder is looked at.
"""

from __future__ import annotations

import pytest

from chunkstore.core.units import parse_size


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("client tests").addoption(
        "--upload-size",
        type=parse_size,
        default=parse_size("10MiB"),
        help="what clients of resumable uploads send, about",
    )
