"""What the program loads before it does its work: no command waits for what only others need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import clean_environment, run_command

# Runs the program, and tells on standard error which of the packages that it names were loaded.
_SCRIPT = """
import sys
from chunkstore.cli.main import main
try:
    main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
_HTTP = {"aiohttp", "aiohttp_jinja2", "jinja2", "multipart", "http_sf", "yarl"}


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("init",),
        ("stats",),
        ("collect",),
        ("scrub",),
        ("backup", "b.db"),
        ("restore", "a.db"),
        ("copy", "chunkstore.db", "c.db"),
        ("export", "out"),
        ("import", "tree"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_loads_the_server_or_another_database(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    assert run_command(tmp_path, "backup", "a.db").returncode == 0
    (tmp_path / "tree").mkdir()
    loaded = loaded_by(tmp_path, *arguments)
    assert "aiosqlite" in loaded
    assert not loaded & {*_HTTP, "asyncpg"}


def test_help_loads_no_server_and_no_database(tmp_path: Path) -> None:
    for arguments in (("--help",), ("serve", "--help"), ("sync", "--help"), ("cache", "--help")):
        assert not loaded_by(tmp_path, *arguments) & {
            "aiohttp", "aiohttp_jinja2", "aiosqlite", "asyncpg", "jinja2", "sqlite3",
        }  # fmt: skip


def test_the_version_loads_hardly_anything(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--version")
    assert not loaded & {*_HTTP, "aiosqlite", "asyncio", "asyncpg", "blake3", "sqlite3", "uvloop"}
