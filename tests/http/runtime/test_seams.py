"""Private and undocumented names of aiohttp: which are used, where, and that they are there.

`docs/aiohttp.md` says what each is for, and what would do instead.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import aiohttp.web
import pytest
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from packaging.requirements import Requirement

import chunkstore.http

ROOT: Final = Path(chunkstore.http.__file__).parent
SEAMS: Final = ROOT / "runtime"
DOCUMENT: Final = ROOT.parent.parent / "docs" / "aiohttp.md"
PROJECT: Final = ROOT.parent.parent / "pyproject.toml"

# What is used of aiohttp that begins with an underscore, by the class that has it.
PRIVATE: Final[dict[type, set[str]]] = {
    aiohttp.web.AppRunner: {"_make_server"},
    aiohttp.web.BaseRequest: {"_version"},
    aiohttp.web.RequestHandler: {
        "_buffer_paused",
        "_parser",
        "_pause_transport_reading",
        "_reading_paused",
        "_resume_transport_reading",
        "_waiter",
    },
    aiohttp.web.Server: {"_kwargs"},
    aiohttp.web.StreamResponse: {"_send_headers_immediately"},
}
# What is used that has no underscore, and that no page of aiohttp's documentation names.
UNDOCUMENTED: Final[dict[type, set[str]]] = {
    AbstractStreamWriter: {"output_size"},
    aiohttp.StreamReader: {"feed_eof", "set_exception", "total_bytes"},
    StreamWriter: {"chunked", "drain"},
    aiohttp.web.BaseRequest: {"protocol", "writer"},
    aiohttp.web.RequestHandler: {
        "force_close",
        "handle_error",
        "log_exception",
        "peername",
        "writing_paused",
    },
    aiohttp.web.Server: {
        "connections",
        "handler_cancellation",
        "request_factory",
        "request_handler",
    },
}
# Modules that the documentation does not name, and what is imported of them.
MODULES: Final = {
    "aiohttp.http": {"StreamWriter"},
    "aiohttp.http_exceptions": {"BadHttpMethod", "HttpProcessingError", "LineTooLong"},
    "aiohttp.http_parser": {"HttpRequestParser", "RawRequestMessage"},
}
DOCUMENTED_MODULES: Final = {"aiohttp", "aiohttp.abc", "aiohttp.typedefs", "aiohttp.web"}
# Names of one of these, met on anything in the package, are taken for aiohttp's.
CLASSES: Final = (
    aiohttp.web.Application,
    aiohttp.web.AppRunner,
    aiohttp.web.Request,
    aiohttp.web.RequestHandler,
    aiohttp.web.Response,
    aiohttp.web.Server,
    aiohttp.StreamReader,
    StreamWriter,
)
# A documented method of answers has the same name.
ELSEWHERE_TOO: Final = {"force_close"}

TREES: Final = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}


def names_in(owner: type) -> set[str]:
    """Return the names of all that objects of a class have, those assigned in methods too."""
    names = set(dir(owner))
    for base in owner.__mro__[:-1]:
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue  # It is written in C.
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return names


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


AIOHTTP_PRIVATE: Final = {name for owner in CLASSES for name in names_in(owner) if is_private(name)}


def private_names_in(tree: ast.Module, module: str) -> Iterator[str]:
    """Yield the private names of aiohttp that a module uses or overrides.

    On `self`, a name is aiohttp's where the class derives from one of aiohttp's that has it.
    """
    namespace = importlib.import_module(module)
    own: set[ast.Attribute] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = getattr(namespace, node.name).__mro__[1:]
            framework = [base for base in bases if base.__module__.startswith("aiohttp.")]
            theirs = {name for base in framework for name in names_in(base)}
            for inner in ast.walk(node):
                match inner:
                    case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                        if is_private(name) and name in theirs:
                            yield name
                    case ast.Assign(targets=[ast.Name(id=name)]):
                        if is_private(name) and name in theirs:
                            yield name
                    case ast.Attribute(value=ast.Name(id="self"), attr=attr):
                        if attr not in theirs:
                            own.add(inner)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in own and node.attr in AIOHTTP_PRIVATE:
            yield node.attr


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent.parent).with_suffix("").parts)


def test_the_private_names_that_are_used_are_those_listed() -> None:
    used = {
        name for path, tree in TREES.items() for name in private_names_in(tree, module_of(path))
    }
    assert used == set().union(*PRIVATE.values())


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(ROOT)))
def test_outside_of_runtime_nothing_private_or_undocumented_is_used(path: Path) -> None:
    if path.is_relative_to(SEAMS):
        return
    tree = TREES[path]
    undocumented = set().union(*UNDOCUMENTED.values()) - ELSEWHERE_TOO
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert list(private_names_in(tree, module_of(path))) == []
    assert attributes & undocumented == set()
    assert {module for module, _ in imports_in(tree)} <= DOCUMENTED_MODULES


def imports_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what is imported of aiohttp: the module, and the name in it."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from ((alias.name, "") for alias in aliases if _is_aiohttp(alias.name))
            case ast.ImportFrom(module=str(module), names=aliases) if _is_aiohttp(module):
                yield from ((module, alias.name) for alias in aliases)


def _is_aiohttp(module: str) -> bool:
    return module == "aiohttp" or module.startswith("aiohttp.")


def test_the_undocumented_modules_that_are_used_are_those_listed() -> None:
    used: dict[str, set[str]] = {}
    for tree in TREES.values():
        for module, name in imports_in(tree):
            if module not in DOCUMENTED_MODULES:
                used.setdefault(module, set()).add(name)
    assert used == MODULES


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (owner, name)
        for names in (PRIVATE, UNDOCUMENTED)
        for owner in names
        for name in sorted(names[owner])
    ],
)
def test_aiohttp_has_each_name(owner: type, name: str) -> None:
    assert name in names_in(owner)


@pytest.mark.parametrize(("module", "names"), MODULES.items())
def test_aiohttp_has_each_module(module: str, names: set[str]) -> None:
    assert names <= set(dir(importlib.import_module(module)))


@pytest.mark.parametrize(
    "name",
    [
        *(name for names in PRIVATE.values() for name in sorted(names)),
        *(name for names in UNDOCUMENTED.values() for name in sorted(names)),
        *MODULES,
    ],
)
def test_the_document_says_what_each_is_for(name: str) -> None:
    assert f"`{name}`" in DOCUMENT.read_text(encoding="utf-8")


def test_only_the_minor_release_that_is_tested_is_allowed() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    requirements = map(Requirement, project["optional-dependencies"]["server"])
    [pinned] = [requirement for requirement in requirements if requirement.name == "aiohttp"]
    major, minor, patch = version("aiohttp").split(".")[:3]
    assert pinned.specifier.contains(f"{major}.{minor}.{patch}")
    assert not pinned.specifier.contains(f"{major}.{int(minor) + 1}.0")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("def f(request):\n    return request._message", "_message"),
        ("def f(app):\n    app._middlewares = ()", "_middlewares"),
        ("async def f(connection):\n    await connection._drain_helper()", "_drain_helper"),
    ],
)
def test_a_private_name_is_found(source: str, name: str) -> None:
    assert list(private_names_in(ast.parse(source), "chunkstore.http.app")) == [name]
