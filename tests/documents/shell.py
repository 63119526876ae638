"""A machine for the commands of one section: a folder, a shell, and a server."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.documents.blocks import file_block
from tests.process import clean_environment
from tests.programs import require_program

# What the documents say, and what it is here: a path below the section's own folder, or a port.
_PLACES: Final = ("/var/lib/chunkstore", "/mnt/backup", "/mnt/new")
_PORT: Final = re.compile(r"(?<=[\w.]:)8080\b")
_SERVER: Final = re.compile(r"http://127\.0\.0\.1:8080")
_SERVES: Final = re.compile(r"(?:\w+=\S+ )*chunkstore serve\b")
# These need the store, the one that is served without --db, for themselves, as the documents say.
_ALONE: Final = re.compile(r"chunkstore (?:restore|import|collect)\b(?!.* --(?:db|dry-run)\b)")
_SYSTEMCTL: Final = re.compile(r"sudo systemctl (?P<verb>start|stop|enable --now) chunkstore")
_UNIT: Final = "/etc/systemd/system/chunkstore.service"
_EXTERNAL: Final = ("curl", "wget", "openssl", "rclone")
_END_SECONDS: Final = 120
_SIZE: Final = 3_000_000


class Shell:
    """Runs commands, as they stand in a document, in a folder of their own.

    `model.bin` is there, and a folder `build`; so are `chunkstore`, `python` and a `sudo` that
    changes no user. `chunkstore serve` runs until the next one, until a command needs the store
    for itself, or to the end. Who asks a server before one was started finds a new one.
    """

    def __init__(self, folder: Path, port: int, substitutions: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        self._substitutions = {
            **{place: str(folder / place.removeprefix("/")) for place in _PLACES},
            **substitutions,
        }
        self._clients: set[str] = set()
        self._server: subprocess.Popen[str] | None = None
        for place in _PLACES:
            (folder / place.removeprefix("/")).mkdir(parents=True)
        _make_files(folder)
        self._environment = self._make_environment()

    def _make_environment(self) -> dict[str, str]:
        programs = self.folder / "bin"
        programs.mkdir()
        for name, text in {
            "chunkstore": f'exec {sys.executable} -m chunkstore "$@"',
            "python": f'exec {sys.executable} "$@"',
            "sudo": 'test "$1" = -u && shift 2\nexec "$@"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        # A refusal is to be noticed, although curl takes it for a success.
        (self.folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
        path = f"{programs}:{os.environ['PATH']}"
        return {
            **clean_environment(),
            "PATH": path,
            "HOME": str(self.folder),
            "CHUNKSTORE_PORT": str(self.port),
            # Those that one command sets are there for the next.
            "ENV_FILE": str(self.folder / ".variables"),
        }

    def translate(self, text: str) -> str:
        """Return what a document says as it is to be said here."""
        for said, meant in self._substitutions.items():
            text = text.replace(said, meant)
        return _PORT.sub(str(self.port), text)

    def write(self, name: str, text: str) -> None:
        """Write a file that a document gives the content of."""
        if _SERVER.search(text):
            self._clients.add(name)
        (self.folder / Path(name).name).write_text(self.translate(text))

    def run(self, command: str, *, may_fail: bool = False) -> str:
        """Run a command; return what it printed.

        `may_fail` is whether a document shows that it is refused.
        """
        for program in _EXTERNAL:
            if re.search(rf"\b{program} ", command):
                require_program(program)
        if match := _SYSTEMCTL.fullmatch(command):
            self.stop() if match["verb"] == "stop" else self._start_unit()
            return ""
        if _SERVES.match(command):
            self._start(self.translate(command), {})
            return ""
        if _ALONE.search(command):
            self.stop()
        elif self._server is None and self._asks_server(command):
            self._start("chunkstore serve", {})
        return self._run(self.translate(command), may_fail=may_fail)

    def _asks_server(self, command: str) -> bool:
        return bool(_SERVER.search(command)) or any(name in command for name in self._clients)

    def _run(self, command: str, *, may_fail: bool) -> str:
        script = f'set -ea; test -e "$ENV_FILE" && . "$ENV_FILE"\n{command}\n'
        script += 'set +a; set | grep -E "^[a-z]+=" > "$ENV_FILE" || true'
        shown = subprocess.run(
            ["sh", "-c", script],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_END_SECONDS,
            check=False,
        )
        assert may_fail or shown.returncode == 0, f"{command}\n{shown.stdout}\n{shown.stderr}"
        assert "Traceback" not in shown.stderr, shown.stderr
        return shown.stdout

    def _start_unit(self) -> None:
        unit = self.translate(file_block(_UNIT))
        [command] = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
        settings = dict(re.findall(r"^Environment=(\w+)=(.+)$", unit, re.MULTILINE))
        # Where pip has put the program is not where it is here.
        self._start(f"chunkstore {command.partition(' ')[2]}", settings)

    def _start(self, command: str, settings: Mapping[str, str]) -> None:
        self.stop()
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                # It becomes the server, variables before the command included.
                ["sh", "-c", f"exec env {command}"],
                cwd=self.folder,
                env={**self._environment, **settings},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None
        assert "Serving" in self._server.stdout.readline(), self.log.read_text()

    def stop(self) -> None:
        """Stop the server, if one runs."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(_END_SECONDS)
            assert self._server.stdout is not None
            self._server.stdout.close()
            self._server = None


def _make_files(folder: Path) -> None:
    contents = random.Random(20230521)
    for name in (
        "model.bin",
        "build/program",
        "build/index.html",
        'build/a "b\\c, d;e.txt',
        "build/lib/plain.so",
        "build/lib/part one.so",
        "build/lib/zwölf.so",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.randbytes(_SIZE if name == "model.bin" else 1000))


@contextmanager
def shell(folder: Path, port: int, substitutions: Mapping[str, str]) -> Iterator[Shell]:
    """Return such a machine for the time of a context."""
    machine = Shell(folder, port, substitutions)
    try:
        yield machine
    finally:
        machine.stop()
