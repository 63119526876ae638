"""A server with accounts, and those who use it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from multidict import CIMultiDict

from chunkstore.core.access import EVERYTHING, Verbs, parse_verbs
from chunkstore.core.names import ROOT, FolderName
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.http.steps import exactly

PASSWORD: Final = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: all that a client can see of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The kind of problem that it tells of."""
        return str(self.json["type"]).rpartition(":")[2]

    @classmethod
    async def of(cls, response: ClientResponse) -> Answer:
        async with response:
            body = await response.read()
        # What is another in each answer, whatever it is to.
        passing = {"Date", "X-Request-ID", "Content-Security-Policy"}
        headers = CIMultiDict(
            (name, value) for name, value in response.headers.items() if name not in passing
        )
        return cls(response.status, headers, body)


@dataclass
class Site:
    """A server, its people, and the token of each."""

    client: TestClient[Any, Any]
    store: Store
    people: People
    tokens: dict[str, str] = field(default_factory=dict)

    async def add(self, name: str, scope: Sequence[tuple[str, str]] = (("", "owner"),)) -> None:
        """Add an account without rights, and a token of it."""
        await self.people.accounts.add(name, None)
        await self.add_token(name, name, scope)

    async def add_token(self, label: str, account: str, scope: Sequence[tuple[str, str]]) -> None:
        parsed = [(FolderName(folder), parse_verbs(verbs)) for folder, verbs in scope]
        made = await self.people.accounts.add_token(account, label, parsed, None)
        self.tokens[label] = made.text

    async def allow(self, subject: str, folder: str, verbs: str | Verbs | None) -> None:
        parsed = parse_verbs(verbs) if isinstance(verbs, str) else verbs
        await self.people.accounts.allow(subject, FolderName(folder), parsed)

    def headers_of(self, who: str | None) -> dict[str, str]:
        return {} if who is None else {"Authorization": f"Bearer {self.tokens[who]}"}

    async def ask(
        self,
        who: str | None,
        method: str,
        path: str,
        data: Any = None,  # noqa: ANN401 - whatever a client can send
        **headers: str,
    ) -> Answer:
        """Send a request as somebody; None is a guest."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.request(
            method,
            exactly(path),
            data=data,
            headers={**self.headers_of(who), **fields},
            allow_redirects=False,
        )
        return await Answer.of(response)

    async def status(self, who: str | None, method: str, path: str, **options: Any) -> int:  # noqa: ANN401 - as of `ask`
        return (await self.ask(who, method, path, **options)).status


async def furnish(site: Site) -> None:
    """Add an administrator, `admin`."""
    await site.add("admin")
    await site.allow("admin", ROOT, EVERYTHING)


def basic(name: str, password: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}
