"""Documents name nothing that is not there: options, endpoints, statuses, types, files, tests."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import click
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

import chunkstore
from chunkstore.cli import main
from chunkstore.core.units import parse_duration_seconds, parse_size
from chunkstore.http import create_app
from chunkstore.http.message.problems import PROBLEMS
from chunkstore.service.representations import stats_to_json
from chunkstore.store.contract.reports import ScrubReport, Stats
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.uploads import NOTHING
from tests.documents.blocks import DOCUMENTS, ROOT, all_sections

_TEXTS: Final = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
_PROSE: Final = {
    path: re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for path, text in _TEXTS.items()
}
_CLI: Final = "".join(
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("cli.md", "client.md")
)
_HTTP: Final = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
_OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_SECURITY: Final = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
_TESTS: Final = sorted(set(re.findall(r"`([\w/]+/test_\w+\.py)(?:::(\w+))?`", _SECURITY)))
_OPTION: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


[PROGRAM] = [value for value in vars(main).values() if isinstance(value, click.Group)]


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of the command line by their names."""
    context = click.Context(PROGRAM)
    for name in PROGRAM.list_commands(context):
        found = PROGRAM.get_command(context, name)
        assert found is not None
        yield name, found


COMMANDS: Final = dict(all_commands())


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command by each of their names."""
    options = [param for param in command.params if isinstance(param, click.Option)]
    return {name: one for one in options for name in (*one.opts, *one.secondary_opts)}


def options_within(command: click.Command) -> set[str]:
    """Return the names of the options of a command, or of all commands of a group."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return {*options_of(command), *(name for one in inner for name in options_within(one))}


OPTIONS: Final = {name for one in COMMANDS.values() for name in options_within(one)} | {"--help"}
# Settings that are no option's.
SETTINGS: Final = {"CHUNKSTORE_URL", "CHUNKSTORE_TOKEN"}


