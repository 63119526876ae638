"""ARCHITECTURE.md stays true where a machine can tell: what it names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final, get_type_hints

import pytest

from chunkstore.store.contract.chunks import Chunks
from chunkstore.store.contract.store import Store
from tests.unit.test_layers import BESIDE, LAYERS

_ROOT: Final = Path(__file__).parents[2]
_DOCUMENT: Final = (_ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE: Final = tuple(sorted(set(re.findall(r"`([^`\n]+)`", _FENCE.sub("", _DOCUMENT)))))
_LINKS: Final = tuple(sorted(set(re.findall(r"\]\(([^)\s]+)\)", _DOCUMENT))))
_SUFFIXES: Final = ("", ".py", ".sql", ".js")
_FILES: Final = frozenset({".py", ".sql", ".md", ".js", ".sh", ".toml"})
_IDENTIFIER: Final = re.compile(r"\*?[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\*?")
_FOLDERS: Final = ("chunkstore", "tests", "docs", "deploy")
# More are more than one person keeps in mind, and a backend has to write each of them.
_MOST_METHODS: Final = 19
_MOST_METHODS_OF_CHUNKS: Final = 9


@cache
def _paths() -> tuple[str, ...]:
    """Return all paths of the project, those of folders with a slash at the end."""
    found = [
        path
        for folder in _FOLDERS
        for path in (_ROOT / folder).rglob("*")
        if "__pycache__" not in path.parts
    ]
    found += [path for path in _ROOT.iterdir() if path.is_file()]
    names = (f"{path.relative_to(_ROOT).as_posix()}{'/' * path.is_dir()}" for path in found)
    return (*names, *(f"{folder}/" for folder in _FOLDERS))


def _is_path(text: str) -> bool:
    """Whether a path of the project ends so, in whole parts; `-N` stands for any number."""
    pattern = re.sub(r"-N\b", "-*", text)
    ends = {f"{pattern}{suffix}" for suffix in _SUFFIXES}
    return any(fnmatch(path, end) or fnmatch(path, f"*/{end}") for path in _paths() for end in ends)


@cache
def _names() -> frozenset[str]:
    """Return what the program defines: `name`, `Class.name`, modules, tables, columns, queries."""
    names: set[str] = set()
    for path in (_ROOT / "chunkstore").rglob("*.py"):
        names.add(path.stem)
        names.update(_names_in(ast.parse(path.read_text(encoding="utf-8"))))
    for path in (_ROOT / "chunkstore").rglob("*.sql"):
        names.update(re.findall(r"^-- name: (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    for path in (_ROOT / "chunkstore").rglob("*schema.sql"):
        script = path.read_text(encoding="utf-8")
        names.update(re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE))
        names.update(re.findall(r"^    ([a-z_]+) [a-zA-Z]", script, re.MULTILINE))
    return frozenset(names)


def _names_in(tree: ast.AST, within: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef(name=name):
                yield f"{within}{name}"
                yield from _names_in(node, f"{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield from {name, f"{within}{name}"}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield from {name, f"{within}{name}"}


@cache
def _texts() -> str:
    """Return all that the program consists of, without white space."""
    texts = (
        path.read_text(encoding="utf-8")
        for path in (_ROOT / "chunkstore").rglob("*")
        if path.suffix in {".py", ".sql", ".js", ".html"}
    )
    return re.sub(r"\s+", "", "".join(texts))


def _options() -> set[str]:
    scripts = (path.read_text(encoding="utf-8") for path in (_ROOT / "chunkstore/cli").glob("*.py"))
    return {option for script in scripts for option in re.findall(r'"(--[a-z-]+)', script)}


def _exists(text: str) -> bool:
    if text.startswith("--"):
        return text in _options()
    text = text.replace("NAME_", "*_")
    if " " not in text and ("/" in text or PurePosixPath(text).suffix in _FILES):
        return _is_path(text)
    if _IDENTIFIER.fullmatch(text) and text[0].isupper() and not text.isupper():
        return text in _names() or text in _texts()
    if _IDENTIFIER.fullmatch(text):
        return any(fnmatch(name, text) for name in _names())
    return re.sub(r"\s+", "", text) in _texts()


@pytest.mark.parametrize("text", _CODE)
def test_what_is_named_in_code_exists(text: str) -> None:
    assert _exists(text)


@pytest.mark.parametrize(
    "text",
    [
        "--no-such-option",
        "store/contract/nowhere",
        "nowhere/",
        "nowhere.sql",
        "ract/edits",
        "NoSuchClass",
        "Names.no_such_method",
        "no_such_function",
        "no_such_*",
        "No-Such-Header-At-All: 1",
    ],
)
def test_what_does_not_exist_is_found(text: str) -> None:
    assert not _exists(text)


@pytest.mark.parametrize("link", _LINKS)
def test_links_lead_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    target = _ROOT / path if path else _ROOT / "ARCHITECTURE.md"
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {_anchor_of(heading) for heading in headings}


def _anchor_of(heading: str) -> str:
    """Return the anchor that hosting sites give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_layers_are_drawn_as_they_are() -> None:
    drawings = [text for language, text in _FENCE.findall(_DOCUMENT) if language == "mermaid"]
    [layers] = [drawing for drawing in drawings if drawing.startswith("flowchart")]
    edges = re.findall(r"(\w+)(?:\[[^]]*\])? --> (\w+)", layers)
    chain = list(pairwise(layer for layer in reversed(list(LAYERS)) if layer not in BESIDE))
    beside = [(name, below) for name, all_below in BESIDE.items() for below in all_below]
    assert edges == [*chain, *(("cli", name) for name in BESIDE), *beside]


def test_the_contract_is_narrow() -> None:
    interfaces = [
        get_type_hints(getattr(Store, part).fget)["return"]
        for part in ("names", "contents", "uploads", "maintenance")
    ]
    methods = [
        f"{interface.__name__}.{method}"
        for interface in interfaces
        for method in sorted(interface.__abstractmethods__)
    ]
    assert len(methods) <= _MOST_METHODS, methods
    assert len(Chunks.__abstractmethods__) <= _MOST_METHODS_OF_CHUNKS


def test_the_table_of_the_waist_has_each_interface_of_a_store() -> None:
    section = _DOCUMENT.split("## The waist")[1].split("\n## ")[0]
    parts = Store.__abstractmethods__ - {"close"}
    interfaces = {get_type_hints(getattr(Store, part).fget)["return"].__name__ for part in parts}
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == interfaces
