"""What tests of WebDAV do on their way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, fromstring

from tests.http import raw
from tests.http.steps import Client

DAV = "{DAV:}"


@dataclass
class Told:
    """What a multistatus tells of a resource: its properties by name, and the status of others."""

    found: dict[str, Element] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return the text of a property of `DAV:`."""
        return self.found[f"{DAV}{name}"].text or ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a collection."""
        return self.found[f"{DAV}resourcetype"].find(f"{DAV}collection") is not None


async def ask(
    client: Client, method: str, path: str, *lines: str, body: bytes | str = b""
) -> raw.Answer:
    """Return the answer to a request whose path is sent as it is."""
    sent = body.encode() if isinstance(body, str) else body
    if sent or method == "PUT":
        lines = (*lines, f"Content-Length: {len(sent)}")
    return await raw.ask(client, raw.request(method, path, *lines, body=sent), method)


def read_multistatus(answer: raw.Answer) -> dict[str, Told]:
    """Return what is told, by address, in order; each is told of once."""
    assert answer.status == 207, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == 'application/xml; charset="utf-8"'
    assert answer.body.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    told: dict[str, Told] = {}
    for response in fromstring(answer.body):
        assert response.tag == f"{DAV}response"
        href = response.findtext(f"{DAV}href") or ""
        assert href not in told
        told[href] = Told()
        for propstat in response.findall(f"{DAV}propstat"):
            status = int((propstat.findtext(f"{DAV}status") or "").split()[1])
            for prop in propstat.findall(f"{DAV}prop"):
                for each in prop:
                    if status == 200:
                        told[href].found[each.tag] = each
                    else:
                        told[href].refused[each.tag] = status
    return told


async def propfind(
    client: Client, path: str, depth: str = "0", body: str = "", **headers: str
) -> dict[str, Told]:
    """Return what PROPFIND tells; `body` is what is within `propfind`."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    document = f'<D:propfind xmlns:D="DAV:">{body}</D:propfind>' if body else ""
    answer = await ask(client, "PROPFIND", path, f"Depth: {depth}", *lines, body=document)
    return read_multistatus(answer)


async def proppatch(client: Client, path: str, body: str, *lines: str) -> Told:
    """Return what became of an update; `body` is what is within `propertyupdate`."""
    answer = await ask(client, "PROPPATCH", path, *lines, body=update_of(body))
    [told] = read_multistatus(answer).values()
    return told


def update_of(body: str) -> str:
    """Return the whole body of a PROPPATCH."""
    return (
        '<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x"'
        f' xmlns:w="urn:schemas-microsoft-com:">{body}</D:propertyupdate>'
    )


def set_to(properties: str) -> str:
    """Return an update that sets properties."""
    return f"<D:set><D:prop>{properties}</D:prop></D:set>"


def removing(properties: str) -> str:
    """Return an update that removes properties."""
    return f"<D:remove><D:prop>{properties}</D:prop></D:remove>"


async def make(client: Client, *paths: str, contents: Mapping[str, bytes] | None = None) -> None:
    """Make folders, whose paths end in a slash, and files in a drive, in this order."""
    for path in paths:
        if path.endswith("/"):
            answer = await ask(client, "MKCOL", f"/dav/{path}")
        else:
            content = (contents or {}).get(path, path.encode())
            answer = await ask(client, "PUT", f"/dav/{path}", body=content or b" ")
        assert answer.status == 201, (path, answer.status, answer.body)


async def status_of(client: Client, path: str, method: str = "HEAD") -> int:
    """Return the status of a request without a body in a drive."""
    return (await ask(client, method, f"/dav/{path}")).status
