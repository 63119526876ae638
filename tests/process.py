"""chunkstore as a process of its own, as its users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

COMMAND = (sys.executable, "-m", "chunkstore")
_END_SECONDS = 300
_POLL_SECONDS = 0.02


class ServerProcess:
    """`chunkstore serve` in `folder`, on `port` (0: a free one), with more `options`.

    `wrapper` is a command that runs the one that is appended to it, and becomes it.
    """

    def __init__(
        self, folder: Path, *options: str, port: int = 0, wrapper: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*wrapper, *COMMAND, "serve", "--port", str(port), *options],
                cwd=folder,
                env=clean_environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        self.announcement = self._process.stdout.readline().strip()
        if not self.announcement:
            self.wait()
            raise RuntimeError(self.log.read_text())
        self.url = self.announcement.rpartition(" ")[2].removesuffix('"}')
        # Of a Unix socket it is 0.
        self.port = urlsplit(self.url).port or 0
        self.pid = self._process.pid

    def stop(self) -> int:
        """Ask the server to stop; return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the server without asking."""
        self._process.kill()
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        self._process.send_signal(number)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Keep the server from running within the context, wherever it is."""
        self.signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait for the server's end; return its exit status."""
        status = self._process.wait(_END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_for_log(self, text: str, *, times: int = 1) -> None:
        """Wait until the server's log has `text` in it so many times."""
        while self.log.read_text().count(text) < times:
            if not self.running:
                raise RuntimeError(self.log.read_text())
            time.sleep(_POLL_SECONDS)

    def anonymous_memory(self) -> int:
        """Return the bytes of anonymous memory in use now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")


@contextmanager
def served(
    folder: Path, *options: str, port: int = 0, wrapper: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """Run a server for the time of a context."""
    server = ServerProcess(folder, *options, port=port, wrapper=wrapper)
    try:
        yield server
    finally:
        if server.running:
            server.stop()


def run_command(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a chunkstore command to its end, with a text on standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**clean_environment(), **(environment or {})},
        input=text,
        capture_output=True,
        text=True,
        timeout=_END_SECONDS,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of chunkstore."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHUNKSTORE_")}
