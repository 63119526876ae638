"""What of an upload's metadata (tus, Upload-Metadata) says how its file is to be."""

from __future__ import annotations

import binascii
from datetime import datetime

from chunkstore.core.unix_time import parse_unix_time


def modified_in(metadata: str) -> datetime | None:
    """Return the time that the file is to have: `mtime`, as rclone sends it; None for no time."""
    for pair in metadata.split(","):
        key, _, encoded = pair.strip().partition(" ")
        if key == "mtime":
            try:
                return parse_unix_time(binascii.a2b_base64(encoded).decode())
            except ValueError:
                return None
    return None
