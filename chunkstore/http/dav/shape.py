"""How PROPFIND tells of a resource: the properties that were asked for, in XML.

Resources that have the same properties differ in what these are only. So a template is made for
the first of them, and filled in for each at once: long lists spend their time here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from operator import attrgetter
from typing import Final, TypeAlias

from chunkstore.core.dav.properties import PropertyName
from chunkstore.http.dav.live_properties import (
    BY_NAME,
    CHECKSUMS,
    FIXED,
    OF_ALL,
    QUOTA,
    TIMES,
    Outline,
    Resource,
)
from chunkstore.http.dav.multistatus import (
    dav,
    format_empty,
    format_names,
    format_propstat,
    format_response,
    format_tags,
)
from chunkstore.http.dav.propfind_body import Kind, Wanted

_HREF: Final = attrgetter("href")
_LOCKS: Final = dav("lockdiscovery")
_OLD_QUOTA: Final = dav("quotaused")
# A text with a `%s` for the address and for each of the contents, and what returns all of these.
_Template: TypeAlias = tuple[str, Callable[[Resource], object]]


class Shape:
    """How resources are told of."""

    def __init__(self, wanted: Wanted, *, is_minimal: bool) -> None:
        self._wanted = wanted
        self._is_minimal = is_minimal
        self._named = frozenset(wanted.names) - OF_ALL.keys()
        if wanted.kind is Kind.SOME:
            self._named = frozenset(wanted.names)
        all_first = OF_ALL if wanted.kind is Kind.ALL else ()
        self._asked = list(dict.fromkeys([*all_first, *wanted.names]))
        self._templates: dict[Outline | None, _Template] = {}

    @property
    def needs_times(self) -> bool:
        """Whether the times of folders are asked for."""
        return self._wanted.kind is Kind.ALL or any(name in TIMES for name in self._wanted.names)

    @property
    def needs_quota(self) -> bool:
        """Whether a quota is to be told, or that there is one.

        macOS asks for its old `quotaused` too, and by what it is told mounts a drive after 90
        seconds only.
        """
        names = self._wanted.names
        if self._wanted.kind is Kind.NAMES:
            return True
        return any(name in QUOTA for name in names) and _OLD_QUOTA not in names

    @property
    def needs_locks(self) -> bool:
        """Whether it is asked for locks."""
        return self._wanted.kind is Kind.ALL or _LOCKS in self._wanted.names

    @property
    def needs_checksums(self) -> bool:
        """Whether it is asked for checksums."""
        return CHECKSUMS in self._wanted.names

    @property
    def needs_dead(self) -> bool:
        """Whether dead properties are asked for."""
        return self._wanted.kind is not Kind.SOME or any(
            name not in BY_NAME for name in self._wanted.names
        )

    def format(self, resource: Resource) -> str:
        """Return what is told of a resource."""
        # Of dead ones there are as many kinds as clients make, so none is kept.
        outline = None if resource.dead else resource.outline
        template = self._templates.get(outline)
        if template is None:
            template = self._template_of(resource)
            if outline is not None:
                self._templates[outline] = template
        text, contents = template
        return text % contents(resource)

    def _template_of(self, resource: Resource) -> _Template:
        if self._wanted.kind is Kind.NAMES:
            live = [name for name, of in BY_NAME.items() if getattr(resource, of) is not None]
            names = _literal(format_names([*live, *resource.dead]))
            return format_response("%s", format_propstat(names, HTTPStatus.OK)), _HREF
        found: list[str] = []
        contents: list[str] = ["href"]
        missing: list[PropertyName] = []
        if self._wanted.kind is Kind.ALL:
            found += map(_literal, resource.dead.values())
        for name in self._asked:
            of = BY_NAME.get(name)
            content = None if of is None else getattr(resource, of)
            if of is not None and content not in (None, ""):
                before, behind = map(_literal, format_tags(name))
                is_fixed = of in FIXED
                found.append(f"{before}{_literal(content) if is_fixed else '%s'}{behind}")
                contents += () if is_fixed else (of,)
            elif content is not None:
                found.append(_literal(format_empty(name)))
            elif name in resource.dead:
                if self._wanted.kind is not Kind.ALL:
                    found.append(_literal(resource.dead[name]))
            elif name in self._named:
                missing.append(name)
        return format_response("%s", *self._propstats(found, missing)), attrgetter(*contents)

    def _propstats(self, found: Sequence[str], missing: Sequence[PropertyName]) -> list[str]:
        told = []
        if found or not missing or self._is_minimal:
            told.append(format_propstat("".join(found), HTTPStatus.OK))
        if missing and not self._is_minimal:
            names = _literal(format_names(missing))
            told.append(format_propstat(names, HTTPStatus.NOT_FOUND))
        return told


def _literal(text: str) -> str:
    """Return text as it stands in a template."""
    return text.replace("%", "%%")
