"""Programs that bring files to a server and back, each with its best settings for that.

A tool is data: how its server is run, and its commands, in which `{url}`, `{port}`, `{folder}` and
`{scratch}` are filled in, and `{source}`, `{name}` and `{target}` of a transfer.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.dialects import Dialect
from benchmarks.meters import metered, process_tree, processor_seconds
from benchmarks.peers import RCLONE
from benchmarks.subjects import Subject, Unavailable, chunkstore, output_of

_CHUNKSTORE: Final = (sys.executable, "-m", "chunkstore")
_RSYNC: Final = """
use chroot = no
{user}
[files]
path = {folder}
read only = no
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command came to: how long it ran, and the most anonymous memory it had, in bytes.

    `client_seconds` are those of processor that it took, `server_seconds` those that its server
    took meanwhile.
    """

    seconds: float
    memory: int
    client_seconds: float
    server_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A program. `push` and `pull` move a file, `push_tree` a folder; None where it cannot.

    `home` are variables of its environment that have its caches lie in a folder of its own.
    `durable` says that it has the server sync what it keeps before it says that it is done; what
    others leave to the system's cache is told in the table.
    """

    name: str
    server: Subject
    push: Sequence[str]
    pull: Sequence[str]
    push_tree: Sequence[str] | None
    version: Callable[[], str]
    settings: str
    durable: bool
    prepare: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    # Whether it sends only what the server lacks.
    differential: bool = True

    def find_version(self) -> str:
        """Return the version that is installed.

        Raises:
            Unavailable: the program or its server is not installed.
        """
        self.server.find_version()
        try:
            return self.version()
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{self.name} is not installed") from error

    def run(self, command: Sequence[str], fill: Mapping[str, str], server: int) -> Cost:
        """Run one of its commands to its end; `server` is the process of its server.

        Raises:
            RuntimeError: it failed.
        """
        environment = {name: expand(text, fill) for name, text in self.environment.items()}
        before = _processor_of_children(), processor_seconds(process_tree(server))
        begun = time.perf_counter()
        with (
            subprocess.Popen(
                [expand(word, fill) for word in command],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as process,
            metered(process.pid) as usage,
        ):
            output, _ = process.communicate()
            seconds = time.perf_counter() - begun
        if process.returncode:
            raise RuntimeError(f"{self.name}: {output.decode(errors='replace')[-1000:]}")
        return Cost(
            seconds,
            usage.peak_memory,
            _processor_of_children() - before[0],
            processor_seconds(process_tree(server)) - before[1],
        )


def _processor_of_children() -> float:
    """Return the processor time of all processes of this one that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def expand(template: str, fill: Mapping[str, str]) -> str:
    """Return the template with what stands for its names."""
    for name, value in fill.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _versioned(*command: str) -> Callable[[], str]:
    return lambda: output_of(*command).partition("version ")[2].split()[0]


CLIENT: Final = Tool(
    "chunkstore push, pull, sync",
    chunkstore(),
    push=(*_CHUNKSTORE, "push", "--quiet", "{source}", "{url}/files/{name}"),
    pull=(*_CHUNKSTORE, "pull", "--quiet", "{url}/files/{name}", "{target}"),
    push_tree=(*_CHUNKSTORE, "sync", "--quiet", "{source}", "{url}/files/{name}/"),
    version=lambda: output_of(*_CHUNKSTORE, "--version").split()[-1],
    settings="8 connections, digest cache",
    durable=True,
    environment={"XDG_CACHE_HOME": "{scratch}/cache", "XDG_STATE_HOME": "{scratch}/state"},
)
# What a server alone gives: the whole file, each time.
CURL: Final = Tool(
    "curl",
    chunkstore(),
    push=shlex.split("curl -sSf -T {source} {url}/files/{name}"),
    pull=shlex.split("curl -sSf -o {target} {url}/files/{name}"),
    # One process, whose connections are used again.
    push_tree=(
        "sh",
        "-c",
        "cd {source} && find . -type f -printf 'upload-file=%P\nurl={url}/files/{name}/%P\n'"
        " | curl -sSf -o /dev/null -Z --parallel-max 8 -K -",
    ),
    version=lambda: output_of("curl", "--version").split()[1],
    settings="PUT and GET to chunkstore; a tree over 8 connections",
    durable=True,
    differential=False,
)
RSYNC: Final = Tool(
    "rsync",
    Subject(
        "rsyncd",
        package="Debian's rsync",
        command=shlex.split(
            "rsync --daemon --no-detach --address 127.0.0.1 --port {port}"
            " --config {scratch}/configuration"
        ),
        version=_versioned("rsync", "--version"),
        dialect=Dialect(),
        configuration=_RSYNC.replace("{user}", "uid = root" if os.geteuid() == 0 else ""),
    ),
    push=shlex.split(
        "rsync -t --fsync --no-whole-file {source} rsync://127.0.0.1:{port}/files/{name}"
    ),
    pull=shlex.split(
        "rsync -t --fsync --no-whole-file rsync://127.0.0.1:{port}/files/{name} {target}"
    ),
    push_tree=shlex.split("rsync -rt --fsync {source}/ rsync://127.0.0.1:{port}/files/{name}/"),
    version=_versioned("rsync", "--version"),
    settings="daemon, delta transfer, --fsync; trusts size and time of what it knows",
    durable=True,
)
RCLONE_COPY: Final = Tool(
    "rclone",
    RCLONE,
    push=shlex.split("rclone copyto --config /dev/null --webdav-url {url} {source} :webdav:{name}"),
    pull=shlex.split("rclone copyto --config /dev/null --webdav-url {url} :webdav:{name} {target}"),
    push_tree=shlex.split(
        "rclone copy --config /dev/null --webdav-url {url} --transfers 8 --size-only"
        " {source} :webdav:{name}"
    ),
    version=RCLONE.version,
    settings="WebDAV, 8 transfers, sizes compared",
    durable=False,
    differential=False,
)
RESTIC: Final = Tool(
    "restic",
    Subject(
        "rclone serve restic",
        package="Debian's rclone",
        command=shlex.split(
            "rclone serve restic --config /dev/null --addr 127.0.0.1:{port} {folder}"
        ),
        version=RCLONE.version,
        dialect=Dialect(),
    ),
    prepare=shlex.split("restic -q -r rest:{url}/repository init"),
    push=shlex.split("restic -q -r rest:{url}/repository --compression auto backup {source}"),
    pull=(),
    push_tree=shlex.split("restic -q -r rest:{url}/repository backup {source}"),
    version=lambda: output_of("restic", "version").split()[1],
    settings="encrypts; cuts by content, 1 MiB; cache of its own",
    durable=False,
    environment={"RESTIC_PASSWORD": "secret", "XDG_CACHE_HOME": "{scratch}/cache"},
)
TOOLS: Final = (CLIENT, CURL, RSYNC, RCLONE_COPY, RESTIC)


def forget_caches(scratch: Path) -> None:
    """Remove what a tool has noted of files it has seen."""
    shutil.rmtree(scratch / "cache", ignore_errors=True)
