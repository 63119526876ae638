"""The application: what is checked before a handler, and added to every answer behind it.

Which handler answers what is in `routes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.core.chunkers import Chunking
from chunkstore.core.client_limits import DEFAULT_LIMITS, Limits
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.periodic import Periodic
from chunkstore.core.proxies import ProxyPolicy
from chunkstore.http.accounts.commands import DELEGATION
from chunkstore.http.answers.documents import Problem, problem_document
from chunkstore.http.answers.headers import add_answer_headers
from chunkstore.http.message.fields import check_fields
from chunkstore.http.message.problems import check_expectation, problem_middleware
from chunkstore.http.message.request import (
    CHECKSUMS,
    ROOM_RETURNS,
    SERVICE,
    TASKS,
    UPLOADS,
    raw_remainder,
)
from chunkstore.http.native import files, forms, status
from chunkstore.http.page.foot import FOOT, Foot
from chunkstore.http.page.render import set_up_templates
from chunkstore.http.resumable.dialects import FINISH_SECONDS, add_request_headers
from chunkstore.http.routes import ANY_PATH, add_routes
from chunkstore.http.runtime.exchange import LIMITS
from chunkstore.http.runtime.senders import INSECURE_LOGIN, PROXIES, add_request_id
from chunkstore.http.security.cors import (
    ORIGINS,
    add_cors_headers,
    is_allowed_preflight,
    preflight_response,
)
from chunkstore.http.security.csrf import require_own_page
from chunkstore.http.security.gate import (
    HOSTS,
    check_message,
    close_after_upgrade,
    gate_middleware,
)
from chunkstore.http.security.guards import enter_guard, says_of_locks
from chunkstore.http.security.hsts import HSTS, add_https_only
from chunkstore.http.security.provider import PROVIDER, Provider
from chunkstore.http.security.rights import (
    PEOPLE,
    Need,
    add_access_headers,
    enter,
    has_cookie,
    need_of,
    nothing,
    refused,
)
from chunkstore.service.access.oidc import Registration
from chunkstore.service.access.people import People
from chunkstore.service.checksums import ContentChecksums
from chunkstore.service.delegation import Delegation
from chunkstore.service.hot_files import HotFiles
from chunkstore.service.memory import DEFAULT_MEMORY, MemoryBudget
from chunkstore.service.resumable.uploads import (
    DEFAULT_EXPIRY_SECONDS,
    DEFAULT_MAX_UNFINISHED,
    ResumableUploads,
)
from chunkstore.service.rights import Rights
from chunkstore.service.service import Service
from chunkstore.store.contract.name_changes import NameChanges
from chunkstore.store.contract.store import Store


def create_app(
    store: Store,
    *,
    memory: int = DEFAULT_MEMORY,
    hot_files: bool = True,
    max_file_size: int | None = None,
    chunking: Chunking = Chunking.FIXED,
    checksums: Sequence[str] = (),
    catches_up: bool = True,
    upload_expiry_seconds: float = DEFAULT_EXPIRY_SECONDS,
    max_unfinished: int | None = DEFAULT_MAX_UNFINISHED,
    cors_origins: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    hosts: HostPolicy | None = None,
    proxies: ProxyPolicy | None = None,
    hsts_seconds: float = 0,
    tasks: Sequence[Periodic] = (),
    room_returns: str = "Delete files, or give the store more room.",
    finish_seconds: float = 25.0,
    people: People | None = None,
    insecure_login: bool = False,
    registration: Registration | None = None,
) -> web.Application:
    """Return the server of `store` as an application, to be run or mounted in another.

    Run it with `auto_decompress=False`, as `chunkstore serve` does. Limits on bodies hold wherever
    it runs; those on connections need `http.runtime.runner.ProblemRunner`.

    Args:
        store: stays the caller's, who closes it when the application has ended.
        memory: bytes of file content that all requests together may hold.
        hot_files: whether small files that were asked for last are kept in what of that is free.
        max_file_size: bytes.
        chunking: how new content is cut.
        checksums: by which algorithms, as `hashlib` names them, they are kept and told.
        catches_up: whether they are computed of what lacks them at the start.
        upload_expiry_seconds: how long a resumable upload is kept after its last progress.
        max_unfinished: bytes that all unfinished resumable uploads may have in the store.
        cors_origins: pages of these may use the server, like `https://example.org`; `*` is any.
        limits: on clients.
        hosts: which a request may be for; None leaves that to the application it is mounted in.
        proxies: which are believed about whom they forward requests of; needs that runner.
        hsts_seconds: how long browsers are told to use https only, where they do; 0 is not at all.
        tasks: what the caller repeats in the background, of which `/health/ready` tells.
        room_returns: tells a client when there may be room again, where there is none.
        finish_seconds: how long a request waits for a large upload to become its file.
        people: those who use the store, if the caller has them; they stay the caller's.
        insecure_login: whether passwords and tokens are taken from other machines without TLS.
        registration: with whom people can sign in besides.
    """
    app = web.Application(middlewares=[problem_middleware, _check_middleware])
    _guard(app, hosts, proxies, f"max-age={hsts_seconds:.0f}" if hsts_seconds else None)
    app[ORIGINS] = frozenset(cors_origins)
    app[INSECURE_LOGIN] = insecure_login
    app[LIMITS] = limits
    app[ROOM_RETURNS] = room_returns
    app[FINISH_SECONDS] = finish_seconds
    service = Service(
        store,
        MemoryBudget(memory),
        max_file_size=max_file_size,
        chunking=chunking,
        checksums=checksums,
    )
    app[SERVICE] = service
    app[UPLOADS] = ResumableUploads(
        service, expiry_seconds=upload_expiry_seconds, max_unfinished=max_unfinished
    )
    app[TASKS] = [*tasks, *store.maintenance.tasks, *app[UPLOADS].tasks]
    app.cleanup_ctx.append(_running_uploads)
    _add_checksums(app, service, catches_up=catches_up)
    _add_people(app, people, registration)
    _add_what_handlers_keep(app, service, hot_files=hot_files)
    set_up_templates(app, None if registration is None else registration.name)
    add_routes(app)
    app.on_response_prepare.append(_add_headers)
    return app


def _add_checksums(app: web.Application, service: Service, *, catches_up: bool) -> None:
    """Have the application keep checksums, if the service computes any."""
    app[CHECKSUMS] = None
    if service.checksums:
        checksums = ContentChecksums(
            service.store, service.reader, service.checksums, catches_up=catches_up
        )
        app[CHECKSUMS] = checksums
        app[TASKS] = [*app[TASKS], checksums.task]
        app.cleanup_ctx.append(partial(_keeping_checksums, checksums=checksums))


def _add_people(
    app: web.Application, people: People | None, registration: Registration | None
) -> None:
    """Have the application know people, its own if there are none, and who signs them in."""
    if people is None:
        people = People.of(app[SERVICE].store)
        app.cleanup_ctx.append(partial(_closing, people=people))
    app[PEOPLE] = people
    people.visiting.uses.is_unfinished = app[UPLOADS].is_unfinished
    app[DELEGATION] = Delegation(people)
    if registration is not None:
        app[PROVIDER] = Provider(registration, people.clock)
        app.cleanup_ctx.append(_running_provider)


def _add_what_handlers_keep(app: web.Application, service: Service, *, hot_files: bool) -> None:
    """Add what handlers keep from one request to the next."""
    store = service.store
    app[files.HOT_FILES] = HotFiles(service.budget)
    if hot_files and store.name_changes is not None:
        app.cleanup_ctx.append(partial(_keeping_hot_files, changes=store.name_changes))
    app[forms.PARTS] = forms.PartCount(service.budget.limit)
    app[status.FIGURES] = status.Figures(store.maintenance, app[LIMITS].stats_seconds)
    app[FOOT] = Foot(store.maintenance.stats)


def _guard(
    app: web.Application, hosts: HostPolicy | None, proxies: ProxyPolicy | None, hsts: str | None
) -> None:
    """Note what is checked of each request, and what browsers are told of https, unless None."""
    if hosts is not None:
        app[HOSTS] = hosts
    if proxies is not None:
        app[PROXIES] = proxies
    if hsts is not None:
        app[HSTS] = hsts


def mount(app: web.Application, base_path: str) -> web.Application:
    """Return an application that has `app` at `base_path`, `/` or a path like `/store/`."""
    prefix = base_path.rstrip("/")
    if not prefix:
        return app
    outer = web.Application(middlewares=[gate_middleware])
    outer[LIMITS] = app[LIMITS]
    _guard(outer, app.get(HOSTS), app.get(PROXIES), app.get(HSTS))
    outer.on_response_prepare.append(_add_headers_outside)
    # Before the application, which takes its own path without the slash too.
    outer.router.add_get(prefix, partial(_redirect_to_base, base_path=prefix + "/"))
    outer.add_subapp(prefix, app)
    outer.router.add_route("*", ANY_PATH, partial(_refuse_outside, base_path=prefix))
    return outer


async def _redirect_to_base(request: web.Request, base_path: str) -> web.Response:
    return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": base_path})


async def _refuse_outside(request: web.Request, base_path: str) -> web.Response:
    problem = Problem(HTTPStatus.NOT_FOUND, "not-found")
    return problem_document(problem, f"Nothing is here; everything is under {base_path}/.")


async def _keeping_hot_files(app: web.Application, changes: NameChanges) -> AsyncIterator[None]:
    async with app[files.HOT_FILES].following(changes):
        yield


async def _closing(app: web.Application, people: People) -> AsyncIterator[None]:
    yield
    people.close()


async def _running_provider(app: web.Application) -> AsyncIterator[None]:
    async with app[PROVIDER].running():
        yield


async def _running_uploads(app: web.Application) -> AsyncIterator[None]:
    for task in app[UPLOADS].tasks:
        task.start()
    yield
    await app[UPLOADS].close()


async def _keeping_checksums(
    app: web.Application, checksums: ContentChecksums
) -> AsyncIterator[None]:
    with app[SERVICE].store.names.followed_by(checksums):
        checksums.task.start()
        yield
        await checksums.task.stop()


# One for all checks before a handler: each middleware costs every request microseconds.
@web.middleware
async def _check_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass on only requests that can be read in one way, come from a page that may send them, and
    are of somebody who may do what they ask for.

    A browser that asks beforehand whether its page may is answered here.
    """
    check_message(request)
    check_expectation(request)
    raw_remainder(request)
    check_fields(request)
    if is_allowed_preflight(request):
        return preflight_response()
    need = need_of(request)
    if need is nothing:
        require_own_page(request)
        return await handler(request)
    rights = await enter(request)
    visit = rights.principal.visit
    if visit is None or visit.first_use is None:
        return await _judge(request, handler, rights, need)
    try:
        return await _judge(request, handler, rights, need)
    finally:
        await request.app[PEOPLE].visiting.leave(visit)


async def _judge(
    request: web.Request, handler: Handler, rights: Rights, need: Need
) -> web.StreamResponse:
    """Pass on what somebody may do."""
    require_own_page(request)
    if not rights.is_open or need is refused:
        need(request, rights)
    if says_of_locks(request):
        await enter_guard(request)
    return await handler(request)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add header fields to an answer that is about to leave, whichever handler it is of.

    A field that every answer has, also one to what is no HTTP request, is a row of
    `answers.headers.ANSWER_HEADERS`; one that depends on the request is added here.
    """
    add_request_headers(request, response)
    add_access_headers(request, response)
    _add_headers_of_all(request, response)
    add_cors_headers(request, response, by_cookie=has_cookie(request))


async def _add_headers_outside(request: web.Request, response: web.StreamResponse) -> None:
    """Do likewise for answers outside of the path that the application is mounted at."""
    _add_headers_of_all(request, response)


def _add_headers_of_all(request: web.Request, response: web.StreamResponse) -> None:
    add_answer_headers(response)
    add_request_id(request, response)
    add_https_only(request, response)
    close_after_upgrade(request, response)
