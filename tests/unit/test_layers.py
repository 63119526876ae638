"""Imports point downward: each part knows only what lies below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import chunkstore

ROOT = Path(chunkstore.__file__).parent
# What ties a module to an event loop, a protocol, a database or a terminal.
FRAMEWORKS = {"asyncio", "aiohttp", "sqlite3", "aiosqlite", "asyncpg", "click"}


class Layer(NamedTuple):
    """`modules` (`.*`: all below), the layers and the FRAMEWORKS they may import."""

    modules: str
    layers: str = ""
    frameworks: str = ""


# From the bottom to the top. A new module must be given its place here.
LAYERS = {
    "version": Layer("chunkstore"),
    "pure": Layer(
        "errors digest chunking compression manifest names ranges conditional units"
        " media_types local_files limits allocator hosts",
        layers="pure",
    ),
    "memory": Layer("memory", frameworks="asyncio"),
    "periodic": Layer("periodic", layers="pure", frameworks="asyncio"),
    "queries": Layer("store store.queries"),
    "contract": Layer("store.base store.reports store.uploads", layers="pure periodic contract"),
    "shared": Layer(
        "store.chunks store.holds store.records store.rollup store.times",
        layers="pure contract shared",
        frameworks="asyncio",
    ),
    "sqlite": Layer(
        "store.sqlite store.sqlite.*",
        layers="version pure queries contract shared sqlite",
        frameworks="asyncio sqlite3 aiosqlite",
    ),
    "postgres": Layer(
        "store.postgres store.postgres.*",
        layers="version pure periodic queries contract shared postgres",
        frameworks="asyncio asyncpg",
    ),
    "presentation": Layer("presentation", layers="pure periodic contract"),
    "open": Layer("store.open", layers="pure contract sqlite postgres"),
    "service": Layer(
        "service windows collect scrub export imports walking copying leases appending finishing"
        " uploads",
        layers="pure memory periodic contract service",
        frameworks="asyncio",
    ),
    "http": Layer(
        "http http.*",
        layers="pure memory periodic contract presentation service http",
        frameworks="asyncio aiohttp",
    ),
    "config": Layer("config", layers="pure"),
    "running": Layer("running", layers="pure open", frameworks="asyncio"),
    "server": Layer(
        "server",
        layers="pure periodic contract open service http config",
        frameworks="asyncio aiohttp",
    ),
    "workers": Layer("workers", layers="pure config server running"),
    "options": Layer("options", layers="pure", frameworks="click"),
    "administration": Layer(
        "administration",
        layers="pure memory contract presentation open service options running",
        frameworks="asyncio click",
    ),
    "cli": Layer(
        "cli",
        layers="version pure memory open service config server workers options running"
        " administration",
        frameworks="click",
    ),
    "program": Layer("__main__", layers="cli"),
}


def find_modules() -> dict[str, Path]:
    modules = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


MODULES = find_modules()


def layers_of(module: str) -> list[str]:
    """Return the rows that `module` is in, of which there should be one."""
    return [
        layer
        for layer, row in LAYERS.items()
        if any(lies_in(module, pattern) for pattern in row.modules.split())
    ]


def lies_in(module: str, pattern: str) -> bool:
    full = pattern if pattern == "chunkstore" else f"chunkstore.{pattern}"
    return module.startswith(full[:-1]) if full.endswith(".*") else module == full


def imports_in(source: str, package: str) -> Iterator[str]:
    """Yield the modules that code in `package` imports, wherever in it and by whatever means."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.ImportFrom(module=base, names=aliases, level=level):
                yield from imports_from(base, aliases, package, level)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def imports_from(
    base: str | None, aliases: list[ast.alias], package: str, level: int
) -> Iterator[str]:
    outer = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    source = ".".join([*outer, *([base] if base else [])])
    for alias in aliases:
        submodule = f"{source}.{alias.name}"
        yield submodule if submodule in MODULES else source


