"""Errors as RFC 9457 problem documents, for browsers as pages.

`PROBLEMS` is the one table of which error has which status. An error that is not in it is a defect:
it is logged with its traceback and answered with a plain 500.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.core import errors
from chunkstore.http.answers.documents import RETRY_AFTER_SECONDS, Problem, problem_document
from chunkstore.http.message.negotiation import prefers_html
from chunkstore.http.message.request import ROOM_RETURNS, comes_by_link
from chunkstore.http.page.link_password import link_password_page
from chunkstore.http.page.render import render
from chunkstore.http.page.sign_in import SIGN_IN, SignIn, login_page
from chunkstore.http.runtime.exchange import bytes_received, bytes_sent, let_read
from chunkstore.http.runtime.senders import address_of, is_private
from chunkstore.http.runtime.targets import shown_target

_REALM: Final = 'realm="chunkstore"'
_REGISTERED: Final = "https://iana.org/assignments/http-problem-types#"

_logger = logging.getLogger(__name__)


class UnsupportedMedia(errors.InvalidRequest):
    """The request's body has a media type or coding that is not supported here."""


class EncodedBody(UnsupportedMedia):
    """The body has a Content-Encoding, and would have to be decoded to be stored."""


class MethodNotPossible(errors.InvalidRequest):
    """The resource does not support this method."""


class InvalidMessage(errors.ChunkstoreError):
    """The request is for another server, or can be parsed in more than one way.

    The answer is always a document: a page could be read by the site that sent the browser here.
    """

    def __init__(self, problem: Problem, detail: str) -> None:
        """`problem` is the kind of error, `detail` says what to do about it."""
        super().__init__(detail)
        self.problem = problem

    def to_response(self) -> web.Response:
        """Return the answer, which closes the connection."""
        response = problem_document(self.problem, str(self))
        response.force_close()
        return response


class UnknownExpectation(errors.InvalidRequest):
    """Expect is only supported as 100-continue."""


class SlowBody(errors.InvalidRequest):
    """The body came too slowly; what had arrived was discarded."""


class FieldTooLarge(errors.InvalidRequest):
    """A header field is longer than any valid value of it."""


class ElsewhereDestination(errors.InvalidRequest):
    """The destination is on another server."""


class ChecksumMismatch(errors.ContentMismatch):
    """The body does not match its checksum; it was discarded."""


class UnknownTusVersion(errors.InvalidRequest):
    """Tus-Resumable must be 1.0.0 here."""


class Busy(errors.ChunkstoreError):
    """The server is busy with other requests of this kind; try again."""


