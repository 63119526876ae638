"""SQLite and PostgreSQL side by side, in one run: `python -m benchmarks.databases`.

The same server, with its defaults: on SQLite, and on PostgreSQL with 1, 2 and 4 workers. PostgreSQL
runs on this machine with the same durability, so all share its cores. Figures of processor time,
memory and disk are of the server's processes, without PostgreSQL's. Options are those of
`python -m benchmarks`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.machine import describe_machine
from benchmarks.run import end_on_signals, measure, parse
from benchmarks.subjects import Subject, chunkstore
from tests.postgres import DURABLE, Cluster, find_programs

_WORKERS: Final = (1, 2, 4)
_WORKS: Final = "upload,download,small"
# As an administrator would set them for such a machine.
_SETTINGS: Final = {
    **DURABLE,
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "wal_compression": "off",
    "checkpoint_timeout": "15min",
}


def main() -> None:
    """Run from the command line."""
    end_on_signals()
    options = parse(["--only", _WORKS, "--subjects", "chunkstore", *sys.argv[1:]])
    with (
        tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder,
        on_postgres() as others,
    ):
        subjects = {one: one.find_version() for one in (chunkstore(), *others)}
        print(f"{describe_machine()}; generator processes: {options.processes}\n")
        print("\n".join(report.describe_subjects(subjects)))
        results, _ = measure(options, subjects, Path(folder))
    print("\n".join(report.tables(results)))


@contextmanager
def on_postgres() -> Iterator[list[Subject]]:
    """Return chunkstore on a new PostgreSQL server, with each number of workers."""
    with find_programs() as programs, Cluster.running(programs, _SETTINGS) as cluster:
        create = (str(programs.folder / "psql"), cluster.url(), "-qc", 'CREATE DATABASE "{name}"')
        yield [
            chunkstore(
                f"on PostgreSQL, {workers} worker{'s' * (workers > 1)}",
                ("--db", cluster.url("{name}"), "--workers", str(workers)),
                prepare=create,
            )
            for workers in _WORKERS
        ]


if __name__ == "__main__":
    main()
