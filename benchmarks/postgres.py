"""chunkstore on PostgreSQL, with several numbers of workers, and what asyncpg alone gets out of it.

One PostgreSQL server runs on this machine for a whole run, as durable as SQLite is, and shares its
cores with all subjects; each fresh folder is a database of its own. Figures of processor, memory
and disk are of the subject's processes, without PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import pytest

from benchmarks import raw
from benchmarks.peers import as_of
from benchmarks.subjects import Subject, Unavailable, chunkstore
from tests.postgres import DURABLE, Cluster, find_programs

POSTGRES: Final = "chunkstore-postgres"
BEFORE: Final = "baseline-postgres"
RAW: Final = "asyncpg"
_WORKERS: Final = {POSTGRES: 1, f"{POSTGRES}-2": 2, f"{POSTGRES}-4": 4, BEFORE: 1}
NAMES: Final = (*_WORKERS, RAW)
COMPARED: Final = (POSTGRES, BEFORE, RAW)
_WORKS: Final = ("upload", "small", "download")
# As an administrator would set them for such a machine.
_SETTINGS: Final = {
    **DURABLE,
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "wal_compression": "off",
    "checkpoint_timeout": "15min",
}


@contextmanager
def on_postgres(baseline: Path | None = None) -> Iterator[dict[str, Subject]]:
    """Return the subjects of NAMES on a new PostgreSQL server; without one they are unavailable."""
    with ExitStack() as stack:
        try:
            programs = stack.enter_context(find_programs())
        except pytest.skip.Exception as reason:
            missing = partial(_raise_unavailable, str(reason))
            yield {name: replace(chunkstore(name), version=missing) for name in NAMES}
            return
        cluster = stack.enter_context(Cluster.running(programs, _SETTINGS))
        psql = (str(programs.folder / "psql"), cluster.url(), "-qc")
        subjects = [
            chunkstore(name, ("--db", cluster.url("{name}"), "--workers", str(workers)))
            for name, workers in _WORKERS.items()
        ]
        yield {
            subject.name: replace(
                as_of(baseline, subject) if subject.name == BEFORE else subject,
                prepare=(*psql, 'CREATE DATABASE "{name}"'),
                discard=(*psql, 'DROP DATABASE "{name}" WITH (FORCE)'),
                settles=False,
                works=subject.works or _WORKS,
            )
            for subject in (*subjects, raw.subject(RAW, cluster.url, programs.version))
        }


def _raise_unavailable(reason: str) -> NoReturn:
    raise Unavailable(reason)
