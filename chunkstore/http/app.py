"""The application: which handler answers what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.core.client_limits import DEFAULT_LIMITS, Limits
from chunkstore.core.errors import InvalidRequest, NotFound
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.names import ROOT
from chunkstore.core.periodic import Periodic
from chunkstore.http.message.answer_headers import add_answer_headers
from chunkstore.http.message.bodies import defer_continue
from chunkstore.http.message.fields import require_text
from chunkstore.http.message.problems import (
    MethodNotPossible,
    Problem,
    allowed_methods,
    check_expectation,
    problem_document,
    problem_middleware,
)
from chunkstore.http.message.request import (
    FOLDERS,
    LIMITS,
    ROOM_RETURNS,
    SERVICE,
    TASKS,
    raw_remainder,
    redirect_to_folder,
)
from chunkstore.http.native import files, folders, forms, lists, status
from chunkstore.http.page.render import set_up_templates, static_handler
from chunkstore.http.resumable import ietf, tus
from chunkstore.http.resumable.dialects import (
    UPLOAD_RESOURCE,
    UPLOADS,
    UPLOADS_RESOURCE,
    add_announced,
    by_dialect,
    overriding,
    uploads_of,
)
from chunkstore.http.security.cors import (
    ORIGINS,
    is_welcome_preflight,
    let_page_read,
    preflight_response,
)
from chunkstore.http.security.csrf import require_own_page
from chunkstore.http.security.gate import HOSTS, end_after_upgrade, gate_middleware, require_meant
from chunkstore.service.memory import DEFAULT_MEMORY, MemoryBudget
from chunkstore.service.resumable.uploads import (
    DEFAULT_EXPIRY_SECONDS,
    DEFAULT_MAX_UNFINISHED,
    Uploads,
)
from chunkstore.service.service import Service
from chunkstore.store.contract.store import Store


def create_app(
    store: Store,
    *,
    memory: int = DEFAULT_MEMORY,
    max_file_size: int | None = None,
    upload_expiry_seconds: float = DEFAULT_EXPIRY_SECONDS,
    max_unfinished: int | None = DEFAULT_MAX_UNFINISHED,
    cors_origins: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    hosts: HostPolicy | None = None,
    tasks: Sequence[Periodic] = (),
    room_returns: str = "Delete files, or give the store more room.",
) -> web.Application:
    """Return the server of `store` as an application, to be run or mounted in another.

    The store is the caller's, who closes it when the application has ended. `memory` bounds the
    bytes of contents that all requests together hold; `max_file_size` is in bytes as well.
    Resumable uploads last `upload_expiry_seconds` from their last progress on, and have at most
    `max_unfinished` bytes in the store until they are finished. Pages of `cors_origins`, like
    `https://example.org`, may use the server, `*` standing for any. `hosts` says which a request
    may be for; None leaves that to the application that this one is mounted in. Run it with
    `auto_decompress=False`, as `chunkstore serve` does; of the `limits`, those on sending
    bodies hold wherever it runs, those on connections under `http.protocol.ProblemRunner`. `tasks`
    are what the caller repeats in the background, of which readiness tells; `room_returns` tells a
    client that there is no room for its content when there may be.
    """
    app = web.Application(middlewares=[problem_middleware, _request_middleware])
    if hosts is not None:
        app[HOSTS] = hosts
    app[ORIGINS] = frozenset(cors_origins)
    app[SERVICE] = Service(store, MemoryBudget(memory), max_file_size=max_file_size)
    app[LIMITS] = limits
    app[forms.PARTS] = forms.PartCount(memory)
    app[status.FIGURES] = status.Figures(store.maintenance, limits.stats_seconds)
    app[ROOM_RETURNS] = room_returns
    app[TASKS] = [*tasks, *store.maintenance.tasks]
    _serve_uploads(
        app,
        Uploads(app[SERVICE], expiry_seconds=upload_expiry_seconds, max_unfinished=max_unfinished),
    )
    _add_pages(app)
    app.on_response_prepare.append(_complete)
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


def mount(app: web.Application, base_path: str) -> web.Application:
    """Return an application that has `app` at `base_path`, `/` or a path like `/store/`."""
    prefix = base_path.rstrip("/")
    if not prefix:
        return app
    outer = web.Application(middlewares=[gate_middleware])
    outer[LIMITS] = app[LIMITS]
    if HOSTS in app:
        outer[HOSTS] = app[HOSTS]
    outer.on_response_prepare.append(_complete_outside)
    # Before the application, which takes its own path without the slash too.
    outer.router.add_get(prefix, partial(_lead_to_base, base_path=prefix + "/"))
    outer.add_subapp(prefix, app)
    outer.router.add_route("*", "/{path:(?s:.*)}", partial(_refuse_outside, base_path=prefix))
    return outer


async def _lead_to_base(request: web.Request, base_path: str) -> web.Response:
    return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": base_path})


async def _refuse_outside(request: web.Request, base_path: str) -> web.Response:
    problem = Problem(HTTPStatus.NOT_FOUND, "not-found")
    return problem_document(problem, f"Nothing is here; everything is under {base_path}/.")


def _add_files(app: web.Application) -> None:
    # (?s:) because a name is refused for its line break, not lost on the way.
    resource = app.router.add_resource("/files/{name:(?s:.*[^/])}")
    _add(
        resource,
        {
            "GET": files.get,
            "HEAD": files.get,
            "PUT": _put,
            # Clients of the draft that know no PUT begin uploads by it.
            "POST": ietf.create,
            "DELETE": files.delete,
            "COPY": files.copy_or_move,
            "MOVE": files.copy_or_move,
            "MKCOL": folders.make,
        },
    )


def _add_folders(app: web.Application) -> None:
    app[FOLDERS] = app.router.add_resource("/files/{folder:(?s:.*/)?}", name="folder")
    _add(
        app[FOLDERS],
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
    for method, handler in {"OPTIONS": _options, **handlers, "*": _refuse_method}.items():
        resource.add_route(method, handler, expect_handler=defer_continue)


def _serve_uploads(app: web.Application, uploads: Uploads) -> None:
    app[UPLOADS] = uploads
    app.on_cleanup.append(_stop_uploads)
    create = by_dialect(tus.create, _refuse_creation)
    for path, name in (("/uploads", UPLOADS_RESOURCE), ("/uploads/", None)):
        _add(
            app.router.add_resource(path, name=name),
            {"POST": create, "OPTIONS": _upload_options},
        )
    handlers: dict[str, Handler] = {
        "GET": by_dialect(tus.head, ietf.head),
        "HEAD": by_dialect(tus.head, ietf.head),
        "PATCH": by_dialect(tus.patch, ietf.patch),
        "DELETE": by_dialect(tus.delete, ietf.delete),
    }
    resource = app.router.add_resource("/uploads/{upload:[^/]+}", name=UPLOAD_RESOURCE)
    _add(resource, {**handlers, "POST": overriding(handlers), "OPTIONS": _upload_options})


async def _stop_uploads(app: web.Application) -> None:
    await app[UPLOADS].close()


async def _refuse_creation(request: web.Request) -> web.Response:
    raise InvalidRequest("Only tus begins uploads here; send PUT with Upload-Complete to a file.")


async def _upload_options(request: web.Request) -> web.Response:
    uploads = uploads_of(request)
    headers = {
        "Allow": allowed_methods(request),
        **tus.options_headers(uploads),
        **ietf.options_headers(uploads),
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)


async def _put(request: web.Request) -> web.Response:
    """Let a PUT be answered by the protocol that it is of."""
    if ietf.is_wanted(request):
        return await ietf.create(request)
    if "Upload-Complete" in request.headers:
        ietf.announce_limits(request)
    return await files.put(request)


async def _lead_to_root(request: web.Request) -> web.Response:
    return redirect_to_folder(request, ROOT)


async def _options(request: web.Request) -> web.Response:
    headers = {"Allow": allowed_methods(request), "Accept-Ranges": "bytes"}
    if "name" in request.match_info:
        headers.update(ietf.options_headers(uploads_of(request)))
    return web.Response(headers=headers)


async def _refuse_method(request: web.Request) -> web.Response:
    raise MethodNotPossible(f"{request.method} is not possible here.")


async def _refuse_path(request: web.Request) -> web.Response:
    raise NotFound("Nothing is here; files are under /files/.")


# One for all that is judged before a handler: each middleware costs every request microseconds.
@web.middleware
async def _request_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass on what is meant for this server, can be read, and comes from a page that may ask.

    Browsers that ask beforehand whether they may are told.
    """
    require_meant(request)
    check_expectation(request)
    raw_remainder(request)
    require_text(request)
    if is_welcome_preflight(request):
        return preflight_response()
    require_own_page(request)
    return await handler(request)


async def _complete(request: web.Request, response: web.StreamResponse) -> None:
    """Add to an answer that is about to leave what every answer has."""
    add_announced(request, response)
    add_answer_headers(response)
    end_after_upgrade(request, response)
    let_page_read(request, response)


async def _complete_outside(request: web.Request, response: web.StreamResponse) -> None:
    add_answer_headers(response)
    end_after_upgrade(request, response)


def _add_pages(app: web.Application) -> None:
    static = static_handler()
    resource = app.router.add_resource("/static/{name}", name="static")
    _add(resource, {"GET": static, "HEAD": static})
    set_up_templates(app)
