"""Ctrl-C while a command runs."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.process import COMMAND, clean_environment, run_command

_COMMANDS = {
    "init": (),
    "stats": (),
    "collect": (),
    "scrub": (),
    "backup": ("b.db",),
    "export": ("out",),
    "import": ("tree",),
    "copy": None,
    "serve": ("--port", "0"),
}


@pytest.mark.usefixtures("_interrupts_are_not_ignored")
@pytest.mark.parametrize("command", _COMMANDS)
def test_an_interrupted_command_ends_with_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "tree").mkdir()
    assert run_command(tmp_path, "init").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # The command waits for a database server that takes the connection and says nothing.
        url = f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/db"
        arguments = _COMMANDS[command]
        rest = ["chunkstore.db", url] if arguments is None else ["--db", url, *arguments]
        process = subprocess.Popen(
            [*COMMAND, command, *rest],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1:] == ["chunkstore: Interrupted."]
    assert "Traceback" not in errors
    assert process.returncode == 130
