"""Bodies that are read by windows, and again from where sending them stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chunkstore.service.memory import Reservation


@dataclass(frozen=True, slots=True)
class Octets:
    """Part of a body in pieces, under a reservation of them."""

    pieces: Sequence[bytes]
    reservation: Reservation

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


class WindowReader(Protocol):
    """Reads a body by windows."""

    async def read(self, instead_of: Reservation | None) -> Octets | None:
        """Return the next window, None at the end; `instead_of` is released.

        Raises:
            StoreDamaged: what is stored is damaged; no byte of its window is returned.
        """

    def unread(self, size: int) -> None:
        """Have the last `size` bytes of the window that was read last come again."""
