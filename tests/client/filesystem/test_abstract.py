"""fsspec's own tests of file systems, on a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fsspec.tests import abstract

from chunkstore.client.filesystem import ChunkstoreFileSystem


class Fixtures(abstract.AbstractFixtures):
    """What these tests are given."""

    @pytest.fixture
    def fs_path(self, fs: ChunkstoreFileSystem, root: str) -> str:
        """Return a folder for a test."""
        fs.mkdir(root)
        return root

    @pytest.fixture
    def fs(self, filesystem: ChunkstoreFileSystem) -> ChunkstoreFileSystem:
        """Return the file system, in place of the base's."""
        return filesystem

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        """Return what joins names."""
        return lambda *parts: "/".join(parts)


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass
