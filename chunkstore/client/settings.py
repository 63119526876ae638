"""What transfers are told by options and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chunkstore.client.bandwidth import Bandwidth

DEFAULT_CONNECTIONS: Final = 8
DEFAULT_TRANSFERS: Final = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """How to transfer.

    `connections` may be open at once, and `transfers` files under way. `token` is sent as Bearer
    (RFC 6750 §2.1): to the server at `url` only, or if that is None to every one. `url` is also
    what places like `:models/model.bin` are on.
    """

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    connections: int = DEFAULT_CONNECTIONS
    transfers: int = DEFAULT_TRANSFERS
    connect_seconds: float = 20.0
    read_seconds: float = 120.0
    retries: int = 5

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Return those that CHUNKSTORE_URL and CHUNKSTORE_TOKEN give."""
        return cls(
            url=environment.get("CHUNKSTORE_URL") or None,
            # Of a file that it was read from, the end of the line may have come with it.
            token=environment.get("CHUNKSTORE_TOKEN", "").strip() or None,
        )
