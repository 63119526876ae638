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

STATIC_RESOURCE: Final = "static"
LOGIN_RESOURCE: Final = "login"
CODE_RESOURCE: Final = "code"
SECOND_FACTOR_RESOURCE: Final = "second-factor"
SIGN_ON_RESOURCE: Final = "sign-on"
BEGIN_SIGN_ON_RESOURCE: Final = "begin-sign-on"
LOGOUT_RESOURCE: Final = "logout"
ACCOUNT_RESOURCE: Final = "account"
ADMIN_RESOURCE: Final = "admin"
_STATIC: Final = Path(__file__).with_name("static")
# Code of others; `origins.toml` there tells where it is from.
VENDOR: Final = Path(__file__).with_name("vendor")
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_TEMPLATES: Final = Path(__file__).with_name("templates")
# Scripts and style sheets have a nonce: 'self' would allow uploaded files. A worker has none, so a
# path stands for it; its host may be any, since browsers take workers from the page's origin only,
# and the server need not know the name that it has before a proxy.
_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; worker-src http://*:*{worker};"
    " style-src 'nonce-{nonce}'; img-src 'self'; media-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types hasher"
)
# A worker obeys the policy that it comes with, not its page's: it may compile WebAssembly, and load
# and ask for nothing. So what it needs of others stands before it in one script.
_WORKER: Final = "hasher.js"
_BEFORE_WORKER: Final = VENDOR / "hash-wasm" / "blake3.umd.min.js"
_WORKER_POLICY: Final = "default-src 'none'; script-src 'wasm-unsafe-eval'"
_NONCE_SIZE: Final = 16


def set_up_templates(app: web.Application, provider: str | None = None) -> None:
    """Set the application up for `render`; all templates are read now, none while serving.

    `provider` is what the page to sign in calls the server that signs people in, if there is one.
    """
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
    environment.filters["hour"] = _format_hour
    environment.globals["provider"] = provider


def static_handler() -> Handler:
    """Return the handler of scripts, styles and images, which are few and stay in memory."""
    files = {file.name: file.read_bytes() for file in _STATIC.iterdir()}
    files[_WORKER] = _BEFORE_WORKER.read_bytes() + files[_WORKER]
    tags = {name: ETag(str(Digest.of(content))) for name, content in files.items()}

    async def get(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise NotFound(f"There is no static file {name!r}.")
        known = tags[name] in (request.if_none_match or ())
        response = web.Response(status=HTTPStatus.NOT_MODIFIED) if known else part(name)
        response.etag = tags[name]
        response.headers["Cache-Control"] = "no-cache"
        if name == _WORKER:
            response.headers["Content-Security-Policy"] = _WORKER_POLICY
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
    response.headers["Content-Security-Policy"] = _policy(request.app, nonce)
    # A page that opens this one in a window learns nothing about it.
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    # Nor does one that it leads to. (`no-referrer` would take the origin from forms too.)
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _policy(app: web.Application, nonce: str) -> str:
    worker = str(app.router.named_resources()[STATIC_RESOURCE].url_for(name=_WORKER))
    # In a policy these two separate (CSP3 §2.3.1), in a path they need not be escaped.
    return _POLICY.format(nonce=nonce, worker=worker.replace(";", "%3B").replace(",", "%2C"))


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _format_hour(moment: datetime) -> str:
    return f"{moment:%H:%M} UTC"
