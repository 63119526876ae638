"""Transactions: all files that were written within one appear at one moment, or none."""

from __future__ import annotations

from collections import deque

from fsspec.transaction import Transaction

from chunkstore.client.filesystem.files import OpenFile, commit_all


class AtomicTransaction(Transaction):
    """A transaction whose commit is one batch of edits, of up to 1,000 files."""

    files: deque[OpenFile]

    def complete(self, commit: bool = True) -> None:
        """Make all files, or drop them.

        Raises:
            FileExistsError: one that was to be new is there.
            OSError: they were not made.
        """
        files = list(self.files)
        try:
            if commit and files:
                commit_all(files)
        finally:
            # What was committed has nothing to drop any more.
            super().complete(commit=False)
