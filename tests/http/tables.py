"""Tables that say which tests a promise has: `module.test`, both without their `test_`."""

from __future__ import annotations

from pathlib import Path


def check_tests_exist(entries: str) -> None:
    """Check that each test is there that a line of a table names."""
    for entry in entries.split():
        module, test = entry.split(".")
        [path] = Path(__file__).parent.rglob(f"test_{module}.py")
        source = path.read_text(encoding="utf-8")
        assert f"def test_{test}(" in source, entry
