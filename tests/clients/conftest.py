"""A machine on which the commands of docs/clients.md are run with the programs themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.documents.blocks import section_of
from tests.documents.nginx import free_port
from tests.documents.shell import Shell, shell

_LOGGED = re.compile(r'"(\w+) (\S+) HTTP/1\.[01]" (\d+) (\d+)')


class Request(NamedTuple):
    """A request as the server's log tells of it; `size` is the answer's, in bytes."""

    method: str
    path: str
    status: int
    size: int


class Machine:
    """A machine, and a section of docs/clients.md, whose commands are run as they stand there."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.folder = shell.folder

    def install(self, name: str, program: str, *options: str) -> None:
        """Let commands find a program under a name, with options before their own."""
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec "{program}" {" ".join(options)} "$@"\n')
        path.chmod(0o755)

    def run(self, title: str, before: str = "", *, replacing: tuple[str, str] = ("", "")) -> str:
        """Run a section's commands as one script, behind `before`; return all that it printed."""
        commands = "\n".join(section_of(f"docs/clients.md: {title}").commands)
        said, meant = replacing
        assert said in commands
        if said:
            commands = commands.replace(said, meant)
        return self.shell.run(f"exec 2>&1\n{before}\n{commands}")

    def requests(self) -> list[Request]:
        """Return what the server was asked, and stop it, so that its log is whole."""
        self.shell.stop()
        found = _LOGGED.findall(self.shell.log.read_text())
        return [
            Request(method, path, int(status), int(size)) for method, path, status, size in found
        ]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine that nothing has been done on."""
    with shell(tmp_path, free_port(), {}) as opened:
        yield Machine(opened)