def rows(text: str, head: str) -> list[list[str]]:
    """Return the cells of the tables whose first row is `head`."""
    found = []
    for table in re.findall(
        rf"^\| {re.escape(head)} \|\n\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE
    ):
        found += [
            [cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()
        ]
    assert found, head
    return found


# The command line


def sections_of_commands() -> dict[str, str]:
    parts = re.split(r"^## chunkstore ([\w-]+)$", _CLI, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_command_has_its_section_and_its_line() -> None:
    listed = re.findall(r"^\| \[`([\w-]+)`\]", _CLI, re.MULTILINE)
    assert sorted(listed) == sorted(sections_of_commands()) == sorted(COMMANDS)


def documented_options(name: str) -> Iterator[tuple[list[str], str]]:
    """Yield the names and the default of each option in the section of a command."""
    section = sections_of_commands()[name]
    if "| option |" in section:
        for line in rows(section, "option | default | meaning"):
            if not line[0].startswith("**"):
                yield re.findall(r"-[\w-]+", line[0]), line[1].strip("`")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_its_line(name: str) -> None:
    listed = [option for names, _ in documented_options(name) for option in names]
    assert sorted(listed) == sorted(options_of(COMMANDS[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_are_those_of_the_program(name: str) -> None:
    context = COMMANDS[name].make_context(name, [], resilient_parsing=True)
    for names, told in documented_options(name):
        option = options_of(COMMANDS[name])[names[0]]
        assert option.name is not None
        default = context.params[option.name]
        if option.is_flag and default is not None:
            assert told == ("on" if default else "off"), names
        elif default in (None, (), ""):
            assert told in (
                "none", "no bound", "the root", "the store's, or 256KiB", "the store's, or off",
            ), names  # fmt: skip
        else:
            assert option.type.convert(told, option, context) == default, names


def named_in(*documents: Path) -> list[str]:
    """Return what some documents have between backquotes."""
    found = {span for path in documents for span in re.findall(r"`([^`]+)`", _PROSE[path])}
    return sorted(" ".join(span.split()) for span in found)


ABOUT_BENCHMARKS: Final = (ROOT / "docs" / "performance.md", ROOT / "benchmarks" / "README.md")
ABOUT_CHUNKSTORE: Final = [path for path in DOCUMENTS if path not in ABOUT_BENCHMARKS]
# Of the tests of docs/reliability.md, each of which names its own.
TEST_OPTIONS: Final = {
    name
    for path in (ROOT / "tests").rglob("options.py")
    for name in re.findall(r'"(--[a-z-]+)"', path.read_text(encoding="utf-8"))
}


def test_options_that_documents_name_exist() -> None:
    spans = named_in(*ABOUT_CHUNKSTORE)
    assert "--allow-host" in spans
    for span in spans:
        if span.startswith("--"):
            assert set(_OPTION.findall(span)) <= OPTIONS | TEST_OPTIONS, span
    for line in [*spans, *(line for section in all_sections() for line in section.commands)]:
        for name, arguments in re.findall(r"\bchunkstore ([\w-]+)((?: +[^|&;]+)?)", line):
            if name in COMMANDS:
                assert set(_OPTION.findall(arguments)) <= options_within(COMMANDS[name]), line


def test_options_of_benchmarks_and_tests_exist() -> None:
    for span in named_in(*DOCUMENTS):
        options = {f'"{option}"' for option in _OPTION.findall(span)}
        if match := re.match(r"python -m (benchmarks[\w.]*)", span):
            assert all(option in source_of(match[1]) for option in options), span
        elif span.startswith(("pytest ", "python -m tests.crash")):
            assert set(_OPTION.findall(span)) <= TEST_OPTIONS, span


def source_of(module: str) -> str:
    """Return the source of a benchmark."""
    place = ROOT / module.replace(".", "/")
    return (place / "run.py" if place.is_dir() else place.with_suffix(".py")).read_text()


def test_settings_that_documents_name_exist() -> None:
    own = {str(one.envvar) for each in COMMANDS.values() for one in options_of(each).values()}
    settings = {f"{name}{suffix}" for name in own for suffix in ("", "_FILE")}
    named = {name for text in _TEXTS.values() for name in re.findall(r"CHUNKSTORE_[A-Z_]+", text)}
    assert named
    assert named <= settings | SETTINGS


def test_limits_are_the_defaults_of_their_options() -> None:
    serve = options_of(COMMANDS["serve"])
    count = 0
    for _, value, *told in rows(_OPERATIONS, "limit | value | option"):
        if told and "," not in told[0] and told[0] and value != "none":
            option = serve[told[0].strip("`")]
            default = option.type_cast_value(click.Context(COMMANDS["serve"]), option.default)
            assert parsed(value) == default, told
            count += 1
    assert count >= 4


def parsed(text: str) -> float:
    """Return the number that a person reads in a table."""
    if text.endswith(" hours"):
        return parse_duration_seconds(text.removesuffix(" hours") + "h")
    return parse_size(text.replace(",", "")) if " " in text else float(text.replace(",", ""))


def test_messages_that_documents_quote_are_those_of_the_program() -> None:
    source = "".join(path.read_text() for path in (ROOT / "chunkstore").rglob("*.py"))
    section = _OPERATIONS.partition("## When something is wrong")[2].partition("\n## ")[0]
    quoted = re.findall(r'"([^"`]+)"', section)
    assert len(quoted) >= 3
    for message in quoted:
        for part in message.split(" … "):
            assert part in source, message


# HTTP


def problems() -> set[tuple[int, str]]:
    """Return status and type of every problem that the program names, wherever it does."""
    found = set(PROBLEMS.values())
    kind = type(next(iter(found)))
    for module in pkgutil.walk_packages(chunkstore.__path__, "chunkstore."):
        if module.name != "chunkstore.__main__":
            values = vars(importlib.import_module(module.name)).values()
            found |= {value for value in values if isinstance(value, kind)}
    told = {(int(problem.status), problem.registered or problem.slug) for problem in found}
    for path in (ROOT / "chunkstore" / "http").rglob("*.py"):
        for status, slug in re.findall(
            r'Problem\(\s*HTTPStatus\.(\w+), "([\w-]+)"', path.read_text()
        ):
            if not any(slug == problem.slug for problem in found):
                told.add((int(HTTPStatus[status]), slug))
    return told


def test_each_problem_has_its_line() -> None:
    listed = {
        (int(status), slug.strip("`"))
        for status, slugs, _ in rows(_HTTP, "status | type | when")
        for slug in slugs.split(", ")
    }
    assert listed == problems()


def test_statuses_that_documents_name_are_answered() -> None:
    source = "".join(path.read_text() for path in (ROOT / "chunkstore" / "http").rglob("*.py"))
    answered = {int(HTTPStatus[name]) for name in re.findall(r"HTTPStatus\.([A-Z_]+)", source)}
    # Of the framework; of the draft, which is newer than Python's list; of nginx.
    answered |= {status for status, _ in problems()} | {101, 104, 301}
    pattern = re.compile(
        r"(?:\(|is |are |answered |status |gets? )([1-5]\d\d)(?![\w,]|\.\d| [KMG]i?B)"
    )
    named = {
        int(status)
        for path, text in _PROSE.items()
        if path.name != "performance.md" and path.parent.name != "benchmarks"
        for status in pattern.findall(text)
    }
    assert {404, 421, 507} <= named
    assert named <= answered


def test_media_types_that_documents_name_are_known() -> None:
    source = "".join(path.read_text() for path in (ROOT / "chunkstore").rglob("*.py"))
    named = {name for name in named_in(*DOCUMENTS) if re.fullmatch(r"application/[\w.+-]+", name)}
    for text in _TEXTS.values():
        named |= set(re.findall(r"Content-Type: ([\w/.+-]+)", text))
    assert named
    for name in named:
        # Alone, or with parameters.
        assert re.search(rf"[\"']{re.escape(name)}[\"';]", source), name


@pytest.fixture
def methods_of(store: Store) -> Callable[[str], set[str]]:
    """Return what tells which methods a path of the server has."""
    router = create_app(store).router

    def methods_of(path: str) -> set[str]:
        for resource in router.resources():
            route = next(iter(resource))
            if not resource.canonical.startswith("/{path") and matches(resource, path):
                assert route is not None
                return {route.method for route in resource}
        return set()

    return methods_of


def matches(resource: web.AbstractResource, path: str) -> bool:
    """Whether a resource is the one of this path."""
    assert isinstance(resource, web.Resource)
    return resource._match(make_mocked_request("GET", path).path) is not None


async def test_endpoints_that_documents_name_exist(methods_of: Callable[[str], set[str]]) -> None:
    named = {
        name
        for name in named_in(*DOCUMENTS)
        if re.match(r"/(?:health|stats|uploads|files)(?:/|\Z)", name)
    }
    assert {"/health/ready", "/stats", "/uploads"} <= named
    for name in named - {"/%66iles/", "/files/private"}:
        path = re.sub(r"\{\w+\}", "a", name).replace("[", "").replace("]", "")
        assert methods_of(path), name


async def test_requests_of_the_table_are_possible(methods_of: Callable[[str], set[str]]) -> None:
    count = 0
    for cell, *_ in rows(_HTTP, "request | answer"):
        for path in re.findall(r"(/\S+)`", cell):
            methods = re.findall(r"\b[A-Z]{3,}\b", cell)
            if not cell.startswith("`/uploads"):
                path = re.sub(r"\{\w+\}", "a", path).replace("[", "").replace("]", "")
                assert set(methods) <= methods_of(path) | methods_of("/stats"), cell
                count += 1
    assert count >= 8


def test_each_figure_has_its_line() -> None:
    report = ScrubReport(datetime.now(UTC), datetime.now(UTC), 0, 0, 0)
    stats = Stats(0, 0, 0, 0, 0, 0, 0, None, 0, 0, NOTHING, report, {})
    section = _OPERATIONS.partition("The fields of `/stats`")[2]
    listed = [cell.strip("`") for cell, *_ in rows(section, "field | meaning")]
    assert listed == list(stats_to_json(stats, []))


# What documents say of each other, and of tests


def test_the_test_command_is_where_ci_takes_it_from() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert """grep -m 1 -F "'.[dev]'" README.md""" in script
    found = next(line for line in _TEXTS[ROOT / "README.md"].splitlines() if "'.[dev]'" in line)
    assert found == (
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest"
    )


def anchors(path: Path) -> set[str]:
    """Return the fragments by which a page of GitHub's is linked to."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            target, _, anchor = link.partition("#")
            file = (path.parent / target).resolve() if target else path
            assert file.exists(), link
            assert not anchor or anchor in anchors(file), link


def test_each_document_is_linked_to() -> None:
    sources = [*DOCUMENTS, ROOT / "ARCHITECTURE.md"]
    links = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in sources
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    }
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= links


@pytest.mark.parametrize(("module", "test"), _TESTS)
def test_what_is_said_to_be_defended_is_tested(module: str, test: str) -> None:
    source = (ROOT / "tests" / module).read_text(encoding="utf-8")
    assert not test or f"def {test}(" in source


def test_each_line_of_a_table_names_a_test() -> None:
    lines = [line for line in _SECURITY.splitlines() if line.startswith("| ")]
    rows = [line for line in lines if not line.startswith(("| what holds", "| ---"))]
    assert rows
    for row in rows:
        assert re.search(r"`[\w/]+/test_\w+\.py", row), row
