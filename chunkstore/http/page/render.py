"""Pages: templates, and the policy that a browser applies to them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import ETag, web
from aiohttp.typedefs import Handler

from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound
from chunkstore.core.units import format_size

_STATIC: Final = Path(__file__).with_name("static")
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_TEMPLATES: Final = Path(__file__).with_name("templates")
# Scripts and style sheets have a nonce: 'self' would allow uploaded files.
_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self';"
    " media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_NONCE_SIZE: Final = 16


def set_up_templates(app: web.Application) -> None:
    """Set the application up for `render`; all templates are read now, none while serving."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.DictLoader(
            {path.name: path.read_text(encoding="utf-8") for path in _TEMPLATES.iterdir()}
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = format_size
    environment.filters["time"] = _format_time


def static_handler() -> Handler:
    """Return the handler of scripts, styles and images, which are few and stay in memory."""
    files = {file.name: file.read_bytes() for file in _STATIC.iterdir()}
    tags = {name: ETag(str(Digest.of(content))) for name, content in files.items()}

    async def get(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise NotFound(f"There is no static file {name!r}.")
        known = tags[name] in (request.if_none_match or ())
        response = web.Response(status=HTTPStatus.NOT_MODIFIED) if known else part(name)
        response.etag = tags[name]
        response.headers["Cache-Control"] = "no-cache"
        return response

    def part(name: str) -> web.Response:
        media_type = _MEDIA_TYPES[Path(name).suffix]
        return web.Response(body=files[name], headers={"Content-Type": media_type})

    return get


def render(
    request: web.Request,
    template: str,
    context: Mapping[str, Any],
    status: int = HTTPStatus.OK,
) -> web.Response:
    """Return a page, which runs only its own scripts and loads nothing from other origins."""
    nonce = secrets.token_urlsafe(_NONCE_SIZE)
    response = aiohttp_jinja2.render_template(template, request, {**context, "nonce": nonce})
    response.set_status(status)
    response.headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    # A page that opens this one in a window learns nothing about it.
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
