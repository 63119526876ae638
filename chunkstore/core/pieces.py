"""Pieces of bytes, as a connection brings them, that are joined to what they are parts of."""

from __future__ import annotations

from typing import Final

# Shorter parts are copied: a view of one takes some 200 bytes by itself.
_SHORT: Final = 4 * 1024


class Pieces:
    """Bytes that have come in pieces and are to be joined, copying each once, or twice if short.

    The memory kept alive stays below about twice their `size`, whatever the pieces.
    """

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[memoryview | bytearray] = []

    def keep(self, part: memoryview) -> None:
        """Keep part of a piece; a view of it keeps all of that piece alive."""
        self.size += len(part)
        if len(part) >= _SHORT and 2 * len(part) >= memoryview(part.obj).nbytes:
            self._pieces.append(part)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += part
        else:
            self._pieces.append(bytearray(part))

    def join(self, last: memoryview | bytes = b"") -> bytes:
        """Return all that was kept, and `last` behind it; keep nothing any more."""
        joined = b"".join([*self._pieces, last])
        self._pieces.clear()
        self.size = 0
        return joined