# The first class that matches decides, so subclasses stand before their bases.
PROBLEMS: Final[dict[type[errors.ChunkstoreError], Problem]] = {
    errors.InvalidName: Problem(HTTPStatus.BAD_REQUEST, "invalid-name"),
    ChecksumMismatch: Problem(460, "checksum-mismatch", title="Checksum Mismatch"),
    errors.ContentMismatch: Problem(HTTPStatus.BAD_REQUEST, "content-mismatch"),
    UnsupportedMedia: Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media"),
    MethodNotPossible: Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed"),
    UnknownExpectation: Problem(HTTPStatus.EXPECTATION_FAILED, "unknown-expectation"),
    SlowBody: Problem(HTTPStatus.REQUEST_TIMEOUT, "slow-request"),
    FieldTooLarge: Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large"),
    ElsewhereDestination: Problem(HTTPStatus.BAD_GATEWAY, "destination-elsewhere"),
    UnknownTusVersion: Problem(HTTPStatus.PRECONDITION_FAILED, "unknown-tus-version"),
    errors.InconsistentLength: Problem(
        HTTPStatus.BAD_REQUEST, "inconsistent-length", _REGISTERED + "inconsistent-upload-length"
    ),
    errors.DigestMismatch: Problem(HTTPStatus.BAD_REQUEST, "digest-mismatch"),
    errors.InvalidRequest: Problem(HTTPStatus.BAD_REQUEST, "invalid-request"),
    errors.Locked: Problem(HTTPStatus.LOCKED, "locked"),
    errors.TooManyLocks: Problem(HTTPStatus.INSUFFICIENT_STORAGE, "too-many-locks"),
    errors.TooManyProperties: Problem(HTTPStatus.INSUFFICIENT_STORAGE, "too-many-properties"),
    errors.InsecureLogin: Problem(HTTPStatus.FORBIDDEN, "insecure-login"),
    errors.PasswordNeeded: Problem(HTTPStatus.FORBIDDEN, "password-needed"),
    errors.UnknownIdentity: Problem(HTTPStatus.FORBIDDEN, "unknown-identity"),
    errors.Forbidden: Problem(HTTPStatus.FORBIDDEN, "forbidden"),
    errors.SignOnFailed: Problem(HTTPStatus.FORBIDDEN, "sign-on-failed"),
    errors.ProviderUnavailable: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "provider-unavailable"),
    errors.CodeRefused: Problem(HTTPStatus.FORBIDDEN, "code-refused"),
    errors.UploadExpired: Problem(HTTPStatus.GONE, "upload-expired"),
    errors.NotFound: Problem(HTTPStatus.NOT_FOUND, "not-found"),
    errors.UploadCompleted: Problem(
        HTTPStatus.BAD_REQUEST, "completed-upload", _REGISTERED + "completed-upload"
    ),
    errors.UploadSuperseded: Problem(HTTPStatus.CONFLICT, "upload-superseded"),
    errors.OffsetMismatch: Problem(
        HTTPStatus.CONFLICT, "offset-mismatch", _REGISTERED + "mismatching-upload-offset"
    ),
    errors.ChunksMissing: Problem(HTTPStatus.CONFLICT, "chunks-missing"),
    errors.LinkPasswordNeeded: Problem(HTTPStatus.UNAUTHORIZED, "link-password-needed"),
    errors.LinkUsedUp: Problem(HTTPStatus.GONE, "link-used-up"),
    errors.LinkContentReplaced: Problem(HTTPStatus.GONE, "link-content-replaced"),
    errors.LinkFull: Problem(HTTPStatus.INSUFFICIENT_STORAGE, "link-full"),
    errors.SignInNeeded: Problem(HTTPStatus.UNAUTHORIZED, "sign-in-needed"),
    errors.SignInFailed: Problem(HTTPStatus.UNAUTHORIZED, "sign-in-failed"),
    errors.TooManyAttempts: Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-attempts"),
    errors.SignInBusy: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "sign-in-busy"),
    errors.AccountExists: Problem(HTTPStatus.CONFLICT, "account-exists"),
    errors.RecordsChanged: Problem(HTTPStatus.CONFLICT, "changed-meanwhile"),
    errors.AlreadyExists: Problem(HTTPStatus.PRECONDITION_FAILED, "already-exists"),
    errors.NameConflict: Problem(HTTPStatus.CONFLICT, "name-conflict"),
    errors.PreconditionFailed: Problem(HTTPStatus.PRECONDITION_FAILED, "precondition-failed"),
    errors.TooLarge: Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large"),
    errors.RangeNotSatisfiable: Problem(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "range-not-satisfiable"
    ),
    errors.Crowded: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "crowded"),
    errors.QuotaExceeded: Problem(HTTPStatus.INSUFFICIENT_STORAGE, "quota-exceeded"),
    errors.TooMuchUnfinished: Problem(HTTPStatus.INSUFFICIENT_STORAGE, "too-much-unfinished"),
    errors.StoreFull: Problem(HTTPStatus.INSUFFICIENT_STORAGE, "store-full"),
    Busy: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
    errors.DatabaseReplaced: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "database-replaced"),
    errors.DatabaseDamaged: Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "database-damaged"),
    errors.StoreUnavailable: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"),
    errors.StoreDamaged: Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "store-damaged"),
    errors.StoreError: Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "store-error"),
}
# Errors of clients, and those that the store logs by itself.
_NOT_LOGGED: Final = (
    ElsewhereDestination,
    errors.LinkFull,
    errors.QuotaExceeded,
    errors.StoreAway,
    errors.TooManyLocks,
    errors.TooManyProperties,
)
# How many missing chunks an answer names.
_MOST_NAMED: Final = 100
# Messages of these have no name but of the request itself.
_NAMELESS: Final = (
    errors.InvalidRequest,
    errors.LinkFull,
    errors.OffsetMismatch,
    errors.RangeNotSatisfiable,
    errors.StoreError,
    errors.TooLarge,
)
_INTERNAL: Final = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error")


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem; close the connection where a body is left unread."""
    try:
        response = await handler(request)
    except InvalidMessage as error:
        return error.to_response()
    except errors.ChunkstoreError as error:
        response = error_response(request, error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = _respond_to_framework_error(request, error)
    except ConnectionError:
        _logger.info(
            "%s disconnected during %s %s: %d bytes received, %d sent.",
            address_of(request),
            request.method,
            shown_target(request),
            bytes_received(request),
            bytes_sent(request),
        )
        raise
    except web.RequestPayloadError:
        response = problem_response(
            request, Problem(HTTPStatus.BAD_REQUEST, "invalid-request"), "The body is malformed."
        )
        response.force_close()
    except Exception:
        _logger.exception("%s %s failed.", request.method, shown_target(request))
        _abort_if_begun(request)
        response = problem_response(
            request, _INTERNAL, "The server failed to answer; its log says why."
        )
    let_read(request)
    if not response.prepared and not request.content.is_eof():
        response.force_close()
    return response


def check_expectation(request: web.Request) -> None:
    """Refuse an expectation that is not met here (RFC 9110 §10.1.1).

    Raises:
        UnknownExpectation: it is another than 100-continue.
    """
    expected = request.headers.get("Expect")
    if expected is not None and expected.strip().lower() != "100-continue":
        raise UnknownExpectation


def problem_response(
    request: web.Request,
    problem: Problem,
    detail: str,
    members: Mapping[str, Any] | None = None,
) -> web.Response:
    """Return the answer that tells of a problem: a page for a browser, else a document."""
    if prefers_html(request):
        by_link = comes_by_link(request)
        context = {
            "title": problem.phrase,
            "detail": detail,
            "by_link": by_link,
            "is_locked": problem.status == HTTPStatus.LOCKED,
        }
        response = render(request, "error.html", context, problem.status)
        response.headers["Cache-Control"] = "no-store"
    else:
        response = problem_document(problem, detail, members)
    response.headers["Vary"] = "Accept"
    return response


def error_response(
    request: web.Request,
    error: errors.ChunkstoreError,
    members: Mapping[str, Any] | None = None,
) -> web.Response:
    """Return the answer that tells of an error; `members` are what it has more than its type."""
    problem = next((PROBLEMS[kind] for kind in PROBLEMS if isinstance(error, kind)), _INTERNAL)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, _NOT_LOGGED):
        _log(request, problem, error)
    _abort_if_begun(request)
    members = members or {}
    if isinstance(error, errors.OffsetMismatch):
        members = {"expected-offset": error.expected, "provided-offset": error.provided}
    if isinstance(error, errors.QuotaExceeded) and error.folder is not None:
        figures = {"unit": error.unit, "limit": error.limit, "used": error.used}
        members = {**members, "folder": f"/{error.folder}", **figures}
    if isinstance(error, errors.Locked) and not comes_by_link(request):
        members = {**members, "locks": _told_locks(error)}
    if isinstance(error, errors.ChunksMissing):
        members = {"missing": error.count, "first": error.digests[:_MOST_NAMED]}
    if _is_about_signing_in(request, problem) and prefers_html(request):
        response = _login_page(request, error, problem)
    else:
        response = problem_response(request, problem, _detail(request, error), members)
    if isinstance(error, errors.OffsetMismatch):
        response.headers["Upload-Offset"] = str(error.expected)
    if isinstance(error, errors.ChunksMissing) and error.offset is not None:
        response.headers["Upload-Offset"] = str(error.offset)
    if isinstance(error, errors.RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _challenge(request)
    if isinstance(error, errors.TooManyAttempts):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    if isinstance(error, MethodNotPossible):
        response.headers["Allow"] = allowed_methods(request)
    if isinstance(error, EncodedBody):
        # RFC 9110 §12.5.3: in a 415, what codings would have been taken.
        response.headers["Accept-Encoding"] = "identity"
    return response


def _told_locks(error: errors.Locked) -> list[Mapping[str, Any]]:
    return [
        {
            "name": f"/{lock.name}",
            "owner": lock.by,
            "yours": error.is_own(lock),
            "expires": lock.expires.isoformat(timespec="seconds"),
        }
        for lock in error.locks
    ]


def _is_about_signing_in(request: web.Request, problem: Problem) -> bool:
    return problem.status == HTTPStatus.UNAUTHORIZED or SIGN_IN in request


def _login_page(
    request: web.Request, error: errors.ChunkstoreError, problem: Problem
) -> web.Response:
    """Return the page on which a browser signs in, and goes on to what it asked for."""
    detail = _detail(request, error)
    needed = isinstance(error, errors.SignInNeeded)
    if comes_by_link(request):
        response = link_password_page(
            request,
            is_private=is_private(request),
            status=problem.status,
            text=detail if needed else "",
            problem="" if needed else detail,
        )
        response.headers["Vary"] = "Accept"
        return response
    wanted = request.rel_url.raw_path_qs if request.method == "GET" else ""
    form = request.get(SIGN_IN, SignIn(next=wanted))
    response = login_page(
        request,
        form,
        is_private=is_private(request),
        status=problem.status,
        text=detail if needed else "",
        problem="" if needed else detail,
    )
    response.headers["Vary"] = "Accept"
    return response


def _challenge(request: web.Request) -> str:
    """Return how to sign in (RFC 7617, RFC 6750); a browser shows the page, and no dialog."""
    if "Sec-Fetch-Mode" in request.headers:
        return f"Bearer {_REALM}"
    return f'Basic {_REALM}, charset="UTF-8"'


def _detail(request: web.Request, error: errors.ChunkstoreError) -> str:
    if isinstance(error, errors.StoreFull) and not isinstance(error, errors.TooMuchUnfinished):
        return f"{error} {request.app[ROOM_RETURNS]}"
    if comes_by_link(request) and not isinstance(error, _NAMELESS):
        # Its message may have the name of a folder that the link does not lead to.
        return (type(error).__doc__ or "").partition("\n")[0]
    return error.for_clients


def _log(request: web.Request, problem: Problem, error: errors.ChunkstoreError) -> None:
    """Log what the server failed at: one line, with a traceback only where it may be a defect."""
    temporary = problem.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE)
    known = temporary or isinstance(error, errors.StoreDamaged)
    _logger.log(
        logging.WARNING if temporary else logging.ERROR,
        "%s %s: %s",
        request.method,
        shown_target(request),
        errors.describe_causes(error),
        exc_info=None if known else error,
    )


def _respond_to_framework_error(request: web.Request, error: web.HTTPException) -> web.Response:
    status = HTTPStatus(error.status)
    slug = status.phrase.lower().replace(" ", "-")
    return problem_response(request, Problem(status, slug), error.text or status.description)


def allowed_methods(request: web.Request) -> str:
    """Return the methods that the request's resource supports, as Allow lists them."""
    resource = request.match_info.route.resource
    assert resource is not None
    return ", ".join(sorted(route.method for route in resource if route.method != "*"))


def _abort_if_begun(request: web.Request) -> None:
    """Break the connection off if an answer has begun: it must not look complete."""
    if bytes_sent(request) > 0:
        raise ConnectionAbortedError("the answer cannot be completed")
