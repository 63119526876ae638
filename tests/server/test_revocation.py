"""What is revoked is dead on all servers of a database within two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from chunkstore.core.access import EVERYTHING, parse_verbs
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.access.link_administration import LinkRequest, NewLink
from chunkstore.service.access.links import LinkKind, LinkLimits
from chunkstore.service.access.people import People
from tests.backends import PostgresBackend
from tests.http.access.people import PASSWORD, basic
from tests.process import ServerProcess, served

# The promise of docs/access.md.
PROMISED_SECONDS = 2.0
# For the test to end if nothing dies.
_PATIENCE_SECONDS = 60
_OTHER_PASSWORD = "staple correct horse"


@dataclass(frozen=True, slots=True)
class Credential:
    """What is sent, where it is revoked, and what is answered before and behind that."""

    headers: Mapping[str, str]
    revoke: Callable[[], Awaitable[object]]
    path: str = "/files/"
    alive: int = 200
    dead: int = 401


class Site:
    """Two servers of one database, and those who use them."""

    def __init__(
        self, client: aiohttp.ClientSession, people: People, servers: list[ServerProcess]
    ) -> None:
        self.client = client
        self.people = people
        self.urls = [server.url.rstrip("/") for server in servers]

    async def add(self, name: str) -> None:
        await self.people.accounts.add(name, PASSWORD)
        await self.people.accounts.allow(name, FolderName(""), EVERYTHING)

    async def token(self, name: str) -> tuple[Mapping[str, str], str]:
        """Return what sends a new token of an account, and the token's id."""
        scope = [(FolderName(""), EVERYTHING)]
        made = await self.people.accounts.add_token(name, "t", scope, None)
        return {"Authorization": f"Bearer {made.text}"}, made.token.id

    async def session(self, name: str) -> Mapping[str, str]:
        """Return what sends the cookie of a new session, which the first server begins."""
        form = {"name": name, "password": PASSWORD}
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with self.client.post(
            f"{self.urls[0]}/login", data=form, headers=headers, allow_redirects=False
        ) as answer:
            assert answer.status == 303
            [cookie] = answer.cookies.values()
        return {"Cookie": f"{cookie.key}={cookie.value}"}

    async def link(self, name: str) -> NewLink:
        """Return a new link of the whole store that an account has made."""
        return await self.people.links.add(name, LinkRequest(LinkKind.FOLDER, FolderName("")))

    async def status(self, server: int, credential: Credential) -> int:
        async with self.client.get(
            self.urls[server] + credential.path, headers=credential.headers
        ) as answer:
            return answer.status

    async def last_alive(self, server: int, credential: Credential) -> float:
        """Return when the last request began that was let in."""
        last = 0.0
        end = time.monotonic() + _PATIENCE_SECONDS
        while (began := time.monotonic()) < end:
            status = await self.status(server, credential)
            if status == credential.dead:
                return last
            assert status == credential.alive
            last = began
            await asyncio.sleep(0.02)
        raise AssertionError("it does not die")


async def credentials_of(site: Site) -> dict[str, Credential]:
    """Return one credential for each way in which one can be revoked."""
    accounts = site.people.accounts
    for name in ("anna", "bert", "cleo", "dora", "emma", "finn", "gina", "hans", "ines"):
        await site.add(name)
    token, token_id = await site.token("anna")
    session = await site.session("anna")
    reader = parse_verbs("reader")

    async def log_out() -> None:
        headers = {**session, "Sec-Fetch-Site": "same-origin"}
        async with site.client.post(
            f"{site.urls[0]}/logout", headers=headers, allow_redirects=False
        ) as answer:
            assert answer.status == 303

    async def disable(name: str = "bert") -> None:
        await accounts.set_disabled(name, disabled=True)

    async def change_password() -> None:
        await accounts.set_password("cleo", _OTHER_PASSWORD)

    await accounts.allow("emma", FolderName("hr/"), reader)
    links = [await site.link("gina"), await site.link("hans"), await site.link("ines")]
    unshared = parse_verbs("list,read,create,write,delete")
    return {
        "a link": Credential(
            {}, lambda: site.people.links.revoke(links[0].link.id), links[0].path, dead=404
        ),
        "a link's right to share": Credential(
            {}, lambda: accounts.allow("hans", FolderName(""), unshared), links[1].path, dead=404
        ),
        "a link's account": Credential({}, lambda: disable("ines"), links[2].path, dead=404),
        "a token": Credential(token, lambda: accounts.revoke_token(token_id)),
        "a session that ends at the other server": Credential(session, log_out),
        "an account's token": Credential((await site.token("bert"))[0], disable),
        "an account's password": Credential(
            basic("dora", PASSWORD), lambda: disable("dora"), path="/stats"
        ),
        "an account's session": Credential(
            await site.session("finn"), lambda: accounts.remove("finn")
        ),
        "a password": Credential((await site.token("cleo"))[0], change_password),
        "a rule": Credential(
            (await site.token("emma"))[0],
            lambda: accounts.allow("emma", FolderName(""), parse_verbs("-")),
            path="/stats",
            dead=403,
        ),
    }


@asynccontextmanager
async def two_servers(tmp_path: Path, backend: PostgresBackend) -> AsyncIterator[Site]:
    """Run two servers of one database."""
    await backend.clear()
    store = await backend.open()
    people = People(store.records, names=store.names)
    await people.accounts.add("admin", PASSWORD, admin=True)
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    options = ("--db", backend.location)
    try:
        with served(folders[0], *options) as first, served(folders[1], *options) as second:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
                yield Site(client, people, [first, second])
    finally:
        people.close()
        await store.close()


@pytest.mark.timeout(180)
async def test_what_is_revoked_is_dead_on_all_servers_within_two_seconds(
    tmp_path: Path, postgres_backend: PostgresBackend
) -> None:
    async with two_servers(tmp_path, postgres_backend) as site:
        for how, credential in (await credentials_of(site)).items():
            for server in range(2):
                assert await site.status(server, credential) == credential.alive, how
            watching = [
                asyncio.create_task(site.last_alive(server, credential)) for server in range(2)
            ]
            await credential.revoke()
            revoked = time.monotonic()
            for last in await asyncio.gather(*watching):
                assert last - revoked < PROMISED_SECONDS, how


async def test_a_link_is_used_no_more_often_than_it_may_be_on_two_servers(
    tmp_path: Path, postgres_backend: PostgresBackend
) -> None:
    """Twenty visitors at once, each at one of the servers, over the last five uses."""
    async with two_servers(tmp_path, postgres_backend) as site:
        await site.add("anna")
        token, _ = await site.token("anna")
        async with site.client.put(f"{site.urls[0]}/files/a", data=b"a", headers=token) as answer:
            assert answer.status == 201
        wanted = LinkRequest(LinkKind.FILE, FileName("a"), limits=LinkLimits(uses=5))
        path = (await site.people.links.add("anna", wanted)).path + "files/a"
        visitors = [
            Credential({"User-Agent": f"visitor {number}"}, asyncio.Event().wait, path)
            for number in range(20)
        ]
        statuses = await asyncio.gather(
            *(site.status(number % 2, visitor) for number, visitor in enumerate(visitors))
        )
        assert sorted(statuses) == [200] * 5 + [410] * 15
        [link] = await site.people.links.list()
        assert (await site.people.links.usage(link)).uses == 5
