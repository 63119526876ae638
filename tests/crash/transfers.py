"""What a client that may be killed transfers: contents, their versions, and the commands.

Each transfer makes a target like a source. Whatever happens meanwhile, each file of the target is
the old one or the new one; when the same command has gone well, all are new and nothing else is
there.
"""

from __future__ import annotations

import io
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from chunkstore.client.targets import is_part_name
from chunkstore.core.digest import Digest

Tree = dict[str, bytes]

LARGE = 12 << 20
# More than what travels with others, and than one request.
_SIZES = (0, 1, 3000, 60_000, 250_000, 400_000, 3 << 20)
_FILES = 24


def new_content(rng: random.Random, size: int) -> bytes:
    """Return bytes that nobody has."""
    return rng.randbytes(size)


def next_content(rng: random.Random, content: bytes) -> bytes:
    """Return the next version of a content: half of it is another one, in two places."""
    found = bytearray(content)
    length = len(found) // 4
    for start in (rng.randrange(len(found) - length + 1) for _ in range(2)):
        found[start : start + length] = rng.randbytes(length)
    return bytes(found)


def next_tree(rng: random.Random, tree: Mapping[str, bytes]) -> Tree:
    """Return the next version of a tree: some files are new, changed, renamed, or gone."""
    found = dict(tree)
    for number in range(_FILES):
        name = f"{rng.choice(['', 'a/', 'a/b/'])}{number}"
        match rng.randrange(6) if found else 0:
            case 0 | 1:
                found[name] = new_content(rng, rng.choice(_SIZES))
            case 2:
                found.pop(rng.choice(sorted(found)))
            case 3:
                changed = rng.choice(sorted(found))
                found[changed] = next_content(rng, found[changed])
            case 4:
                found[f"moved/{number}"] = found.pop(rng.choice(sorted(found)))
    return found


