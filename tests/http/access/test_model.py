"""Random rules, names and requests against a model of the one page of `docs/access.md`."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

import pytest
from aiohttp.test_utils import TestClient
from multidict import CIMultiDict

from chunkstore.core.access import EVERYONE, NOTHING, Access, Grant, Rule, Rules, Verbs
from chunkstore.core.names import FileName, FolderName
from chunkstore.http import create_app
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import Bearer, Credentials, Principal, Via
from chunkstore.service.access.values import Account
from chunkstore.store.contract.edits import Delete, Edit, MakeFolder
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import Answer
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import exactly
from tests.store.conformance import put

LIST, READ, CREATE, WRITE = Verbs.LIST, Verbs.READ, Verbs.CREATE, Verbs.WRITE
DELETE = Verbs.DELETE
SEGMENTS: Final = ["a", "b", "a0", "a-"]
SETS: Final = [
    NOTHING, NOTHING, LIST, READ, CREATE, WRITE, DELETE, LIST | READ, LIST | READ | CREATE,
    CREATE | WRITE, LIST | READ | CREATE | WRITE | DELETE, LIST | DELETE,
]  # fmt: skip
Question: TypeAlias = tuple[str, str, bytes | None, dict[str, str]]
MODIFIED: Final = re.compile(rb'(modified": "|datetime="|modified=")[^"]*"[^<,}]*')
SUBJECTS: Final = [EVERYONE, "@g", "me"]


@dataclass
class Page:
    """The one page: what a subject may do is what the nearest rule above a name says."""

    rules: dict[tuple[str, str], Verbs]
    scope: dict[str, Verbs] | None
    guest: bool

    @property
    def subjects(self) -> list[str]:
        return [EVERYONE] if self.guest else SUBJECTS

    def verbs(self, name: str) -> Verbs:
        found = NOTHING
        for subject in self.subjects:
            found |= nearest({f: v for (s, f), v in self.rules.items() if s == subject}, name)
        return found if self.scope is None else found & nearest(self.scope, name)

    def below(self, folder: str) -> list[str]:
        """Return the folder, and all in which other rules may hold."""
        own = {f for s, f in self.rules if s in self.subjects} | set(self.scope or {})
        return [folder, *(f for f in own if f.startswith(folder))]

    def everywhere(self, folder: str) -> Verbs:
        found = self.verbs(folder)
        for one in self.below(folder):
            found &= self.verbs(one)
        return found

    def lists(self, folder: str) -> bool:
        return any(LIST in self.verbs(one) for one in self.below(folder))

    def sees(self, name: str) -> bool:
        folder = name if name.endswith("/") or not name else name + "/"
        return bool(self.verbs(name)) or any(self.verbs(one) for one in self.below(folder))

    def drops(self, name: str) -> bool:
        verbs = self.verbs(name)
        return CREATE in verbs and not verbs & (LIST | READ | WRITE)

    def puts(self, name: str) -> Verbs:
        """Return what of `create` and `write` there is, unless the folder of the name cuts it."""
        verbs = self.verbs(name)
        if verbs & (CREATE | WRITE | LIST | READ) & ~self.everywhere(name + "/"):
            return NOTHING
        return verbs & (CREATE | WRITE)

    def refusal(self, name: str) -> int:
        if self.guest:
            return 401
        return 403 if not name or self.sees(name) else 404

    def access(self) -> Access:
        rules = Rules(Rule(s, FolderName(f), v) for (s, f), v in self.rules.items())
        access = Access((Grant(rules, tuple(self.subjects)),))
        if self.scope is None:
            return access
        return access.narrowed([(FolderName(f), v) for f, v in self.scope.items()])


def nearest(rules: dict[str, Verbs], name: str) -> Verbs:
    above = [folder for folder in rules if name.startswith(folder)]
    return rules[max(above, key=len)] if above else NOTHING


@dataclass
class Tree:
    """What is there."""

    files: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)

    def is_folder(self, folder: str) -> bool:
        return any(one.startswith(folder) for one in self.files | self.made) or not folder

    def shown(self, page: Page, prefix: str) -> bool:
        """Whether a list shows something of what begins so."""
        if LIST in page.everywhere(prefix):
            return self.is_folder(prefix)
        return any(f.startswith(prefix) and LIST in page.verbs(f) for f in self.files) or any(
            m.startswith(prefix) and m != prefix and LIST in page.everywhere(m) for m in self.made
        )

    def listed(self, page: Page, folder: str) -> list[str]:
        inside = [one[len(folder) :] for one in self.files | self.made if one.startswith(folder)]
        children = {folder + one.partition("/")[0] + "/" for one in inside if "/" in one}
        files = [f for f in self.files if f.startswith(folder) and "/" not in f[len(folder) :]]
        return sorted(
            [f for f in files if LIST in page.verbs(f)]
            + [c for c in children if self.shown(page, c)]
        )


class Chosen(People):
    """People whose rights a test chooses; each is recognised by a token that is no other."""

    principal: Principal

    async def sign_in(self, credentials: Credentials, address: str) -> Principal:
        assert isinstance(credentials, Bearer) or self.principal.is_guest
        return self.principal

    async def access_now(self, principal: Principal) -> Access:
        return self.principal.access


@dataclass
class World:
    client: TestClient[Any, Any]
    store: Store
    people: Chosen
    account: Account
    is_as_was: bool = False

    async def ask(
        self, method: str, path: str, data: bytes | None = None, **headers: str
    ) -> Answer:
        fields = {} if self.people.principal.is_guest else {"Authorization": "Bearer t"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.request(
            method, exactly(path), data=data, headers=fields, allow_redirects=False
        )
        return await Answer.of(response)

    def become(self, page: Page) -> None:
        access = page.access()
        if page.guest:
            self.people.principal = Principal(access)
        else:
            self.people.principal = Principal(access, Via.TOKEN, self.account, self.account.id)

    async def tree(self) -> Tree:
        listing = await self.store.names.list(limit=10_000)
        tree = Tree({file.name for file in listing.files})
        folders = [""]
        while folders:
            folder = folders.pop()
            inside = await self.store.names.list(folder, delimiter="/", limit=10_000)
            folders += inside.folders
            tree.made.update(
                f for f in inside.folders if not any(n.startswith(f) for n in tree.files)
            )
        # One that was made, and in which something else is empty, may be implied by that.
        return tree

    async def put_back(self, tree: Tree) -> None:
        """Have the files of a tree there, and nothing else."""
        listing = await self.store.names.list(limit=10_000)
        if self.is_as_was and {file.name for file in listing.files} == tree.files:
            return
        await self.clear()
        for name in sorted(tree.files):
            await put(self.store, name, name.encode())
        self.is_as_was = True

    async def clear(self) -> None:
        listing = await self.store.names.list(delimiter="/", limit=10_000)
        edits: list[Edit] = [Delete(file.name) for file in listing.files]
        edits += [Delete(folder) for folder in listing.folders]
        if edits:
            await self.store.names.apply(edits)


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    people = Chosen(store.records)
    account = await people.accounts.add("me", None)
    app = create_app(store, limits=FRESH, people=people)
    async with TestClient(ServedAsInProduction(app)) as client:
        yield World(client, store, people, account)
    people.close()


def a_folder(random: Random, depth: int = 3) -> str:
    return "".join(random.choice(SEGMENTS) + "/" for _ in range(random.randrange(depth)))


def a_name(random: Random) -> str:
    return a_folder(random) + random.choice(SEGMENTS)


def a_page(random: Random) -> Page:
    keys = [(random.choice(SUBJECTS), a_folder(random)) for _ in range(random.randrange(7))]
    rules = {key: random.choice(SETS) for key in keys}
    scope = None
    if random.random() < 0.3:
        scope = {a_folder(random): random.choice(SETS) for _ in range(random.randrange(1, 3))}
    return Page(rules, scope, random.random() < 0.2)


def a_page_that_hides(random: Random, name: str) -> Page:
    """Return rules by which much is possible, but nothing in a folder that a name lies in."""
    page = a_page(random)
    folders = [name[: at + 1] for at, letter in enumerate(name) if letter == "/"]
    page.rules = {("me", ""): random.choice(SETS[-4:]), ("me", random.choice(folders)): NOTHING} | {
        key: verbs for key, verbs in page.rules.items() if key[1] and random.random() < 0.3
    }
    return page


async def fill(world: World, random: Random) -> Tree:
    await world.clear()
    tree = Tree()
    for _ in range(random.randrange(8)):
        name = a_name(random)
        above = {name[:at] for at, letter in enumerate(name) if letter == "/"}
        if name in tree.files or tree.is_folder(name + "/") or above & tree.files:
            continue
        await put(world.store, name, name.encode())
        tree.files.add(name)
    return tree


async def check(world: World, page: Page, tree: Tree, random: Random) -> None:
    """Send one request; compare the answer, and what is there then, to the model."""
    name, folder = a_name(random), a_folder(random)
    kind = random.choice(["get", "list", "flat", "put", "delete", "delete_folder", "copy", "mkcol"])
    match kind:
        case "get":
            answer = await world.ask(random.choice(["GET", "HEAD"]), f"/files/{name}")
            leads = page.lists(name + "/") and tree.shown(page, name + "/")
            if READ in page.verbs(name):
                expected = 200 if name in tree.files else 307 if leads else 404
            else:
                expected = 307 if leads else page.refusal(name)
            assert answer.status == expected
            for path in (f"/manifests/{name}", f"/packs/{name}?ranges=0-0"):
                answer = await world.ask("HEAD", path)
                if READ in page.verbs(name):
                    assert answer.status == (200 if name in tree.files else 404)
                else:
                    assert answer.status == page.refusal(name)
        case "list":
            answer = await world.ask("GET", f"/files/{folder}")
            shown = tree.listed(page, folder)
            if not page.lists(folder):
                assert answer.status == page.refusal(folder)
            elif not shown and folder and not tree.shown(page, folder):
                assert answer.status == 404
            else:
                assert answer.status == 200
                assert names_in(answer) == shown
        case "flat":
            limit = random.choice([1, 3, 1000])
            answer = await world.ask("GET", f"/files/{folder}?delimiter=&limit={limit}")
            if answer.status == 200:
                visible = [f for f in tree.files if LIST in page.verbs(f) and f.startswith(folder)]
                assert names_in(answer) == sorted(visible)[:limit]
                assert (json.loads(answer.body)["next"] is None) == (len(visible) <= limit)
        case "put":
            answer = await world.ask("PUT", f"/files/{name}", data=b"new")
            await judge_put(world, page, tree, name, answer)
        case "delete":
            answer = await world.ask("DELETE", f"/files/{name}")
            if DELETE not in page.verbs(name):
                assert answer.status == page.refusal(name)
            elif name in tree.files:
                assert answer.status == 204
                tree.files.remove(name)
            elif answer.status == 204:
                assert DELETE in page.everywhere(name + "/")
                remove(tree, name + "/")
        case "delete_folder":
            answer = await world.ask("DELETE", f"/files/{folder}")
            if DELETE not in page.everywhere(folder):
                assert answer.status == page.refusal(folder)
            elif folder:
                assert answer.status == (204 if tree.is_folder(folder) else 404)
                remove(tree, folder)
        case "copy":
            await check_transfer(world, page, tree, random)
        case "mkcol":
            answer = await world.ask("MKCOL", f"/files/{folder}")
            if CREATE not in page.verbs(folder) or not page.verbs(folder) & (LIST | READ | WRITE):
                assert answer.status == page.refusal(folder)
            elif page.verbs(folder) & (CREATE | WRITE | LIST | READ) & ~page.everywhere(folder):
                assert answer.status == (401 if page.guest else 403)
            elif answer.status == 201:
                assert (
                    tree.shown(page, folder[: folder[:-1].rfind("/") + 1]) or "/" not in folder[:-1]
                )
                tree.made.add(folder)
            else:
                assert answer.status in (405, 409)
    if kind in ("put", "delete", "delete_folder", "copy", "mkcol"):
        found = await world.store.names.list(limit=10_000)
        assert {file.name for file in found.files} == tree.files


def names_in(answer: Answer) -> list[str]:
    page = json.loads(answer.body)
    return sorted([*page["folders"], *(file["name"] for file in page["files"])])


def remove(tree: Tree, folder: str) -> None:
    tree.files = {f for f in tree.files if not f.startswith(folder)}
    tree.made = {f for f in tree.made if not f.startswith(folder)}


async def judge_put(world: World, page: Page, tree: Tree, name: str, answer: Answer) -> None:
    allowed = page.puts(name)
    above = {name[:at] for at, letter in enumerate(name) if letter == "/"}
    blocked = tree.is_folder(name + "/") or above & tree.files
    if not allowed:
        is_cut = page.verbs(name) & (CREATE | WRITE)
        assert answer.status == ((401 if page.guest else 403) if is_cut else page.refusal(name))
    elif page.drops(name):
        found = {f.name for f in (await world.store.names.list(limit=10_000)).files}
        if answer.status == 409:
            # Even the folder that one may put files into is a file.
            assert blocked
            assert found == tree.files
            return
        assert answer.status == 201
        assert json.loads(answer.body) == {"name": name}
        [new] = found - tree.files
        assert CREATE in page.verbs(new)
        assert new == name or name in tree.files or blocked
        tree.files.add(new)
    elif name in tree.files:
        assert answer.status == (200 if WRITE in allowed else 401 if page.guest else 403)
    elif CREATE in allowed:
        assert answer.status == (409 if blocked else 201)
        if blocked:
            return
        tree.files.add(name)
    else:
        assert answer.status == (401 if page.guest else 403)


async def check_transfer(world: World, page: Page, tree: Tree, random: Random) -> None:
    method = random.choice(["COPY", "MOVE"])
    is_folder = random.random() < 0.5
    make = a_folder if is_folder else a_name
    source, target = make(random), make(random)
    before = set(tree.files)
    answer = await world.ask(method, f"/files/{source}", Destination=f"/files/{target}")
    needed = READ | (DELETE if method == "MOVE" else NOTHING) | (LIST if is_folder else NOTHING)
    there = page.everywhere(source) if is_folder else page.verbs(source)
    at_target = page.everywhere(target) if is_folder else page.puts(target)
    may = needed in there and at_target & (CREATE | WRITE)
    may = may and page.verbs(target) & (LIST | READ | WRITE)
    found = {f.name for f in (await world.store.names.list(limit=10_000)).files}
    if not may:
        assert answer.status in (401, 403, 404)
        assert found == before
        return
    if answer.status not in (201, 204):
        assert found == before
        return
    if not is_folder and source not in before:
        # The name of a folder without its slash.
        source, target = source + "/", target + "/"
        assert needed | LIST in page.everywhere(source)
        is_folder, at_target = True, page.everywhere(target)
    if answer.status == 204:
        assert WRITE in at_target
        assert not is_folder or DELETE in at_target
    else:
        assert CREATE in at_target
    new = found - before
    assert all(one.startswith(target) for one in new)
    gone = before - found
    assert all(one.startswith((source, target)) for one in gone)
    refreshed = await world.tree()
    tree.files, tree.made = refreshed.files, refreshed.made


@pytest.mark.parametrize("seed", range(8))
async def test_requests_do_what_the_page_says(world: World, seed: int) -> None:
    random = Random(seed)
    for _ in range(40):
        tree = await fill(world, random)
        page = a_page(random)
        world.become(page)
        for _ in range(25):
            await check(world, page, tree, random)


def questions(name: str) -> Iterable[Question]:
    """Yield requests that ask about a name in every way."""
    path = f"/files/{name}"
    for method in ("GET", "HEAD", "DELETE"):
        yield method, path, None, {}
        yield method, path + "/", None, {}
        yield method, path, None, {"If_Match": "*"}
        yield method, path, None, {"If_None_Match": "*"}
    yield "GET", path, None, {"Range": "bytes=0-0"}
    yield "GET", f"/manifests/{name}", None, {}
    yield "GET", f"/packs/{name}?ranges=0-0", None, {}
    yield "PUT", path, b"x", {"If_Match": "*"}
    yield "MKCOL", path + "/", None, {}
    yield "COPY", path, None, {"Destination": "/files/elsewhere"}
    yield "MOVE", path, None, {"Destination": "/files/elsewhere"}
    yield "PUT", f"/nx/{name}/v1/cache/x", b"x", {}
    yield "PUT", path + "/below", b"x", {}
    folder = ""
    for segment in name.split("/")[:-1]:
        folder += segment
        yield "PUT", f"/files/{folder}", b"x", {}
        yield "DELETE", f"/files/{folder}", None, {}
        yield "MOVE", f"/files/{folder}", None, {"Destination": "/files/elsewhere"}
        yield "PUT", f"/files/{folder}/new", b"x", {}
        yield "COPY", f"/files/{folder}/new", None, {"Destination": f"/files/{folder}"}
        folder += "/"
        for method in ("COPY", "MOVE"):
            yield method, f"/files/{folder}", None, {"Destination": "/files/elsewhere/"}
            yield method, "/files/a-/", None, {"Destination": f"/files/{folder}"}
        yield "DELETE", f"/files/{folder}", None, {}
        yield "MKCOL", f"/files/{folder}", None, {}
        yield "MKCOL", f"/files/{folder}sub/", None, {}
    folder = ""
    for segment in ["", *name.split("/")[:-1]]:
        folder += f"{segment}/" if segment else ""
        yield "GET", f"/files/{folder}", None, {}
        yield "GET", f"/files/{folder}?delimiter=", None, {}
        yield "GET", f"/files/{folder}?delimiter=&limit=1", None, {}
        yield "GET", f"/files/{folder}?prefix=a", None, {}
        yield "GET", f"/files/{folder}?delimiter=-", None, {}
        yield "GET", f"/files/{folder}", None, {"Accept": "text/html"}


async def ask_as_was(world: World, tree: Tree, question: Question) -> tuple[Answer, bool]:
    """Return the answer to a question about a tree, and whether it may have changed that."""
    await world.put_back(tree)
    method, path, data, headers = question
    answer = await world.ask(method, path, data, **headers)
    world.is_as_was = method in ("GET", "HEAD") or answer.status >= 400
    body = answer.body
    if b"nonce=" in body:
        body = body[body.index(b"<body") :]
    # Times are those at which the test put the files back.
    passing = ("Last-Modified",)
    fields = CIMultiDict((k, v) for k, v in answer.headers.items() if k not in passing)
    return Answer(answer.status, fields, MODIFIED.sub(b"", body)), not world.is_as_was


@pytest.mark.parametrize("seed", range(4))
async def test_no_answer_differs_for_a_hidden_name_and_a_missing_one(
    world: World, seed: int
) -> None:
    random = Random(seed)
    compared = changed = 0
    while compared < 6:
        tree = await fill(world, random)
        name = a_folder(random, 3) + "a/" + random.choice(SEGMENTS)
        page = a_page_that_hides(random, name)
        above = {name[:at] for at, letter in enumerate(name) if letter == "/"}
        taken = name in tree.files or tree.is_folder(name + "/") or above & tree.files
        if taken or page.verbs(name) or page.sees(name + "/"):
            continue
        world.become(page)
        for question in questions(name):
            missing, is_changed = await ask_as_was(world, tree, question)
            hidden, _ = await ask_as_was(world, Tree({*tree.files, name}), question)
            assert hidden == missing, (question, page, tree)
            changed += is_changed
        compared += 1
    assert changed


async def test_a_folder_that_was_made_counts_like_what_is_in_it(world: World) -> None:
    await world.store.names.apply([MakeFolder(FolderName("d/")), MakeFolder(FolderName("d/e/"))])
    world.become(Page({("me", "d/e/"): LIST | READ}, None, guest=False))
    assert names_in(await world.ask("GET", "/files/")) == ["d/"]
    assert names_in(await world.ask("GET", "/files/d/")) == ["d/e/"]
    assert names_in(await world.ask("GET", "/files/d/e/")) == []


def test_the_model_knows_the_nearest_rule() -> None:
    rules = {"": LIST, "a/": NOTHING, "a/b/": READ}
    assert [nearest(rules, FileName(name)) for name in ("x", "a/x", "a/b/x", "ab")] == [
        LIST, NOTHING, READ, LIST,
    ]  # fmt: skip
