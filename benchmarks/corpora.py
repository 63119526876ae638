"""What deduplication and compression save, on real files: `python -m benchmarks.corpora`.

Several releases of a package are fetched from its registry by the registry's own client and put,
unpacked, into a fresh store; then their plain tars into another one. Told are the bytes given, what
is kept of them with equal chunks stored once, and what these take on disk, compressed; and how fast
that went, once without compression and once with it, on the same files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from benchmarks import load
from benchmarks.machine import MB, describe_machine
from chunkstore.core.names import encode_path
from chunkstore.core.units import format_size
from tests.process import ServerProcess, served

# By a size, or where the content says.
_CUTS: Final = ("64KiB", "256KiB", "cdc")
_CLIENTS: Final = 8
_COMPRESSIONS: Final = ("none", "zstd:1", "zstd:3")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Releases of one package; `fetch` puts each, unpacked, into a folder of its own."""

    name: str
    releases: Sequence[str]
    fetch: Callable[[Path, str], None]


@dataclass(frozen=True, slots=True)
class Saving:
    """Bytes given, kept once, and as they take on disk; and rates in MB/s."""

    given: int
    unique: int
    stored: int
    upload: float
    download: float


def fetch_numpy(folder: Path, release: str) -> None:
    """Unpack a wheel of numpy for Python 3.11 on Linux."""
    platform = ("--platform", "manylinux2014_x86_64", "--python-version", "3.11")
    _run(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
        *platform, "-d", str(folder), f"numpy=={release}",
    )  # fmt: skip
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()


def fetch_typescript(folder: Path, release: str) -> None:
    """Unpack a package of TypeScript."""
    _run("npm", "pack", "--silent", "--pack-destination", str(folder), f"typescript@{release}")
    for package in folder.glob("*.tgz"):
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")
        package.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


NUMPY: Final = Corpus("numpy", [f"1.26.{patch}" for patch in range(5)], fetch_numpy)
TYPESCRIPT: Final = Corpus(
    "typescript", ("5.4.2", "5.4.3", "5.4.4", "5.4.5", "5.5.2", "5.5.3"), fetch_typescript
)
CORPORA: Final = {corpus.name: corpus for corpus in (NUMPY, TYPESCRIPT)}


def measure(files: Sequence[Path], root: Path, cut: str, compression: str) -> Saving:
    """Put all files of `root` into a fresh store, then get them."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        cutting = ("--chunking", cut) if cut == "cdc" else ("--chunk-size", cut)
        with served(Path(folder), *cutting, "--compression", compression) as server:
            names = [encode_path(path.relative_to(root).as_posix()) for path in files]
            upload = _seconds(lambda: _put_all(server, names, files))
            download = _seconds(lambda: _get_all(server, names, files))
            with urlopen(f"{server.url}stats") as answer:
                held = json.load(answer)
    given = held["logical_size"]
    return Saving(
        given,
        held["unique_size"],
        held["stored_size"],
        given / MB / upload,
        given / MB / download,
    )


def _put_all(server: ServerProcess, names: Sequence[str], files: Sequence[Path]) -> None:
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(partial(load.upload, server.port), names, files))


def _get_all(server: ServerProcess, names: Sequence[str], files: Sequence[Path]) -> None:
    sizes = [path.stat().st_size for path in files]
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(partial(load.download, server.port), names, sizes))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def make_tars(unpacked: Path, folder: Path) -> list[Path]:
    """Make one uncompressed tar of each release, as `tar` would of sorted names."""
    tars = []
    for release in sorted(unpacked.iterdir()):
        tars.append(folder / f"{release.name}.tar")
        with tarfile.open(tars[-1], "w") as archive:
            for path in sorted(release.rglob("*")):
                archive.add(path, path.relative_to(release), recursive=False)
    return tars


def rows_of(corpus: Corpus, folder: Path, cuts: Sequence[str]) -> list[str]:
    """Fetch a corpus and return its rows of the table, once by file and once as tars."""
    unpacked, tars = folder / "unpacked", folder / "tars"
    tars.mkdir()
    for release in corpus.releases:
        target = unpacked / f"{corpus.name}-{release}"
        target.mkdir(parents=True)
        corpus.fetch(target, release)
    by_file = sorted(path for path in unpacked.rglob("*") if path.is_file() and path.stat().st_size)
    shapes = {
        f"{corpus.name}, file by file": (by_file, unpacked),
        f"{corpus.name}, as tars": (make_tars(unpacked, tars), tars),
    }
    return [
        _row(shape, files, root, cut) for shape, (files, root) in shapes.items() for cut in cuts
    ]


def _row(shape: str, files: Sequence[Path], root: Path, cut: str) -> str:
    savings = [measure(files, root, cut, compression) for compression in _COMPRESSIONS]
    plain, *compressed = savings
    cells = [shape, cut, format_size(plain.given)]
    cells += [f"{format_size(plain.unique)} ({plain.given / plain.unique:.2f})"]
    cells += [f"{format_size(one.stored)} ({one.given / one.stored:.2f})" for one in compressed]
    cells += [" / ".join(f"{one.upload:.0f}" for one in savings)]
    cells += [" / ".join(f"{one.download:.0f}" for one in savings)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", metavar="CORPUS", help="default: all")
    parser.add_argument("--cuts", nargs="+", default=_CUTS, help="sizes of chunks, and cdc")
    options = parser.parse_args()
    if unknown := set(options.corpora) - set(CORPORA):
        parser.error(f"{', '.join(unknown)}: not of {', '.join(CORPORA)}")
    print(f"{describe_machine()}\n")
    names = ["corpus", "chunks", "given", "kept once", *_COMPRESSIONS[1:]]
    names += [f"{way}, MB/s: {' / '.join(_COMPRESSIONS)}" for way in ("up", "down")]
    print(f"| {' | '.join(names)} |\n|{' --- |' * len(names)}")
    for name in options.corpora or CORPORA:
        with tempfile.TemporaryDirectory() as folder:
            print("\n".join(rows_of(CORPORA[name], Path(folder), options.cuts)), flush=True)


if __name__ == "__main__":
    main()
