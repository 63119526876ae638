"""The application: which handler answers what."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.errors import NotFound
from chunkstore.http import files, folders, forms, lists, status
from chunkstore.http.context import (
    FILE_RESOURCE,
    FOLDER_RESOURCE,
    SERVICE,
    redirect_to_folder,
)
from chunkstore.http.errors import MethodNotPossible, allowed_methods, problem_middleware
from chunkstore.http.limits import DEFAULT_LIMITS, LIMITS, Limits
from chunkstore.http.origin import same_origin_middleware
from chunkstore.http.pages import set_up_templates, static_handler
from chunkstore.http.streaming import defer_continue
from chunkstore.memory import MemoryBudget
from chunkstore.names import ROOT
from chunkstore.service import Service
from chunkstore.store.base import Store

DEFAULT_MEMORY: Final = 64 * 1024 * 1024


def create_app(
    store: Store,
    *,
    memory: int = DEFAULT_MEMORY,
    max_file_size: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> web.Application:
    """Return the server of `store` as an application, to be run or mounted in another.

    The store is the caller's, who closes it when the application has ended. `memory` bounds the
    bytes of contents that all requests together hold; `max_file_size` is in bytes as well. Run it
    with `auto_decompress=False`, as `chunkstore serve` does; of the `limits`, those on sending
    bodies hold wherever it runs, those on connections under `http.protocol.ProblemRunner`.
    """
    app = web.Application(middlewares=[problem_middleware, same_origin_middleware])
    app[SERVICE] = Service(store, MemoryBudget(memory), max_file_size=max_file_size)
    app[LIMITS] = limits
    _add_pages(app)
    app.on_response_prepare.append(_secure)
    _add_files(app)
    _add_folders(app)
    _add(app.router.add_resource("/files"), {"GET": _lead_to_root, "HEAD": _lead_to_root})
    _add(app.router.add_resource("/"), {"GET": lists.get, "HEAD": lists.get})
    _add(app.router.add_resource("/health/live"), {"GET": status.live, "HEAD": status.live})
    _add(app.router.add_resource("/health/ready"), {"GET": status.ready, "HEAD": status.ready})
    _add(app.router.add_resource("/stats"), {"GET": status.stats, "HEAD": status.stats})
    nowhere = app.router.add_resource("/{path:(?s:.*)}")
    nowhere.add_route("*", _refuse_path, expect_handler=defer_continue)
    return app


def _add_files(app: web.Application) -> None:
    # (?s:) because a name is refused for its line break, not lost on the way.
    resource = app.router.add_resource("/files/{name:(?s:.*[^/])}", name=FILE_RESOURCE)
    _add(
        resource,
        {
            "GET": files.get,
            "HEAD": files.get,
            "PUT": files.put,
            "DELETE": files.delete,
            "COPY": files.copy_or_move,
            "MOVE": files.copy_or_move,
            "MKCOL": folders.make,
        },
    )


def _add_folders(app: web.Application) -> None:
    resource = app.router.add_resource("/files/{folder:(?s:.*/)?}", name=FOLDER_RESOURCE)
    _add(
        resource,
        {
            "GET": lists.get,
            "HEAD": lists.get,
            "POST": forms.post,
            "DELETE": folders.delete,
            "COPY": folders.copy_or_move,
            "MOVE": folders.copy_or_move,
            "MKCOL": folders.make,
        },
    )


def _add(resource: web.Resource, handlers: dict[str, Handler]) -> None:
    for method, handler in {**handlers, "OPTIONS": _options, "*": _refuse_method}.items():
        resource.add_route(method, handler, expect_handler=defer_continue)


async def _lead_to_root(request: web.Request) -> web.Response:
    return redirect_to_folder(request, ROOT)


async def _options(request: web.Request) -> web.Response:
    headers = {"Allow": allowed_methods(request), "Accept-Ranges": "bytes"}
    return web.Response(headers=headers)


async def _refuse_method(request: web.Request) -> web.Response:
    raise MethodNotPossible(f"{request.method} is not possible here.")


async def _refuse_path(request: web.Request) -> web.Response:
    raise NotFound("Nothing is here; files are under /files/.")


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    """Keep a browser from taking content for something it may run; name no versions."""
    response.headers["Server"] = "chunkstore"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Content-Security-Policy", "sandbox; default-src 'none'")


def _add_pages(app: web.Application) -> None:
    static = static_handler()
    resource = app.router.add_resource("/static/{name}", name="static")
    _add(resource, {"GET": static, "HEAD": static})
    set_up_templates(app)
