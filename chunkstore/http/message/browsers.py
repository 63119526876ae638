"""What a browser is called, as people know their own from others."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

_LONGEST: Final = 1024
# Most call themselves by the names of others too: what stands first here is what counts.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("Chrome", "Chrome"),
    ("CriOS", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_of(request: web.Request) -> str:
    """Return what sends a request, like "Firefox on Linux", "" if that is not known.

    Nothing of the field itself is in it, which anybody can fill with anything.
    """
    agent = request.headers.get(hdrs.USER_AGENT, "")[:_LONGEST]
    browser, system = _first(agent, _BROWSERS), _first(agent, _SYSTEMS)
    return f"{browser or 'a browser'} on {system}" if system else browser


def _first(agent: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((name for mark, name in names if mark in agent), "")
