"""I/O errors in a running server, by libfiu (Debian: fiu-utils).

libfiu stands between a program and the C library and lets calls fail on command. SQLite reads
with pread, writes with pwrite and syncs with fdatasync; nothing else in the server calls these, so
its sockets and its log are left alone.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.process import ServerProcess, served

READ = "posix/io/rw/pread"
WRITE = "posix/io/rw/pwrite"
SYNC = "posix/io/sync/fdatasync"


@dataclass(frozen=True, slots=True)
class Fault:
    """A call of the C library that fails with `error` by a probability, which may be 1."""

    call: str
    error: int = errno.EIO
    probability: float = 1.0

    @property
    def command(self) -> str:
        """What tells libfiu to begin."""
        kind = "enable" if self.probability == 1 else "enable_random"
        chance = "" if self.probability == 1 else f",probability={self.probability}"
        return f"{kind} name={self.call},failinfo={self.error}{chance}"


class FaultyServer:
    """A server whose I/O can be made to fail and made whole again while it runs."""

    def __init__(self, server: ServerProcess, control: Path) -> None:
        self.server = server
        self._control = control

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """Let calls fail within the context."""
        self._tell(*(fault.command for fault in faults))
        yield
        self._tell(*(f"disable name={fault.call}" for fault in faults))

    def _tell(self, *commands: str) -> None:
        options = [option for command in commands for option in ("-c", command)]
        subprocess.run(
            ["fiu-ctrl", "-f", str(self._control), *options, str(self.server.pid)],
            check=True,
            timeout=60,
        )


@contextmanager
def served_faultily(
    folder: Path, *options: str, bounds: Sequence[str] = ()
) -> Iterator[FaultyServer]:
    """Run a server whose I/O can be made to fail, by what runs it within `bounds`."""
    control = folder / "fiu"
    wrapper = ("fiu-run", "-x", "-f", str(control), *bounds)
    with served(folder, *options, wrapper=wrapper) as server:
        yield FaultyServer(server, control)
