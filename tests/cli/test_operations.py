"""The commands of docs/operations.md, as they stand there and in their order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.cli.test_command_line import get, put
from tests.process import clean_environment, served

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def run_line(folder: Path, line: str) -> str:
    """Run a line of a shell with `chunkstore` in its PATH; return what it prints."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "chunkstore"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m chunkstore "$@"\n')
    program.chmod(0o755)
    environment = clean_environment()
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    shown = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, ""), line
    return shown.stdout


def test_backup_and_restore_step_by_step(tmp_path: Path) -> None:
    back_up, scrub, try_it, stats, restore, again, remove, serve = commands()
    with served(tmp_path, "--db", "files.db") as server:
        put(server, "a", b"a")
        assert run_line(tmp_path, back_up) == "Copied 1 new chunk, 1 bytes.\n"
        assert "all whole" in run_line(tmp_path, scrub)
        run_line(tmp_path, try_it)
        assert re.search(r"^files +1$", run_line(tmp_path, stats), re.MULTILINE)
        put(server, "lost", b"x")
        server.kill()
    assert "is kept as" in run_line(tmp_path, restore)
    with served(tmp_path, "--db", "files.db") as server:
        assert get(server, "a") == b"a"
        put(server, "b", b"b")
        assert run_line(tmp_path, again) == "Copied 1 new chunk, 1 bytes.\n"
    run_line(tmp_path, remove)
    assert not list(tmp_path.glob("*before*"))
    program, command, *options = serve.split()
    assert (program, command) == ("chunkstore", "serve")
    with served(tmp_path, *options) as server:
        assert get(server, "b") == b"b"