def violations_in(module: str, source: str) -> list[str]:
    """Return the imports in `source`, as that of `module`, that its row does not allow."""
    is_package = module in MODULES and MODULES[module].name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    [own] = layers_of(module)
    allowed = LAYERS[own]
    violations = []
    for imported in imports_in(source, package):
        top = imported.partition(".")[0]
        if top == "chunkstore":
            permitted = set(layers_of(imported)) & set(allowed.layers.split())
        else:
            permitted = {top} - FRAMEWORKS | {top} & set(allowed.frameworks.split())
        if not permitted:
            violations.append(imported)
    return violations


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_is_in_one_row_of_the_table(module: str) -> None:
    assert len(layers_of(module)) == 1


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_points_upward(module: str) -> None:
    assert violations_in(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_every_row_has_a_module_and_knows_only_rows_above_it_in_the_table(layer: str) -> None:
    rows = list(LAYERS)
    assert any(layer in layers_of(module) for module in MODULES)
    assert set(LAYERS[layer].layers.split()) <= set(rows[: rows.index(layer) + 1])
    assert set(LAYERS[layer].frameworks.split()) <= FRAMEWORKS


@pytest.mark.parametrize(
    ("module", "source", "violation"),
    [
        ("digest", "import asyncio", "asyncio"),
        ("digest", "import os, sqlite3 as s", "sqlite3"),
        ("digest", "import aiohttp.web", "aiohttp.web"),
        ("digest", "from aiohttp import web", "aiohttp"),
        ("digest", "from chunkstore.memory import MemoryBudget", "chunkstore.memory"),
        ("digest", "from chunkstore import service", "chunkstore.service"),
        ("digest", "from . import service", "chunkstore.service"),
        ("digest", "from .store.base import Store", "chunkstore.store.base"),
        ("digest", "def f():\n    import chunkstore.service", "chunkstore.service"),
        ("digest", "if TYPE_CHECKING:\n    from aiosqlite import Row", "aiosqlite"),
        ("digest", "import_module('chunkstore.cli')", "chunkstore.cli"),
        ("digest", "importlib.import_module('chunkstore.cli')", "chunkstore.cli"),
        ("digest", "from chunkstore import new_module", "chunkstore"),
        ("memory", "from chunkstore.errors import TooLarge", "chunkstore.errors"),
        ("store.base", "import asyncio", "asyncio"),
        ("store.base", "from .sqlite import store", "chunkstore.store.sqlite.store"),
        ("store.queries", "import sqlite3", "sqlite3"),
        ("store.sqlite.store", "from chunkstore.service import Service", "chunkstore.service"),
        ("store.sqlite.tree", "import chunkstore.store.open", "chunkstore.store.open"),
        ("store.sqlite.store", "from ... import service", "chunkstore.service"),
        (
            "store.sqlite.tree",
            "from ..postgres import store",
            "chunkstore.store.postgres.store",
        ),
        (
            "store.postgres.tree",
            "from chunkstore.store.sqlite import tree",
            "chunkstore.store.sqlite.tree",
        ),
        ("store.postgres.store", "import sqlite3", "sqlite3"),
        ("service", "import asyncpg", "asyncpg"),
        ("service", "from chunkstore.http import app", "chunkstore.http.app"),
        ("service", "import sqlite3", "sqlite3"),
        ("http.app", "from chunkstore.store.sqlite import store", "chunkstore.store.sqlite.store"),
        ("http.app", "from chunkstore.store.open import open_store", "chunkstore.store.open"),
        ("http.app", "from chunkstore.config import ServeConfig", "chunkstore.config"),
        ("http", "from ..server import serve", "chunkstore.server"),
        ("server", "import chunkstore.cli", "chunkstore.cli"),
    ],
)
def test_an_import_that_points_upward_is_found(module: str, source: str, violation: str) -> None:
    assert violations_in(f"chunkstore.{module}", source) == [violation]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("digest", "import hashlib\nfrom blake3 import blake3\nfrom .errors import NotFound"),
        ("store.sqlite.store", "import chunkstore\nfrom . import tree\nfrom .. import base"),
        ("http.app", "from chunkstore.http import files\nfrom . import lists\nimport aiohttp"),
        ("http", "from .app import create_app"),
    ],
)
def test_an_import_that_points_downward_is_none(module: str, source: str) -> None:
    assert violations_in(f"chunkstore.{module}", source) == []


@pytest.mark.parametrize("module", ["chunkstore.new", "chunkstore.store.new", "chunkstore.https"])
def test_a_module_in_no_row_is_found(module: str) -> None:
    assert layers_of(module) == []
