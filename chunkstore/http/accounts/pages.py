"""`/account` and `/admin/`: the pages on which people see to what they have, and to who may what.

They show what the commands of `service/delegation` tell whoever looks at them, and have the browser
send those commands. Secrets are in none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from aiohttp import web

from chunkstore.core.access import ROLES, Verbs
from chunkstore.core.errors import ChunkstoreError, InvalidRequest, NotFound
from chunkstore.core.names import ROOT
from chunkstore.http.accounts.commands import DELEGATION
from chunkstore.http.message.request import names_root
from chunkstore.http.page.render import ADMIN_RESOURCE, render
from chunkstore.http.runtime.senders import address_of
from chunkstore.http.security.rights import PEOPLE, rights_of
from chunkstore.http.security.told import who_is
from chunkstore.service.access.passwords import LEAST_LENGTH

Context = Mapping[str, Any]

_PAGE: Final = 200
_LONGEST_SEARCH: Final = 4 * 1024
# Who ends sooner is told so.
_SOON: Final = timedelta(days=14)
# What lists are searched by.
_TEXTS: Final = ("name", "subject", "account", "label", "target")
_VERBS: Final = tuple(verb.name.lower() for verb in Verbs if verb.name is not None)


@dataclass(frozen=True, slots=True)
class _Section:
    """A page of administration: its title, and what it shows; only `of_store` need all rights."""

    title: str
    show: Callable[[web.Request], Awaitable[Context]]
    of_store: bool


async def account(request: web.Request) -> web.Response:
    """Answer with the page of who is signed in: tokens, sessions, password."""
    own = rights_of(request).principal.account
    if own is None:
        raise NotFound("There are no accounts here.")
    context = {
        "name": own.name,
        "tokens": await _tokens(request, own.name),
        "sessions": await _run(request, "session ls", {"account": own.name}),
        "links": await _run(request, "link ls", {"account": own.name}),
        "may_share": rights_of(request).access.somewhere(Verbs.SHARE),
        "shared": _searched(request, "share"),
        "has_password": own.password is not None,
        "has_factor": own.totp is not None,
    }
    return _render(request, "account.html", context)


async def admin(request: web.Request) -> web.Response:
    """Answer with a page of administration, as far as whoever asks may see it."""
    rights = rights_of(request)
    if rights.is_open:
        raise NotFound("There are no accounts here.")
    of_store = Verbs.ADMIN in rights.access.verbs(ROOT)
    possible = {name: one for name, one in _SECTIONS.items() if of_store or not one.of_store}
    wanted = request.match_info["section"]
    if not wanted:
        to = request.app.router[ADMIN_RESOURCE].url_for(section=next(iter(possible)))
        raise web.HTTPSeeOther(to)
    section = _SECTIONS.get(wanted)
    if section is None:
        raise NotFound("There is no such page.")
    context = {
        "section": wanted,
        "sections": {name: one.title for name, one in possible.items()},
        "title": section.title,
        **await section.show(request),
    }
    return _render(request, f"{wanted}.html", context)


def _render(request: web.Request, template: str, context: Context) -> web.Response:
    common = {
        "root_url": names_root(request.app),
        "roles": tuple(ROLES),
        "verbs": _VERBS,
        "least_length": LEAST_LENGTH,
        **who_is(request),
    }
    response = render(request, template, {**common, **context})
    response.headers["Cache-Control"] = "no-store"
    return response


async def _run(request: web.Request, command: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    principal = rights_of(request).principal
    return await request.app[DELEGATION].run(principal, command, arguments, address_of(request))


async def _tokens(request: web.Request, name: str | None) -> list[dict[str, Any]]:
    """Return the tokens of an account, or all, each with how soon it ends."""
    now = request.app[PEOPLE].clock.now()
    found = await _run(request, "token ls", {"account": name})
    return [{**token, "days_left": _days_left(token["expires"], now)} for token in found]


def _days_left(expires: str | None, now: datetime) -> int | None:
    """Return after how many days something ends, None if that is not soon."""
    left = None if expires is None else datetime.fromisoformat(expires) - now
    return None if left is None or left > _SOON else left.days


async def _show_accounts(request: web.Request) -> Context:
    return _page(request, "accounts", await _run(request, "user ls", {}))


async def _show_groups(request: web.Request) -> Context:
    return _page(request, "groups", await _run(request, "group ls", {}))


async def _show_tokens(request: web.Request) -> Context:
    return _page(request, "tokens", await _tokens(request, None))


async def _show_links(request: web.Request) -> Context:
    return _page(request, "links", await _run(request, "link ls", {"account": None}))


async def _show_rules(request: web.Request) -> Context:
    folder = _searched(request, "folder")
    folder = f"/{folder.removeprefix('/')}" if folder else ""
    found = [rule for rule in await _run(request, "rules", {}) if rule["folder"].startswith(folder)]
    return {**_page(request, "rules", found, folder=folder), "folder": folder}


def _page(
    request: web.Request, key: str, found: Sequence[Mapping[str, Any]], **query: str
) -> Context:
    """Return a page of what was found, as far as what is searched for is in one of its texts."""
    wanted = _searched(request, "find")
    text = wanted.lower()
    fitting = [one for one in found if not text or _has(one, text)]
    place = _searched(request, "from")
    start = min(int(place) if place.isdecimal() and len(place) < 10 else 0, len(fitting))
    shown = fitting[start : start + _PAGE]
    next_url = request.rel_url.with_query({**query, "find": wanted, "from": str(start + _PAGE)})
    foot = {
        "first": start + 1,
        "last": start + len(shown),
        "count": len(fitting),
        "next_url": str(next_url) if start + _PAGE < len(fitting) else None,
    }
    return {key: shown, "find": wanted, "foot": foot}


def _has(one: Mapping[str, Any], text: str) -> bool:
    return any(text in str(one.get(key, "")).lower() for key in _TEXTS)


async def _show_who_can(request: web.Request) -> Context:
    verb, name = _searched(request, "verb") or "read", _searched(request, "name")
    found: Sequence[Mapping[str, Any]] | None = None
    problem = ""
    if name:
        try:
            found = await _run(request, "who-can", {"verb": verb, "name": name})
        except ChunkstoreError as error:
            problem = error.for_clients
    return {"verb": verb, "name": name, "found": found, "problem": problem}


async def _show_quotas(request: web.Request) -> Context:
    return {"quotas": await _run(request, "quota ls", {})}


async def _show_locks(request: web.Request) -> Context:
    """Show names with the locks that were taken on them, which are broken together."""
    found = await _run(request, "locks ls", {})
    names = [_locked(name, list(locks)) for name, locks in groupby(found, itemgetter("name"))]
    return _page(request, "locks", names)


def _locked(name: str, locks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    holders = [lock["account"] or lock["owner_text"] for lock in locks]
    return {
        "name": name,
        "locks": locks,
        "account": ", ".join(dict.fromkeys(filter(None, holders))),
    }


async def _show_audit(request: web.Request) -> Context:
    yesterday = (request.app[PEOPLE].clock.now() - timedelta(days=1)).date().isoformat()
    wanted = {key: _searched(request, key) for key in ("since", "actor", "action", "name")}
    wanted["since"] = wanted["since"] or yesterday
    arguments = {key: text or None for key, text in wanted.items()}
    after, problem = _searched(request, "after") or None, ""
    found: Mapping[str, Any] = {"entries": [], "after": None}
    try:
        found = await _run(request, "audit", {**arguments, "after": after, "most": _PAGE})
    except InvalidRequest as error:
        problem = str(error)
    next_url = request.rel_url.with_query({**wanted, "after": found["after"] or ""})
    return {
        **wanted,
        "entries": found["entries"],
        "problem": problem,
        "next_url": str(next_url) if found["after"] else None,
    }


def _searched(request: web.Request, field: str) -> str:
    return request.query.get(field, "")[:_LONGEST_SEARCH]


_SECTIONS: Final[Mapping[str, _Section]] = {
    "accounts": _Section("Accounts", _show_accounts, of_store=True),
    "groups": _Section("Groups", _show_groups, of_store=True),
    "rules": _Section("Rules", _show_rules, of_store=False),
    "who-can": _Section("Who can", _show_who_can, of_store=False),
    "tokens": _Section("Tokens", _show_tokens, of_store=True),
    "links": _Section("Links", _show_links, of_store=True),
    "quotas": _Section("Quotas", _show_quotas, of_store=False),
    "locks": _Section("Locks", _show_locks, of_store=False),
    "audit": _Section("Audit log", _show_audit, of_store=True),
}
