"""docs/access.md, the page on who may do what: each row of its tables is a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from chunkstore.core.access import ROLES, Verbs, parse_verbs
from chunkstore.service.access.arguments import parse_folder, parse_name
from chunkstore.service.access.people import People

_PAGE: Final = (Path(__file__).parents[3] / "docs" / "access.md").read_text(encoding="utf-8")


def rows_under(*heading: str) -> list[list[str]]:
    """Return the rows of the table that has this heading."""
    _, found, rest = _PAGE.partition(f"| {' | '.join(heading)} |\n")
    assert found
    table = rest.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


VERBS: Final = rows_under("verb", "what it allows")
ROLE_ROWS: Final = rows_under("role", "verbs")
RULES: Final = rows_under("subject", "folder", "rule")
RIGHTS: Final = rows_under("who", "with", "may")


def test_all_verbs_are_there() -> None:
    names = [verb.name.lower() for verb in Verbs if verb.name is not None]
    assert [verb.strip("`") for verb, _ in VERBS] == names


def test_all_roles_are_there() -> None:
    assert [role.strip("`") for role, _ in ROLE_ROWS] == list(ROLES)


@pytest.mark.parametrize(("role", "verbs"), ROLE_ROWS)
def test_a_role_has_the_verbs_of_its_row(role: str, verbs: str) -> None:
    assert parse_verbs(role.strip("`")) == parse_verbs(",".join(re.findall(r"`(\w+)`", verbs)))


@pytest.fixture
async def example(people: People) -> People:
    """Return those of the page's example."""
    for name in ("anna", "bert", "cleo", "dora"):
        await people.accounts.add(name, None)
    await people.accounts.add_group("hr")
    await people.accounts.join("hr", "bert")
    for row in RULES:
        subject, folder, rule = (cell.strip("`") for cell in row)
        await people.accounts.allow(subject, parse_folder(folder), parse_verbs(rule))
    return people


@pytest.mark.parametrize(("who", "name", "may"), RIGHTS)
async def test_somebody_may_do_what_the_page_says(
    example: People, who: str, name: str, may: str
) -> None:
    snapshot = await example.directory.current()
    account = None if who == "a guest" else snapshot.accounts[who]
    access = snapshot.guest if account is None else snapshot.access_of(account)
    assert access.verbs(parse_name(name.strip("`"))) == parse_verbs(may.strip("`"))
