"""Small files that are kept in memory: answered as if they were not, and never stale."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final, TypeVar

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chunkstore.core.hosts import HostPolicy
from chunkstore.core.names import FileName
from chunkstore.http import create_app
from chunkstore.http.app import mount
from chunkstore.http.message.request import SERVICE
from chunkstore.http.native.files import HOT_FILES, Prepared
from chunkstore.service.hot_files import HotFiles
from chunkstore.service.memory import Use
from chunkstore.store.contract.store import Store
from tests.backends import FRESH, Backend, SQLiteBackend
from tests.http import raw
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import MIB, Client, put, read
from tests.store.conformance import whole_put
from tests.store.model import Drawn, Model, Refused, Write, edits_of, file_names

T = TypeVar("T")

ETAG: Final = '"d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"'
NONCE: Final = re.compile(r"nonce[-=][\w\"-]+", re.ASCII)
NEVER: Final = '"0000"'
PAST: Final = "Mon, 01 Jan 2001 00:00:00 GMT"
FUTURE: Final = "Mon, 01 Jan 2035 00:00:00 GMT"
NAMES: Final = ["hello.txt", "empty", "%C3%A4%20%22b%22.png", "page.html", "large", "absent", "d"]
HEADERS: Final = [
    (),
    (f"If-None-Match: {ETAG}",),
    (f"If-None-Match: W/{ETAG}, {NEVER}",),
    (f"If-None-Match: {NEVER}",),
    (f"If-Match: {ETAG}",),
    (f"If-Match: {NEVER}",),
    ("If-Match: *",),
    (f"If-Modified-Since: {FUTURE}",),
    (f"If-Modified-Since: {PAST}",),
    (f"If-Unmodified-Since: {PAST}",),
    ("Range: bytes=1-3",),
    ("Range: bytes=-0",),
    ("Range: bytes=99999-",),
    ("Range: lines=1-3",),
    ("Range: bytes=1-3", f"If-Range: {ETAG}"),
    ("Range: bytes=1-3", f"If-Range: {NEVER}"),
    ("Accept: text/html",),
    ("Accept: application/json",),
    ("Accept-Encoding: gzip, br",),
    ("Origin: https://app.example.org",),
    ("Origin: https://evil.example.org",),
    ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
    ("Connection: close",),
    ("Upgrade: h2c", "Connection: Upgrade"),
    ("Expect: something",),
    ("Tus-Resumable: 1.0.0",),
    ("Content-Length: 3",),
]


@asynccontextmanager
async def serving(store: Store, **options: Any) -> AsyncIterator[Client]:  # noqa: ANN401
    app = create_app(store, limits=FRESH, **options)
    async with TestClient(ServedAsInProduction(app)) as client:
        yield client


def hot_files_of(client: Client) -> HotFiles[Prepared]:
    assert client.app is not None
    files: HotFiles[Prepared] = client.app[HOT_FILES]
    return files


async def make_hot(client: Client, path: str) -> bytes:
    await read(client, path)
    return await read(client, path)


def shown(answer: raw.Answer) -> tuple[int, list[tuple[str, str]], bytes, str]:
    """Return what must be equal of two answers to the same request; pages have a nonce."""
    fields = [
        (name, NONCE.sub("", value))
        for name, value in answer.headers.items()
        if name not in ("Date", "X-Request-ID")
    ]
    body = answer.body if answer.status == 200 else NONCE.sub("", answer.body.decode()).encode()
    return answer.status, fields, body, answer.version


async def fill(client: Client) -> None:
    await put(client, "hello.txt", b"hello world")
    for name in ("empty", "d/in-it"):
        await put(client, name, b"")
    await put(client, "%C3%A4%20%22b%22.png", b"not a picture")
    await put(client, "page.html", b"<script>", content_type="text/html")
    await put(client, "large", bytes(17 * 1024))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_answers_are_the_same_with_and_without(store: Store, method: str) -> None:
    options: dict[str, Any] = {
        "cors_origins": ["https://app.example.org"],
        "hosts": HostPolicy.of("127.0.0.1", []),
    }
    async with AsyncExitStack() as servers:
        hot = await servers.enter_async_context(serving(store, **options))
        cold = await servers.enter_async_context(serving(store, hot_files=False, **options))
        await fill(hot)
        for name in [*NAMES, "hello.txt?download=1", "hello.txt?"]:
            for fields in HEADERS:
                for host in ("127.0.0.1", "evil.example.org"):
                    octets = raw.request(method, f"/files/{name}", *fields, host=host)
                    octets += b"abc" * ("Content-Length: 3" in fields)
                    told = [shown(await raw.ask(server, octets, method)) for server in (hot, cold)]
                    assert told[0] == told[1], octets
        files = hot_files_of(hot)
        assert [name for name in ("hello.txt", "empty", "large") if files.find(name)] == [
            "hello.txt",
            "empty",
        ]
        assert hot_files_of(cold).size == 0


async def test_the_etag_above_is_that_of_the_file(client: Client) -> None:
    await fill(client)
    async with client.head("/files/hello.txt") as response:
        assert response.headers["ETag"] == ETAG


async def test_answers_are_hot_on_each_version_of_http(client: Client) -> None:
    await put(client, "a", b"content")
    await make_hot(client, "a")
    answer = await raw.ask(client, raw.request("GET", "/files/a", version="1.0"))
    assert (answer.version, answer.status, answer.body) == ("HTTP/1.0", 200, b"content")
    async with raw.connect(client) as connection:
        await connection.send(3 * raw.request("GET", "/files/a"))
        assert [(await connection.receive()).body for _ in range(3)] == [b"content"] * 3


async def test_an_application_that_is_mounted_keeps_them_too(store: Store) -> None:
    app = create_app(store, limits=FRESH)
    async with TestClient(ServedAsInProduction(mount(app, "/here/"))) as client:
        async with client.put("/here/files/a", data=b"content") as response:
            assert response.status == 201
        for _ in range(2):
            async with client.get("/here/files/a") as response:
                assert await response.read() == b"content"
        assert app[HOT_FILES].find("a") is not None
    assert app[HOT_FILES].find("a") is None


async def test_memory_for_transfers_comes_first(store: Store) -> None:
    async with serving(store, memory=MIB) as client:
        for number in range(40):
            await put(client, f"{number}", bytes([number]) * 4096)
            await make_hot(client, f"{number}")
        files, budget = hot_files_of(client), client.app[SERVICE].budget
        assert MIB // 8 < files.size <= MIB // 4
        with budget.account(Use.UPLOAD).try_reserve(MIB, MIB) as all_of_it:
            assert (all_of_it.size, files.size) == (MIB, 0)
            assert await make_hot(client, "1") == bytes([1]) * 4096
            assert files.size == 0
        await make_hot(client, "1")
        assert files.find("1") is not None


async def test_what_is_read_is_never_older_than_what_was_acknowledged_or_read(
    store: Store,
) -> None:
    """Versions of names are replaced in each way there is while others read them."""
    acknowledged, seen = Counter[str](), Counter[str]()
    random, names = Random(7), ["d/a", "d/b", "c"]
    reads = 0

    async def write(client: Client, name: str) -> None:
        for version in range(1, 40):
            content = f"{version}".encode()
            way = random.choice(["PUT", "COPY", "MOVE"])
            if way == "PUT":
                await put(client, name, content)
            else:
                source = f"new-{name.replace('/', '-')}"
                await put(client, source, content)
                target = {"Destination": f"/files/{name}"}
                async with client.request(way, f"/files/{source}", headers=target) as response:
                    assert response.status in (201, 204), await response.text()
            acknowledged[name] = version

    async def keep_reading(client: Client, name: str) -> None:
        nonlocal reads
        while acknowledged[name] < 39:
            least = max(acknowledged[name], seen[name])
            version = int(await read(client, name))
            assert version >= least
            seen[name] = max(seen[name], version)
            reads += 1

    async with serving(store) as client:
        for name in names:
            await put(client, name, b"0")
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(write(client, name))
                for _ in range(3):
                    tasks.create_task(keep_reading(client, name))
        for name in names:
            assert await make_hot(client, name) == b"39"
        assert all(hot_files_of(client).find(name) for name in names)
    assert reads > 100


class HotMachine(RuleBasedStateMachine):
    """Edits of the store, each mirrored on `model`; all names are asked for after each."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.stack = AsyncExitStack()
        self.asked: set[str] = set()
        self.run(backend.clear())
        self.store: Store = self.run(backend.open())
        self.client: Client = self.run(self.stack.enter_async_context(serving(self.store)))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.run(self.store.close())
        self.runner.close()

    @rule(drawn=st.lists(edits_of(st.binary(max_size=3)), min_size=1, max_size=3))
    def apply(self, drawn: list[Drawn]) -> None:
        async def apply() -> None:
            edits = [
                replace(
                    whole_put(self.store, one.name, one.content, one.conditions), strict=one.strict
                )
                if isinstance(one, Write)
                else one
                for one in drawn
            ]
            await self.store.names.apply(edits)

        expected = self.model.apply(drawn)
        if isinstance(expected, Refused):
            with pytest.raises(expected.error):
                self.run(apply())
        else:
            self.run(apply())

    @rule(name=file_names, content=st.binary(max_size=3))
    def put(self, name: FileName, content: bytes) -> None:
        if not isinstance(self.model.apply([Write(name, content)]), Refused):
            self.run(put(self.client, name, content))

    @invariant()
    def all_that_was_ever_there_is_answered(self) -> None:
        self.asked |= self.model.files.keys()

        async def ask() -> None:
            for name in self.asked:
                for _ in range(2):
                    async with self.client.get(f"/files/{name}", allow_redirects=False) as response:
                        body = await response.read() if response.status == 200 else None
                        assert body == self.model.files.get(name)

        self.run(ask())


def test_any_sequence_of_edits_is_seen(backend: SQLiteBackend) -> None:
    class Machine(HotMachine):
        def __init__(self) -> None:
            super().__init__(backend)

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=15, stateful_step_count=15, deadline=None)
    )