def write_tree(root: Path, tree: Mapping[str, bytes]) -> None:
    """Make a folder of this machine what a tree is."""
    root.mkdir(exist_ok=True)
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def read_tree(root: Path) -> Tree:
    """Return all files of a folder of this machine."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def without_parts(tree: Mapping[str, bytes]) -> Tree:
    """Return a tree without what a pull has left to go on with."""
    return {
        name: content for name, content in tree.items() if not is_part_name(name.rpartition("/")[2])
    }


async def read_remote(session: aiohttp.ClientSession, folder: str) -> Tree:
    """Return all files of a folder of the server, as they are at one moment.

    What a killed client had sent whole may still be stored.
    """
    listed: dict[str, str] | None = None
    found: Tree = {}
    while True:
        before, listed = listed, await _list(session, folder)
        if listed == before:
            return found
        found = {}
        for name in listed:
            async with session.get(f"files/{folder}/{name}") as response:
                if response.ok:
                    found[name] = await response.read()
                    assert response.headers["ETag"] == f'"{Digest.of(found[name])}"', name


async def _list(session: aiohttp.ClientSession, folder: str) -> dict[str, str]:
    """Return the digest of each file of a folder, by its name within it."""
    async with session.get(f"files/{folder}/", params={"delimiter": ""}) as response:
        files = (await response.json())["files"] if response.ok else []
    return {file["name"].removeprefix(f"{folder}/"): file["digest"] for file in files}


class Transfer(ABC):
    """Makes a target what a source is, again and again, in a folder here and one on the server.

    `home` has the folders; `old` is what the target has been, `new` what it is to be.
    """

    name: str
    # Whether the target may be seen with some files old and others new.
    is_atomic = False

    def __init__(self, home: Path) -> None:
        self.old: Tree = {}
        self.new: Tree = {}
        self.home = home / self.folder
        self.home.mkdir()

    @property
    def folder(self) -> str:
        """The name of its folder on the server."""
        return self.name.replace(" ", "-")

    @abstractmethod
    async def prepare(self, rng: random.Random, session: aiohttp.ClientSession) -> None:
        """Make the source the next version."""

    @abstractmethod
    def command(self, url: str) -> list[str]:
        """Return the command, for the folder of the server at `url`."""

    @abstractmethod
    async def target(self, session: aiohttp.ClientSession) -> Tree:
        """Return what the target is now."""

    async def check_between(self, session: aiohttp.ClientSession) -> None:
        """Check that nothing is there by halves."""
        found = without_parts(await self.target(session))
        if self.is_atomic:
            found = {name: found[name] for name in found if ".syncing-" not in name}
            assert found in (self.old, self.new), self._described(found)
            return
        for name, content in found.items():
            possible = [tree[name] for tree in (self.old, self.new) if name in tree]
            assert content in possible, f"{name} is neither the old nor the new one"
        kept = {name for name in self.old if self.new.get(name) == self.old[name]}
        assert kept <= found.keys(), f"{kept - found.keys()} are gone"

    async def check_after(self, session: aiohttp.ClientSession) -> None:
        """Check that the target is what the source is, and nothing else is left."""
        found = await self.target(session)
        assert found == self.new, self._described(found)
        self.old = self.new

    def _described(self, found: Tree) -> str:
        wrong = [name for name in found if found[name] != self.new.get(name)]
        return f"{self.name}: {wrong} differ or are too much, {self.new.keys() - found} lack"


async def _put(session: aiohttp.ClientSession, name: str, content: bytes) -> None:
    async with session.put(f"files/{name}", data=io.BytesIO(content)) as response:
        assert response.ok, await response.text()


class Push(Transfer):
    """Pushes the next version of one file."""

    name = "push"

    async def prepare(self, rng: random.Random, session: aiohttp.ClientSession) -> None:
        before = self.old.get("model", b"")
        content = next_content(rng, before) if before else new_content(rng, LARGE)
        (self.home / "model").write_bytes(content)
        self.new = {"model": content}

    def command(self, url: str) -> list[str]:
        return ["push", f"{self.folder}/model", f"{url}model"]

    async def target(self, session: aiohttp.ClientSession) -> Tree:
        return await read_remote(session, self.folder)


class Pull(Transfer):
    """Pulls the next version of one file over the one before."""

    name = "pull"

    async def prepare(self, rng: random.Random, session: aiohttp.ClientSession) -> None:
        before = self.old.get("model", b"")
        content = next_content(rng, before) if before else new_content(rng, LARGE)
        await _put(session, f"{self.folder}/model", content)
        self.new = {"model": content}

    def command(self, url: str) -> list[str]:
        return ["pull", f"{url}model", f"{self.folder}/model"]

    async def target(self, session: aiohttp.ClientSession) -> Tree:
        return read_tree(self.home)


class SyncUp(Transfer):
    """Makes a folder of the server like one here."""

    name = "sync to the server"
    options: tuple[str, ...] = ()

    async def prepare(self, rng: random.Random, session: aiohttp.ClientSession) -> None:
        self.new = next_tree(rng, self.old)
        write_tree(self.home, self.new)

    def command(self, url: str) -> list[str]:
        return ["sync", "--delete", *self.options, self.folder, f"{url}tree"]

    async def target(self, session: aiohttp.ClientSession) -> Tree:
        found = await read_remote(session, self.folder)
        return {name.removeprefix("tree/"): found[name] for name in found}


class AtomicSyncUp(SyncUp):
    """Does it so that readers see the old tree or the new one."""

    name = "atomic sync to the server"
    options = ("--atomic",)
    is_atomic = True


class SyncDown(Transfer):
    """Makes a folder here like one of the server."""

    name = "sync from the server"

    async def prepare(self, rng: random.Random, session: aiohttp.ClientSession) -> None:
        self.new = next_tree(rng, self.old)
        for name in self.old.keys() - self.new.keys():
            async with session.delete(f"files/{self.folder}/tree/{name}") as response:
                assert response.ok, await response.text()
        for name in self.new:
            if self.new[name] != self.old.get(name):
                await _put(session, f"{self.folder}/tree/{name}", self.new[name])

    def command(self, url: str) -> list[str]:
        return ["sync", "--delete", f"{url}tree", f"{self.folder}/tree"]

    async def target(self, session: aiohttp.ClientSession) -> Tree:
        return {
            name.removeprefix("tree/"): content for name, content in read_tree(self.home).items()
        }


TRANSFERS: tuple[type[Transfer], ...] = (Push, Pull, SyncUp, AtomicSyncUp, SyncDown)
