"""What versions of the same files take: chunkstore by chunk size, files as they are, backups.

The corpus is a folder with a folder for each version. Without `--corpus` it is made up, so that it
is the same everywhere: each version changes some of the files in place, puts a few bytes into the
middle of one (which shifts what follows, and fixed chunks do not follow it), adds a file and
removes one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from benchmarks import load
from benchmarks.machine import KIB, MB, disk_usage, sync
from benchmarks.subjects import Subject, Unavailable, chunkstore, output_of, running
from chunkstore.core.names import encode_path

CHUNK_SIZES: Final = tuple(4 * KIB * 2**power for power in range(9))
_SEED: Final = 20260102
_FILES: Final = 24
_CHANGED: Final = 6
_WORDS: Final = 4096
_EDIT_SIZES: Final = (16, 64 * KIB)
_PASSWORD: Final = "benchmark"


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes given and what is kept of them on disk; `unique` once and not compressed, if told.

    `rate` is MB/s until durable, 0 if nothing was timed. `chunk_size` is 0 where chunks are not of
    one size.
    """

    name: str
    versions: tuple[str, ...]
    chunk_size: int
    given: int
    kept: int
    unique: int
    rate: float


def make_versions(folder: Path, count: int, size: int) -> None:
    """Make up `count` versions of `size` bytes each; half of each file can be compressed."""
    random = Random(_SEED)
    words = [random.randbytes(random.randrange(2, 9)).hex().encode() for _ in range(_WORDS)]
    files = {f"file{number:03}": _content(random, words, size) for number in range(_FILES)}
    for version in range(count):
        target = folder / f"version{version + 1}"
        target.mkdir(parents=True)
        for name, content in files.items():
            (target / name).write_bytes(content)
        _edit(random, words, files, size, version)


def _content(random: Random, words: Sequence[bytes], size: int) -> bytearray:
    # Files of many sizes, that together are about `size`.
    length = max(1024, int(random.uniform(0.2, 1.8) * size / _FILES))
    text = b" ".join(random.choices(words, k=length // 20))[: length // 2]
    return bytearray(text + random.randbytes(length - len(text)))


def _edit(
    random: Random, words: Sequence[bytes], files: dict[str, bytearray], size: int, version: int
) -> None:
    changed = random.sample(sorted(files), _CHANGED)
    least, most = _EDIT_SIZES
    for name in changed[:-2]:
        content = files[name]
        for _ in range(4):
            # As many small edits as large ones.
            length = min(int(least * (most / least) ** random.random()), len(content))
            start = random.randrange(len(content) - length + 1)
            content[start : start + length] = random.randbytes(length)
    shifted = files[changed[-2]]
    middle = len(shifted) // 2
    shifted[middle:middle] = random.randbytes(100)
    del files[changed[-1]]
    files[f"added{version:03}"] = _content(random, words, size)


def versions_of(corpus: Path) -> list[Path]:
    """Return the folders of the versions, in order."""
    return sorted(path for path in corpus.iterdir() if path.is_dir())


def _files_of(corpus: Path) -> list[Path]:
    return sorted(path for path in corpus.rglob("*") if path.is_file() and path.stat().st_size)


def measure(corpus: Path, folder: Path, chunk_sizes: Sequence[int]) -> Iterator[Kept | str]:
    """Yield what each way of policy takes; a text where one cannot be had, saying why."""
    yield _as_files(corpus)
    for size in chunk_sizes:
        yield _in(folder, partial(_in_chunkstore, corpus, size))
    for way in (_in_restic, _in_borg):
        try:
            yield _in(folder, partial(way, corpus))
        except Unavailable as reason:
            yield str(reason)


def _in(folder: Path, keep: Callable[[Path], Kept]) -> Kept:
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        return keep(Path(fresh))


def _kept(
    name: str,
    corpus: Path,
    kept: int,
    taken: float = math.inf,
    *,
    chunk_size: int = 0,
    unique: int = 0,
) -> Kept:
    given = sum(path.stat().st_size for path in _files_of(corpus))
    versions = tuple(path.name for path in versions_of(corpus))
    return Kept(name, versions, chunk_size, given, kept, unique, given / MB / taken)


def _as_files(corpus: Path) -> Kept:
    sync(corpus)
    return _kept("files, as nginx keeps them", corpus, disk_usage(corpus))


def _in_chunkstore(corpus: Path, chunk_size: int, folder: Path) -> Kept:
    subject: Subject = chunkstore(options=("--chunk-size", str(chunk_size)))
    with running(subject, folder) as server:
        begun = time.perf_counter()
        for path in _files_of(corpus):
            load.upload(server.port, encode_path(path.relative_to(corpus).as_posix()), path)
        taken = time.perf_counter() - begun
        request = b"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        unique = json.loads(load.fetch(server.port, request))["unique_size"]
    # Stopped: what was in its log has its place now.
    kept = disk_usage(folder / "files")
    return _kept(subject.name, corpus, kept, taken, chunk_size=chunk_size, unique=unique)


def _in_restic(corpus: Path, folder: Path) -> Kept:
    version = _version("restic", "restic", "version")
    run = ("restic", "--quiet", "--no-cache", "--repo", str(folder / "repository"))
    environment = {"RESTIC_PASSWORD": _PASSWORD}
    _run(environment, *run, "init", "--repository-version", "2")
    backup = [(*run, "backup", "--compression", "auto", str(one)) for one in versions_of(corpus)]
    return _back_up(f"restic {version.split()[1]}", corpus, folder, environment, backup)


def _in_borg(corpus: Path, folder: Path) -> Kept:
    version = _version("borgbackup", "borg", "--version")
    repository = str(folder / "repository")
    environment = {"BORG_BASE_DIR": str(folder / "scratch")}
    _run(environment, "borg", "init", "--encryption", "none", repository)
    backup = [
        ("borg", "create", "--compression", "zstd,3", f"{repository}::{one.name}", str(one))
        for one in versions_of(corpus)
    ]
    return _back_up(f"borg {version.split()[1]}", corpus, folder, environment, backup)


def _back_up(
    name: str,
    corpus: Path,
    folder: Path,
    environment: dict[str, str],
    commands: Sequence[Sequence[str]],
) -> Kept:
    sync(folder)
    begun = time.perf_counter()
    for command in commands:
        _run(environment, *command)
    sync(folder)
    taken = time.perf_counter() - begun
    return _kept(name, corpus, disk_usage(folder / "repository"), taken)


def _version(package: str, *command: str) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        return output_of(*command)
    raise Unavailable(f"{command[0]} is not installed: Debian's {package}")


def _run(environment: dict[str, str], *command: str) -> None:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")
