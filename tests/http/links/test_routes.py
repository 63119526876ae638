"""Every route below a link is one of a link, and tells strangers nothing."""

from __future__ import annotations

from typing import Final

from chunkstore.http.security.needs import NEEDS
from chunkstore.http.security.rights import nothing
from tests.http.links.conftest import TUS, Shared
from tests.http.steps import BROWSER

LINK: Final = "/s/{link}"
# What each needs who comes by a link, without what is open: to be led to the page, to unlock it.
LINK_ROUTES: Final = [
    (method, path)
    for path, of_route in NEEDS.items()
    if path.startswith(LINK)
    for method, need in of_route.items()
    if need is not nothing
]


def filled(path: str, upload: str = "u") -> str:
    """Return what is below a link in a route's path."""
    rest = path.removeprefix(LINK).removeprefix("{visit}").removeprefix("/")
    return rest.replace("{name}", "n").replace("{folder}", "").replace("{upload}", upload)


async def test_all_links_that_are_none_are_alike(shared_site: Shared) -> None:
    """One that never was, one that was revoked, and ones whose creator may not share any more."""
    assert len(LINK_ROUTES) > 15
    await shared_site.add("bert")
    await shared_site.allow("bert", "secret/", "editor")
    made = [await shared_site.link("/secret/plan/") for _ in range(2)]
    revoked, disabled = made[0], await shared_site.link("/secret/plan/", account="bert")
    unshared = await shared_site.link("/secret/inbox/", drop=True)
    await shared_site.run("link revoke", id=revoked["id"])
    await shared_site.run("user disable", name="bert", disabled=True)
    await shared_site.allow("anna", "secret/inbox/", "list,read,create")
    unknown = {"path": f"/s/{'A' * 22}/"}
    for method, path in LINK_ROUTES:
        for headers in (TUS, BROWSER):
            answers = [
                await shared_site.by(link, method, filled(path), **headers)
                for link in (unknown, revoked, disabled, unshared)
            ]
            assert {answer.status for answer in answers} == {404}, (method, path)
            assert len({answer.body.partition(b"nonce")[0] for answer in answers}) == 1
            assert len({tuple(answer.headers) for answer in answers}) == 1
            # What is about unknown links is limited, see there.
            shared_site.clock.advance(3600)
            made[1] = await shared_site.link("/secret/plan/")
    assert (await shared_site.by(made[1], rest="files/a.txt")).status == 200


async def test_a_link_is_spelled_in_one_way(shared_site: Shared) -> None:
    link = await shared_site.link("/secret/plan/")
    token = link["token"]
    for path in (
        f"/s/%{ord(token[0]):02x}{token[1:]}/files/a.txt", f"/%73/{token}/files/a.txt",
        f"/s/{token}/%66iles/a.txt", f"/s%2F{token}/files/a.txt", f"/S/{token}/files/a.txt",
        f"/s/{token}x/files/a.txt", f"/s/{token[:-1]}/files/a.txt",
    ):  # fmt: skip
        answer = await shared_site.ask(None, "GET", path)
        assert answer.status == 404, path
        assert b"the plan" not in answer.body


async def test_what_browsers_may_not_send_is_refused_there_too(shared_site: Shared) -> None:
    link = await shared_site.link("/secret/inbox/", drop=True)
    answer = await shared_site.by(link, "PUT", "files/x", b"x", Sec_Fetch_Site="cross-site")
    assert answer.status == 403
