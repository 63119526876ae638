"""Digests of the files of a local tree: most are known to the digest cache by their status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chunkstore.client.cache import FileState
from chunkstore.client.digests import digests_of
from chunkstore.client.session import Session
from chunkstore.client.sync.local_tree import LocalTree
from chunkstore.core.digest import Digest


class LocalDigests:
    """Tells digests of the files of `tree`, by name; those that cannot be read are left out."""

    def __init__(self, session: Session, tree: LocalTree) -> None:
        self._session = session
        self._tree = tree
        self._found: dict[str, Digest] = {}

    def __call__(self, names: Iterable[str]) -> Mapping[str, Digest]:
        """Return the digests; each file is read once at most."""
        names = list(names)
        unknown = [name for name in names if name not in self._found and not self._is_cached(name)]
        paths = (self._tree.files[name].path for name in unknown)
        for name, (_, outcome) in zip(unknown, digests_of(self._session, paths), strict=True):
            if not isinstance(outcome, Exception):
                self._found[name] = outcome.digest
        return {name: self._found[name] for name in names if name in self._found}

    def _is_cached(self, name: str) -> bool:
        # By the status that the scan has found, so without opening the file.
        if self._session.cache is None:
            return False
        known = self._session.cache.find(FileState.of(self._tree.files[name].stat))
        if known is not None:
            self._found[name] = known.digest
        return known is not None
