"""JSON documents as answers: results, and problems as RFC 9457 has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from chunkstore.http.answers.headers import ANSWER_HEADERS

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "5"
_TYPE_PREFIX: Final = "urn:chunkstore:problem:"


def json_response(
    document: Mapping[str, Any],
    *,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return an answer whose body is `document` as JSON, on one line."""
    return web.Response(
        body=_encode(document),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def _encode(document: Mapping[str, Any]) -> bytes:
    # Without the line end, a terminal's prompt would stand behind the last brace.
    return json.dumps(document).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of error: its status, and `slug`, the last part of its stable `type`.

    `registered` is the whole type where IANA has registered one; `title` is for a status that has
    no phrase of its own.
    """

    status: int
    slug: str
    registered: str | None = None
    title: str | None = None

    @property
    def type(self) -> str:
        """The URI that identifies this kind (RFC 9457 §3.1.1)."""
        return self.registered or _TYPE_PREFIX + self.slug

    @property
    def phrase(self) -> str:
        """The reason phrase of the status."""
        return self.title or HTTPStatus(self.status).phrase


def problem_document(
    problem: Problem, detail: str, members: Mapping[str, Any] | None = None
) -> web.Response:
    """Return a problem document; `members` are what its type adds (RFC 9457 §3.2)."""
    document = {
        "type": problem.type,
        "title": problem.phrase,
        "status": int(problem.status),
        "detail": detail,
        **(members or {}),
    }
    return web.Response(
        status=problem.status,
        reason=problem.phrase,
        body=_encode(document),
        content_type=PROBLEM_TYPE,
        headers={**ANSWER_HEADERS, "Cache-Control": "no-store"},
    )
