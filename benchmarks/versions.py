"""What the next version of a folder takes: `python -m benchmarks.versions`.

A folder of incompressible files is put file by file, then a part of its bytes is replaced, in
pieces of 64 KiB anywhere in it, and the folder is put again. What was stored is what the answers
tell (`new_size`), and by how much the files of the database grew while no server ran.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from benchmarks.machine import KIB, MB, describe_machine, write_random
from chunkstore.core.units import parse_size
from tests.process import served

_PIECE_SIZE: Final = 64 * KIB
_SEED: Final = 20260101


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the folder: bytes given, bytes that answers call new, growth of the disk."""

    given: int
    new: int
    grown: int


def run(folder: Path, size: int, files: int, changed: float) -> tuple[Version, Version]:
    """Put a folder of `size` bytes in so many files; change that part of it; put it again."""
    paths = [folder / f"file{number}" for number in range(files)]
    for path in paths:
        write_random(path, size // files)
    store = folder / "store"
    store.mkdir()
    first = _put(store, paths)
    _change(paths, changed)
    return first, _put(store, paths)


def _put(store: Path, paths: list[Path]) -> Version:
    before, new = _database_size(store), 0
    with served(store, "--no-access-log") as server:
        for path in paths:
            request = Request(f"{server.url}files/{path.name}", path.read_bytes(), method="PUT")
            with urlopen(request) as response:
                new += json.load(response)["new_size"]
    given = sum(path.stat().st_size for path in paths)
    return Version(given, new, _database_size(store) - before)


def _change(paths: list[Path], part: float) -> None:
    size = paths[0].stat().st_size
    piece = min(_PIECE_SIZE, size)
    places = random.Random(_SEED)
    for _ in range(max(1, round(part * size * len(paths) / piece))):
        with places.choice(paths).open("r+b") as file:
            file.seek(places.randrange(size - piece + 1))
            file.write(os.urandom(piece))


def _database_size(store: Path) -> int:
    return sum(path.stat().st_size for path in store.glob("chunkstore.db"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=210 * MB)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--changed", type=float, default=0.02, help="the part that is replaced")
    parser.add_argument("--folder", type=Path, help="where files go; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        versions = run(Path(folder), options.size, options.files, options.changed)
    print(f"{describe_machine()}\n")
    print("| version | given, MB | new by the answers, MB | database grew by, MB |")
    print("| --- | --- | --- | --- |")
    for name, version in zip(("first", f"{options.changed:.0%} changed"), versions, strict=True):
        figures = (version.given / MB, version.new / MB, version.grown / MB)
        print(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
