"""What an answer of the server means: errors from statuses and problem documents (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from chunkstore.client.errors import (
    ChunksMissing,
    ClientError,
    ConditionFailed,
    Mismatch,
    Missing,
    Refused,
    ServerAway,
)
from chunkstore.client.transport import Answer
from chunkstore.core.digest import Digest

_MAX_PROBLEM_SIZE: Final = 64 * 1024
# A list of 1,000 names of 1,024 bytes has less, however they are escaped.
_MAX_JSON_SIZE: Final = 16 * 1024 * 1024
_MISMATCHES: Final = frozenset({"content-mismatch", "digest-mismatch", "checksum-mismatch"})


def require(answer: Answer, *statuses: int) -> Answer:
    """Return the answer if it has one of the statuses; else close it.

    Raises:
        ClientError: it has not; of the class that suits the status.
    """
    if answer.status in statuses:
        return answer
    with answer:
        error = error_of(answer)
        error.is_repeated = answer.is_repeated
        raise error


def error_of(answer: Answer) -> ClientError:
    """Return the error that an answer tells, whose body has not been read."""
    document = _document(answer)
    error = _error_of(answer, document)
    place = document.get("edit")
    if isinstance(place, int) and place >= 0:
        error.edit = place
    return error


def _error_of(answer: Answer, document: Mapping[str, Any]) -> ClientError:
    problem = str(document.get("type", "")).rpartition(":")[2].rpartition("#")[2]
    detail = document.get("detail")
    message = f"The server answered ({answer.status})."
    if isinstance(detail, str) and detail:
        message = detail
    elif answer.status in (400, 401):
        # That to HEAD has no body which would say it.
        message = _without_body(answer)
    match answer.status:
        case 404 | 410:
            return Missing(message)
        case 412:
            return ConditionFailed(message)
        case 408 | 429 | 502 | 503 | 504:
            return ServerAway(message)
        case 409 if problem == "chunks-missing":
            return ChunksMissing(message, _digests(document.get("first")), offset_of(answer))
    if problem in _MISMATCHES:
        return Mismatch(message)
    return Refused(answer.status, problem, message)


def _without_body(answer: Answer) -> str:
    if answer.status == 401 and answer.is_signed:
        return "The token, or the name and password, are not right here, or not any more (401)."
    if answer.status == 401:
        return "The server asks who this is: set CHUNKSTORE_TOKEN, or have it in ~/.netrc (401)."
    if answer.is_over_tls:
        return "The server answered (400)."
    return "The server answered (400). If it speaks TLS, the URL begins with https://."


def read_json(answer: Answer) -> dict[str, Any]:
    """Return the JSON object that is the body, and close the answer.

    Raises:
        Refused: it is none; this is no server of chunkstore.
        ServerAway: the connection was lost.
    """
    with answer:
        content = answer.read(_MAX_JSON_SIZE)
    found = parse_json(content)
    if not isinstance(found, dict):
        raise Refused(answer.status, "", "The answer is not the JSON of a chunkstore server.")
    return found


def parse_json(content: bytes) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return what JSON has, None if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def offset_of(answer: Answer) -> int | None:
    """Return the Upload-Offset of an answer, None without a valid one."""
    value = answer.headers.get("Upload-Offset", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _document(answer: Answer) -> dict[str, Any]:
    if "json" not in answer.headers.get("Content-Type", ""):
        return {}
    content = b""
    try:
        for piece in answer.pieces():
            content += piece
            if len(content) > _MAX_PROBLEM_SIZE:
                return {}
    except ServerAway:
        return {}
    found = parse_json(content)
    return found if isinstance(found, dict) else {}


def _digests(found: object) -> list[Digest]:
    try:
        return [Digest.parse(text) for text in found] if isinstance(found, list) else []
    except (ValueError, TypeError, AttributeError):
        return []
