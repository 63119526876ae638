"""What edits change of what folders use, summed up until the end of their transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from chunkstore.core.errors import QuotaExceeded
from chunkstore.core.names import ROOT, FileName, FolderName, ancestors
from chunkstore.store.contract.quotas import NO_USAGE, Quota, Usage


def folders_over(name: FileName | FolderName) -> list[FolderName]:
    """Return the folders for whose quotas it counts what is put under a name, outermost first."""
    itself = [FolderName(name)] if name.endswith("/") else []
    return [ROOT, *ancestors(name), *itself]


@dataclass(slots=True)
class UsageChanges:
    """What edits change of what folders use, and which of them changes how much."""

    _by_edit: dict[FolderName, dict[int, Usage]] = field(default_factory=dict)

    def add(self, folder: FolderName, change: Usage, edit: int) -> None:
        """Add what the edit of this place changes."""
        of_folder = self._by_edit.setdefault(folder, {})
        of_folder[edit] = of_folder.get(edit, NO_USAGE) + change

    def in_order(self) -> list[tuple[FolderName, Usage]]:
        """Return what has changed, in the order of folders in which their quotas are locked."""
        changes = ((folder, self._change_of(folder)) for folder in self._by_edit)
        return sorted(
            ((folder, change) for folder, change in changes if change != NO_USAGE),
            key=lambda changed: changed[0],
        )

    def check(self, quota: Quota) -> None:
        """Refuse what has changed if the quota of a folder does not allow it.

        Raises:
            QuotaExceeded: it does not; `edit` is the last by which the folder came to use more.
        """
        try:
            quota.check(self._change_of(quota.folder))
        except QuotaExceeded as error:
            of_folder = self._by_edit[quota.folder]
            grown = (place for place, one in of_folder.items() if one.size > 0 or one.files > 0)
            error.edit = max(grown, default=None)
            raise

    def _change_of(self, folder: FolderName) -> Usage:
        return sum(self._by_edit[folder].values(), NO_USAGE)
