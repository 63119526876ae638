"""Imports point downward: each layer knows only what lies below it, and so do the rooms of each."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

import chunkstore

ROOT: Final = Path(chunkstore.__file__).parent
# What ties a module to an event loop, a protocol, a database or a terminal.
FRAMEWORKS: Final = frozenset({"asyncio", "aiohttp", "sqlite3", "aiosqlite", "asyncpg", "click"})

# From the bottom to the top: each layer, and the frameworks that it is built upon.
LAYERS: Final[Mapping[str, frozenset[str]]] = {
    "core": frozenset(),
    "store": frozenset({"asyncio", "sqlite3", "aiosqlite", "asyncpg"}),
    "service": frozenset({"asyncio"}),
    "http": frozenset({"asyncio", "aiohttp"}),
    "server": frozenset({"asyncio", "aiohttp"}),
    "client": frozenset({"asyncio", "sqlite3"}),
    "cli": frozenset({"asyncio", "click"}),
}

# What stands beside the others, and all that it may know of the rest; above it are only commands.
BESIDE: Final[Mapping[str, frozenset[str]]] = {"client": frozenset({"core"})}

# Within a folder, from the bottom to the top; those on one floor do not know each other. "" are
# the modules that lie in the folder itself and are not named.
ROOMS: Final[Mapping[str, Sequence[set[str]]]] = {
    "store": [{"contract"}, {"shared"}, {"sqlite", "postgres"}, {"open"}],
    "store.sqlite": [{"engine"}, {"segments"}, {""}],
    "service": [{"access"}, {""}, {"resumable", "maintenance", "transfer"}, {"chunks"}],
    "http": [
        {"page", "answers"},
        {"runtime"},
        {"message"},
        {"security"},
        {"native", "resumable", "accounts"},
        {"caches", "chunks", "dav", "links"},
        {"dispatch"},
        {"routes"},
        {"app"},
    ],
}
# What a room is built upon, where that is less than its layer is.
FEWER_FRAMEWORKS: Final[Mapping[str, frozenset[str]]] = {
    "store.contract": frozenset(),
    "store.shared": frozenset({"asyncio"}),
    "store.sqlite": frozenset({"asyncio", "sqlite3", "aiosqlite"}),
    "store.postgres": frozenset({"asyncio", "asyncpg"}),
    "store.open": frozenset(),
}
# Work repeated in the background is something that stores have, servers tell of and nobody else
# has to know how to run.
MORE_FRAMEWORKS: Final[Mapping[str, frozenset[str]]] = {"core.periodic": frozenset({"asyncio"})}
# All that the SQLite engine may know of the rest of the program.
ENGINE: Final = "store.sqlite.engine"
KNOWN_TO_ENGINE: Final = frozenset({"core.errors"})


def find_modules() -> dict[str, Path]:
    modules = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return modules


MODULES: Final = find_modules()
# The package's version, and the module by which Python runs a package.
OUTSIDE: Final = {"": set[str](), "__main__": {"cli.main"}}


def imports_in(source: str, package: str) -> Iterator[str]:
    """Yield what code in `package` imports, wherever in it and by whatever means.

    Modules of chunkstore are named from its root on, "" being that root.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                yield from (_from_root(alias.name) for alias in aliases)
            case ast.ImportFrom(module=base, names=aliases, level=level):
                outer = ["chunkstore", *filter(None, package.split("."))]
                parts = outer[: len(outer) - level + 1] if level else []
                module = ".".join([*parts, *([base] if base else [])])
                for alias in aliases:
                    inner = _from_root(f"{module}.{alias.name}")
                    yield inner if inner in MODULES else _from_root(module)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield _from_root(name)


def _from_root(name: str) -> str:
    top, _, rest = name.partition(".")
    return rest if top == "chunkstore" else f"/{name}"


def lies_in(module: str, folder: str) -> bool:
    return module == folder or module.startswith(f"{folder}.")


def floor_of(module: str, folder: str) -> tuple[int, str] | None:
    """Return the floor of `folder` that a module is on, and its room there."""
    if not lies_in(module, folder) or module == folder:
        return None
    room = module.removeprefix(f"{folder}.").partition(".")[0]
    floors = ROOMS[folder]
    named = room if any(room in floor for floor in floors) else ""
    return next((at, named) for at, floor in enumerate(floors) if named in floor)


def frameworks_of(module: str) -> frozenset[str]:
    layer = module.partition(".")[0]
    rows = {**LAYERS, **FEWER_FRAMEWORKS, **MORE_FRAMEWORKS}
    return rows[max((row for row in rows if lies_in(module, row)), key=len, default=layer)]


def violations_in(module: str, source: str) -> list[str]:
    """Return the imports in `source`, as that of `module`, that its place does not allow."""
    is_package = module in MODULES and MODULES[module].name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    return [
        imported.removeprefix("/")
        for imported in imports_in(source, package)
        if not _is_allowed(module, imported)
    ]


def _is_allowed(module: str, imported: str) -> bool:
    if imported.startswith("/"):
        top = imported[1:].partition(".")[0]
        return top not in FRAMEWORKS or top in frameworks_of(module)
    if imported == "":
        return True  # The version, and what `import chunkstore` alone can mean.
    if lies_in(module, ENGINE) and not lies_in(imported, ENGINE):
        return imported in KNOWN_TO_ENGINE
    layers = list(LAYERS)
    own, other = module.partition(".")[0], imported.partition(".")[0]
    if other not in LAYERS or layers.index(other) > layers.index(own):
        return False
    if own in BESIDE and other not in {own, *BESIDE[own]}:
        return False
    if module == own:
        return True  # What a layer offers as a whole is named in its `__init__`.
    for folder in ROOMS:
        here, there = floor_of(module, folder), floor_of(imported, folder)
        if here is not None and there is not None and here != there and here[0] <= there[0]:
            return False
    return True


