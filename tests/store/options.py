"""Options of the tests of stores and on stores."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add how long the stress tests are."""
    parser.addoption(
        "--stress-rounds",
        type=int,
        default=15,
        help="How many contents each of six uploads beside collections.",
    )
    parser.addoption(
        "--all-on-postgres",
        action="store_true",
        help="Run on PostgreSQL also those tests over HTTP that no database should matter to.",
    )
