"""A server with links, and those who come by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.http import create_app
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import Answer, Site, basic, furnish
from tests.http.conftest import ServedAsInProduction
from tests.service.access.clock import SetClock

PASSWORD: Final = "tulips for berta"
OTHER: Final = "daisies for anna"
TUS: Final = {"Tus-Resumable": "1.0.0"}


@dataclass
class Shared(Site):
    """A server on which `anna`, an editor of `secret/`, makes links."""

    clock: SetClock = None  # type: ignore[assignment] # given by the fixture

    async def link(self, target: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Return a new link of anna's, as `link add` tells it."""
        wanted = {"account": "anna", "target": target, **arguments}
        made: dict[str, Any] = await run_command(self.people, "link add", wanted)
        return made

    async def run(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        return await run_command(self.people, command, arguments)

    async def told(self, link: dict[str, Any]) -> dict[str, Any]:
        """Return what `link ls` tells of a link."""
        [found] = [one for one in await self.run("link ls") if one["id"] == link["id"]]
        return dict(found)

    async def put(self, name: str, content: bytes | BytesIO = b"content") -> None:
        answer = await self.ask("admin", "PUT", f"/files/{name}", data=content)
        assert answer.status in (200, 201), answer

    async def names(self, folder: str = "secret/inbox/") -> list[str]:
        """Return the names in a folder, without its own."""
        answer = await self.ask("admin", "GET", f"/files/{folder}?delimiter=")
        return [file["name"].removeprefix(folder) for file in answer.json["files"]]

    async def by(
        self,
        link: dict[str, Any],
        method: str = "GET",
        rest: str = "",
        data: Any = None,  # noqa: ANN401 - whatever a client can send
        *,
        password: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request to what is below a link, as somebody who keeps no cookies."""
        self.client.session.cookie_jar.clear()
        fields = {} if password is None else basic("", password)
        return await self.ask(None, method, link["path"] + rest, data, **fields, **headers)


@pytest.fixture
async def shared_site(store: Store) -> AsyncIterator[Shared]:
    """Return the server, with some files in the folder, and one that is nobody else's business."""
    clock = SetClock()
    people = People(
        store.records, clock, store.names, log=store.audit, quotas=store.quotas, locks=store.locks
    )
    app = create_app(store, limits=FRESH, people=people, cors_origins=["http://elsewhere.example"])
    async with TestClient(ServedAsInProduction(app)) as client:
        site = Shared(client, store, people, clock=clock)
        await furnish(site)
        await site.add("anna")
        await site.allow("anna", "secret/", "editor")
        await site.put("secret/plan/a.txt", b"the plan")
        await site.put("secret/plan/sub/b.txt", b"part b")
        await site.put("secret/planned", b"not shared")
        await site.put("secret/inbox/old", b"not shared")
        yield site
    people.close()
