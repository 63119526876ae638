"""Servers under test, as real processes with their files in a fresh folder.

What one server differs in from another is data: its command, its configuration, its dialect. So
chunkstore with other options, or on another database, is one more `Subject`, not more code.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.dialects import CHUNKSTORE, Dialect
from benchmarks.machine import sync_file
from chunkstore import __version__

REFERENCE: Final = "chunkstore"
_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.005
_NAME_DIGITS: Final = 16
_SETTINGS: Final = "CHUNKSTORE_"


class Unavailable(Exception):
    """A subject cannot be had; the message says what is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A server, and how to ask it.

    `command`, `prepare`, `discard`, `configuration` and the values of `environment` may mention
    `{port}`, `{folder}` (where it keeps its files), `{scratch}` (for its configuration and its log)
    and `{name}` (which no other folder has).
    `prepare` is a command that is run once before the first start in a folder, `discard` one that
    is run when the folder is not needed any more. `open` is given the folder and the name, and is
    there instead of `command` where nothing is to be started. `durable` says that
    its answer to an upload means that it is on the disk; the others are timed until a sync after
    their last answer. `plain_files` says that the files in its folder are what it serves, so that
    they can be put there without it. `settles` says that it works on after its last answer, and
    that figures of what it used wait for that. No more than `most_clients` ask it at once. It is
    there for `works` only, or for all if these are none.
    """

    name: str
    package: str
    command: Sequence[str]
    version: Callable[[], str]
    dialect: Dialect
    settings: str = ""
    configuration: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Sequence[str] = ()
    discard: Sequence[str] = ()
    open: Callable[[Subject, Path, str], AbstractContextManager[Running]] | None = None
    durable: bool = False
    plain_files: bool = True
    settles: bool = False
    most_clients: int | None = None
    works: Sequence[str] = ()

    def find_version(self) -> str:
        """Return the version that is installed, or raise Unavailable."""
        if not (Path(self.command[0]).is_absolute() or _which(self.command[0])):
            raise Unavailable(f"{self.name} is not installed: {self.package}")
        try:
            return self.version()
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{self.name} is not installed: {self.package}") from error


@dataclass(frozen=True, slots=True)
class Running:
    """A subject that answers on `port`; `started` is how many seconds that took."""

    subject: Subject
    folder: Path
    port: int
    pid: int
    started: float

    def upload(self, name: str, source: Path) -> None:
        """Put the file at `source`; return when it is answered."""
        load.upload(self.port, name, source, self.subject.dialect)

    def upload_durably(self, name: str, source: Path) -> None:
        """Put a file; return when it is on the disk, if need be by a sync of the file it became."""
        self.upload(name, source)
        if not self.subject.durable:
            sync_file(self.folder / name)

    def download(
        self, name: str, size: int, take: Callable[[memoryview], object] | None = None
    ) -> None:
        """Get a file of `size` bytes, and give them to `take` or throw them away."""
        load.download(self.port, name, size, take, self.subject.dialect)


def chunkstore(name: str = REFERENCE, options: Sequence[str] = ()) -> Subject:
    """Return chunkstore with more options of `chunkstore serve`, and no log, as no peer has one."""
    options = ("--no-access-log", *options)
    return Subject(
        name,
        package="this repository",
        command=(sys.executable, "-m", "chunkstore", "serve", "--port", "{port}", *options),
        version=lambda: __version__,
        dialect=CHUNKSTORE,
        settings=" ".join(options),
        durable=True,
        plain_files=False,
        settles=True,
    )


def with_options(subject: Subject, options: Sequence[str]) -> Subject:
    """Return a subject whose command has more options."""
    return replace(subject, command=(*subject.command, *options))


def output_of(*command: str) -> str:
    """Return what a command prints, on whichever stream."""
    program = _which(command[0]) or command[0]
    done = subprocess.run(
        [program, *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_START_SECONDS,
        check=True,
    )
    return done.stdout.strip()


def _which(program: str) -> str | None:
    # Beside this interpreter, as pip has it in a virtual environment; where Debian puts servers.
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(program, path=os.pathsep.join(folders))


@contextmanager
def running(subject: Subject, folder: Path, known: str = "") -> Iterator[Running]:
    """Serve `folder` for the time of a context.

    It has started when it answers: for the file `known` with success, or else for anything.
    """
    port = _free_port()
    fill = _fill(folder, port)
    files, scratch = Path(fill["folder"]), Path(fill["scratch"])
    if not scratch.exists():
        _prepare(subject, files, scratch, fill)
    if subject.open is not None:
        with subject.open(subject, files, fill["name"]) as server:
            yield server
        return
    if subject.configuration:
        (scratch / "configuration").write_text(_expand(subject.configuration, fill))
    begun = time.perf_counter()
    with (scratch / "log").open("ab") as log:
        process = subprocess.Popen(
            _command(subject.command, fill),
            cwd=files,
            env=_environment(subject, fill),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_up(subject, process, port, known, scratch / "log")
        yield Running(subject, files, port, process.pid, time.perf_counter() - begun)
    finally:
        _stop(process)


def discard(subject: Subject, folder: Path) -> None:
    """Remove what a subject that served `folder` has elsewhere."""
    if subject.discard:
        _run(subject, subject.discard, folder, _fill(folder))


def _fill(folder: Path, port: int = 0) -> dict[str, str]:
    """Return what stands for the names in the templates of a subject."""
    files = folder / "files"
    return {
        "port": str(port),
        "folder": str(files),
        "scratch": str(folder / "scratch"),
        "name": hashlib.sha256(bytes(files)).hexdigest()[:_NAME_DIGITS],
    }


def _run(subject: Subject, command: Sequence[str], folder: Path, fill: Mapping[str, str]) -> None:
    subprocess.run(_command(command, fill), cwd=folder, env=_environment(subject, fill), check=True)


def _prepare(subject: Subject, files: Path, scratch: Path, fill: Mapping[str, str]) -> None:
    files.mkdir(parents=True, exist_ok=True)
    scratch.mkdir()
    if subject.prepare:
        _run(subject, subject.prepare, files, fill)


def _command(template: Sequence[str], fill: Mapping[str, str]) -> list[str]:
    program, *arguments = (_expand(word, fill) for word in template)
    return [_which(program) or program, *arguments]


def _expand(template: str, fill: Mapping[str, str]) -> str:
    # Not str.format: a configuration has braces of its own.
    for name, value in fill.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _environment(subject: Subject, fill: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(_SETTINGS)}
    own = {name: _expand(value, fill) for name, value in subject.environment.items()}
    return {**inherited, **own}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_up(
    subject: Subject, process: subprocess.Popen[bytes], port: int, known: str, log: Path
) -> None:
    limit = time.monotonic() + _START_SECONDS
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise RuntimeError(f"{subject.name} ended: {log.read_text(errors='replace')[-2000:]}")
        with suppress(ConnectionError):
            _ask(subject.dialect, port, known)
            return
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"{subject.name} did not answer: {log.read_text(errors='replace')[-2000:]}")


def _ask(dialect: Dialect, port: int, known: str) -> None:
    with load.connect(port) as connection:
        connection.sendall(dialect.get(known or "nothing", 0, 1, keep_alive=False))
        answer = connection.recv(1000)
    if not answer:
        raise ConnectionResetError
    if known:
        load.check(answer)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the processes of a session to end, and see to it that they have."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
