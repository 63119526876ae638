"""Times as programs send them that keep files alike: seconds since 1970 (`X-OC-Mtime`, `mtime`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNIX_TIME: Final = re.compile(r"(-?[0-9]{1,12})(?:\.([0-9]{1,9})[0-9]*)?", re.ASCII)
_LEAST_TIME: Final = 0
# The last second that HTTP can tell, in the year 9999.
_GREATEST_TIME: Final = 253_402_300_799


def parse_unix_time(text: str) -> datetime | None:
    """Return the time that seconds since 1970 tell, with a fraction or not; None for no time."""
    match = _UNIX_TIME.fullmatch(text.strip())
    if match is None or not _LEAST_TIME <= int(match[1]) <= _GREATEST_TIME:
        return None
    microseconds = int((match[2] or "").ljust(6, "0")[:6])
    return datetime.fromtimestamp(int(match[1]), UTC).replace(microsecond=microseconds)
