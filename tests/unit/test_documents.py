"""Documents name nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_SECURITY = (_ROOT / "docs" / "security.md").read_text(encoding="utf-8")
_TESTS = sorted(set(re.findall(r"`([\w/]+/test_\w+\.py)(?:::(\w+))?`", _SECURITY)))


@pytest.mark.parametrize(("module", "test"), _TESTS)
def test_what_is_said_to_be_defended_is_tested(module: str, test: str) -> None:
    source = (_ROOT / "tests" / module).read_text(encoding="utf-8")
    assert not test or f"def {test}(" in source


def test_each_line_of_a_table_names_a_test() -> None:
    lines = [line for line in _SECURITY.splitlines() if line.startswith("| ")]
    rows = [line for line in lines if not line.startswith(("| what holds", "| ---"))]
    assert rows
    for row in rows:
        assert re.search(r"`[\w/]+/test_\w+\.py", row), row
