"""What transfers tell of themselves while they run.

Each call may come from any thread. `name` is that of the file in the report: the path or the name
on the server that the user knows it by. All sizes are bytes.
"""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Is told what transfers do.

    For a file come `started`, any number of `transferred` and `spared`, then `finished` or
    `failed`. `started` again for the same name means that the file is begun anew.
    """

    def planned(self, files: int, size: int) -> None:
        """Expect so many more files, of so many bytes of content together."""

    def started(self, name: str, size: int) -> None:
        """Begin a file whose content has so many bytes."""

    def transferred(self, name: str, size: int, wire_size: int) -> None:
        """Count bytes of content that were sent or fetched, and what they took on the wire."""

    def spared(self, name: str, size: int) -> None:
        """Count bytes of content that needed no transfer, since the other side has them."""

    def finished(self, name: str) -> None:
        """End a file that is now whole where it was to go."""

    def failed(self, name: str, error: Exception) -> None:
        """End a file that could not be transferred."""

    def warned(self, message: str) -> None:
        """Tell the user something that ends nothing."""


class Silent:
    """A reporter that keeps everything to itself."""

    def planned(self, files: int, size: int) -> None:
        """Ignore it."""

    def started(self, name: str, size: int) -> None:
        """Ignore it."""

    def transferred(self, name: str, size: int, wire_size: int) -> None:
        """Ignore it."""

    def spared(self, name: str, size: int) -> None:
        """Ignore it."""

    def finished(self, name: str) -> None:
        """Ignore it."""

    def failed(self, name: str, error: Exception) -> None:
        """Ignore it."""

    def warned(self, message: str) -> None:
        """Ignore it."""
