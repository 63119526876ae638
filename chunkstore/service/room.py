"""How large a file may become, asked while its content comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from chunkstore.store.contract.quotas import NO_USAGE, Quota, Usage


@dataclass(frozen=True, slots=True)
class Room:
    """How large a file may become, as the quotas that count it are at the moment.

    `old` is what the file that it replaces uses; an error is raised within a context of `telling`,
    which decides what is told. It is advice: the commit decides.
    """

    quotas: Sequence[Quota] = ()
    old: Usage = NO_USAGE
    telling: Callable[[], AbstractContextManager[None]] = nullcontext

    def check(self, size: int) -> None:
        """Refuse a file of so many bytes, or of more.

        Raises:
            QuotaExceeded: there is no room for it.
        """
        if self.quotas:
            with self.telling():
                for quota in self.quotas:
                    quota.check(Usage(size, 1) - self.old)


NO_BOUND: Final = Room()
