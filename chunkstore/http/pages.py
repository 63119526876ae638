"""Pages for people: templates, and what a browser may do with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.errors import NotFound
from chunkstore.units import format_size

_STATIC: Final = Path(__file__).with_name("page") / "static"
_MEDIA_TYPES: Final = {".css": "text/css; charset=utf-8"}
_TEMPLATES: Final = Path(__file__).with_name("page") / "templates"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)


def set_up_templates(app: web.Application) -> None:
    """Make `render` work in the application. All templates are read now, none while serving."""
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
    """Return what answers for the parts of pages; few and small files, so memory keeps them."""
    files = {file.name: file.read_bytes() for file in _STATIC.iterdir()}

    async def get(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise NotFound(f"The pages have no part {name!r}.")
        media_type = _MEDIA_TYPES[Path(name).suffix]
        return web.Response(body=files[name], headers={"Content-Type": media_type})

    return get


def render(
    request: web.Request,
    template: str,
    context: Mapping[str, Any],
    status: int = HTTPStatus.OK,
) -> web.Response:
    """Return a page, which runs no script and loads nothing from elsewhere."""
    response = aiohttp_jinja2.render_template(template, request, context)
    response.set_status(status)
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