@pytest.mark.parametrize("module", sorted(MODULES.keys() - OUTSIDE.keys()))
def test_every_module_lies_in_a_layer_and_imports_point_downward(module: str) -> None:
    assert module.partition(".")[0] in LAYERS
    assert violations_in(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("module", "allowed"), OUTSIDE.items())
def test_what_lies_in_no_layer_imports_next_to_nothing(module: str, allowed: set[str]) -> None:
    assert set(imports_in(MODULES[module].read_text(encoding="utf-8"), "")) - {"/__future__"} == (
        allowed
    )


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {}
    for module, path in MODULES.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        imported = set(imports_in(path.read_text(encoding="utf-8"), package))
        graph[module] = {name for name in imported if name in MODULES and name}
    TopologicalSorter(graph).prepare()


def test_no_row_is_without_a_module() -> None:
    rows = [*LAYERS, *BESIDE, *ROOMS, *FEWER_FRAMEWORKS, *MORE_FRAMEWORKS, ENGINE, *KNOWN_TO_ENGINE]
    for folder, floors in ROOMS.items():
        rows += [f"{folder}.{room}" for floor in floors for room in floor if room]
    for row in rows:
        assert any(lies_in(module, row) for module in MODULES), row


@pytest.mark.parametrize(
    ("module", "source", "violation"),
    [
        ("core.digest", "import asyncio", "asyncio"),
        ("core.digest", "import os, sqlite3 as s", "sqlite3"),
        ("core.digest", "import aiohttp.web", "aiohttp.web"),
        ("core.digest", "from aiohttp import web", "aiohttp"),
        ("core.digest", "from chunkstore.service.memory import Use", "service.memory"),
        ("core.digest", "from chunkstore import service", "service"),
        ("core.digest", "from .. import service", "service"),
        ("core.digest", "from ..store.contract.store import Store", "store.contract.store"),
        ("core.digest", "def f():\n    import chunkstore.service.memory", "service.memory"),
        ("core.digest", "if TYPE_CHECKING:\n    from aiosqlite import Row", "aiosqlite"),
        ("core.digest", "import_module('chunkstore.cli.main')", "cli.main"),
        ("core.digest", "importlib.import_module('chunkstore.cli.main')", "cli.main"),
        ("core.digest", "from chunkstore.elsewhere import a", "elsewhere"),
        ("store.contract.store", "import asyncio", "asyncio"),
        ("store.contract.store", "from ..sqlite import store", "store.sqlite.store"),
        ("store.contract.store", "from ..shared import pins", "store.shared.pins"),
        ("store.shared.queries", "import sqlite3", "sqlite3"),
        ("store.sqlite.store", "from chunkstore.service.service import S", "service.service"),
        ("store.sqlite.tree", "import chunkstore.store.open", "store.open"),
        ("store.sqlite.tree", "from ..postgres import store", "store.postgres.store"),
        ("store.sqlite.engine.writer", "from .. import tree", "store.sqlite.tree"),
        ("store.sqlite.engine.writer", "from chunkstore.core.names import A", "core.names"),
        ("store.postgres.tree", "from chunkstore.store.sqlite import tree", "store.sqlite.tree"),
        ("store.postgres.store", "import sqlite3", "sqlite3"),
        ("service.service", "import asyncpg", "asyncpg"),
        ("service.service", "from chunkstore.http import app", "http.app"),
        ("service.memory", "from .resumable import leases", "service.resumable.leases"),
        ("service.transfer.walk", "from ..maintenance import scrub", "service.maintenance.scrub"),
        ("http.app", "from chunkstore.server.config import ServeConfig", "server.config"),
        ("http.app", "import click", "click"),
        ("http.runtime.runner", "from ..message import bodies", "http.message.bodies"),
        ("http.native.files", "from ..resumable import ietf", "http.resumable.ietf"),
        ("http.security.csrf", "from ..app import create_app", "http.app"),
        ("server.process", "import chunkstore.cli.main", "cli.main"),
        ("server.process", "import click", "click"),
        ("server.process", "import chunkstore.client.errors", "client.errors"),
        ("client.errors", "import aiohttp", "aiohttp"),
        (
            "client.errors",
            "from chunkstore.store.contract.store import Store",
            "store.contract.store",
        ),
    ],
)
def test_an_import_that_points_upward_is_found(module: str, source: str, violation: str) -> None:
    assert violations_in(module, source) == [violation]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.digest", "import hashlib\nfrom blake3 import blake3\nfrom .errors import NotFound"),
        (
            "store.sqlite.store",
            "import chunkstore\nfrom . import tree\nfrom ..shared import pins",
        ),
        ("store.sqlite.store", "from chunkstore.store.sqlite.engine import writer"),
        ("http.app", "from chunkstore.http.native import files\nimport aiohttp"),
        ("http", "from .app import create_app"),
        ("core.periodic", "import asyncio"),
    ],
)
def test_an_import_that_points_downward_is_none(module: str, source: str) -> None:
    assert violations_in(module, source) == []
