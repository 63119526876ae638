"""The log on standard error: lines for people, or a JSON object a line for programs.

No token is in it, wherever a client may have put one, and no code of a provider.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from chunkstore.core.current_request import CURRENT_REQUEST
from chunkstore.http.runtime.targets import mask_links
from chunkstore.server.config import LogFormat
from chunkstore.service.access.tokens import mask_tokens

# What ends a line somewhere, drives a terminal, or is no text: controls, line and paragraph
# separators, marks that turn the direction of writing, lone surrogates.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_IN_LINES = re.compile(_UNFIT.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_SURROGATE = re.compile("[\ud800-\udfff]")
# The answer of a provider that signs people in, in a URL.
_ANSWER = re.compile(r'(/login/oidc\?)[^\s"]+')


class TextFormatter(logging.Formatter):
    """Formats time, level and message, and at its end the id of the request it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and those of a traceback."""
        return _mask(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _escape(_UNFIT, record.message)
        line = super().formatMessage(record)
        request_id = CURRENT_REQUEST.get()
        if request_id is None or record.name == "aiohttp.access":
            return line
        return f"{line} [{request_id}]"

    def formatException(self, ei: Any) -> str:  # noqa: ANN401 - logging's
        return _escape(_UNFIT_IN_LINES, super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """Formats one JSON object (RFC 8259) on one line of ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object: `time`, `level`, `event`, and what else is known."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
        }
        request_id = CURRENT_REQUEST.get()
        if request_id is not None:
            entry["request_id"] = request_id
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _mask(json.dumps({name: _to_text(value) for name, value in entry.items()}))


def make_formatter(log_format: LogFormat) -> logging.Formatter:
    """Return the formatter of that format."""
    return JsonFormatter() if log_format is LogFormat.JSON else TextFormatter()


def announce_line(message: str, log_format: LogFormat) -> str:
    """Return the line by which the server says, on standard output, that it answers."""
    if log_format is LogFormat.TEXT:
        return message
    record = logging.LogRecord("", logging.INFO, "", 0, message, None, None)
    return make_formatter(log_format).format(record)


def configure_logging(log_format: LogFormat) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(make_formatter(log_format))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    # What packages warn of is an entry like others.
    logging.captureWarnings(log_format is LogFormat.JSON)
    # What no format shows is not looked up for each line (logging's HOWTO, Optimization).
    logging._srcfile = None
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False


def _mask(text: str) -> str:
    text = _ANSWER.sub(r"\1***", text) if "/login/oidc?" in text else text
    return mask_tokens(mask_links(text) if "/s/" in text else text)


def _escape(unfit: re.Pattern[str], text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return unfit.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _to_text(value: object) -> object:
    """Return a value whose text has no lone surrogate, which some readers of JSON refuse."""
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value
