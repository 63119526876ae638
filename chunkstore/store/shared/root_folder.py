"""What is kept with the root folder, which has no row as other folders have: a setting, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from chunkstore.core.dav.properties import changed_properties
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.timestamps import to_datetime
from chunkstore.store.contract.edits import Patch
from chunkstore.store.contract.properties import Description
from chunkstore.store.shared.times import Times

SETTING: Final = "root"
"""The name of the setting."""


@dataclass(frozen=True, slots=True)
class RootFolder:
    """Times in microseconds, None for those that nobody has set, and properties."""

    created: int | None = None
    modified: int | None = None
    properties: bytes | None = None

    @classmethod
    def parse(cls, kept: object) -> RootFolder:
        """Return what the setting has, None where there is none.

        Raises:
            StoreDamaged: it is nothing that `format` has returned.
        """
        if kept is None:
            return cls()
        try:
            created, modified, properties = json.loads(str(kept))
            for time in (created, modified):
                if time is not None:
                    to_datetime(time)
            return cls(created, modified, None if properties is None else properties.encode())
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise StoreDamaged("What is kept with the root folder is damaged.") from error

    def format(self) -> str:
        """Return the value of the setting."""
        properties = None if self.properties is None else self.properties.decode()
        return json.dumps([self.created, self.modified, properties])

    def patched(self, edit: Patch) -> RootFolder:
        """Return what is kept once it was patched.

        Raises:
            TooManyProperties: the properties would be too large.
        """
        times = Times.of(edit.created, edit.modified)
        return RootFolder(
            self.created if times.created is None else times.created,
            self.modified if times.modified is None else times.modified,
            changed_properties(self.properties, edit.changes),
        )

    def describe(self, otherwise: Description) -> Description:
        """Return what is told of it; times that nobody has set are those given."""
        return Description(
            otherwise.created if self.created is None else to_datetime(self.created),
            otherwise.modified if self.modified is None else to_datetime(self.modified),
            self.properties,
        )


def describe_root(kept: object, otherwise: Description) -> Description:
    """Return what is told of the root folder by its setting; damage tells nothing."""
    try:
        return RootFolder.parse(kept).describe(otherwise)
    except StoreDamaged:
        # As lists tell of a damaged entry.
        return otherwise
