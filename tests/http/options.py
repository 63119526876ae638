"""How long requests made of chance are sent: a plugin of pytest.

A plugin, because options must be known before any test below this folder is looked at.
"""

from __future__ import annotations

import pytest

from chunkstore.core.units import parse_duration_seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz tests")
    group.addoption(
        "--fuzz-time",
        type=parse_duration_seconds,
        default=parse_duration_seconds("8s"),
        help="how long requests made of chance are sent, at least a thousand",
    )
    group.addoption("--fuzz-seed", type=int, default=0, help="which requests: others for another")
