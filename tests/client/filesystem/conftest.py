"""A file system on the server that all tests of the client share."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from chunkstore.client.filesystem import ChunkstoreFileSystem
from chunkstore.client.places import RemotePlace


@pytest.fixture(scope="session", autouse=True)
def _entry_points() -> None:
    """Register what the package does when it is installed, which it need not be for tests."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    for scheme, value in project["entry-points"]["fsspec.specs"].items():
        fsspec.register_implementation(scheme, value.replace(":", "."), clobber=True)


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the digest cache and the state of these tests out of the user's."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture
def filesystem(folder: RemotePlace) -> Iterator[ChunkstoreFileSystem]:
    """Return a file system of its own, which closes its connections."""
    fs = fsspec.filesystem("chunkstore", url=folder.base, use_cache=False, skip_instance_cache=True)
    assert isinstance(fs, ChunkstoreFileSystem)
    yield fs
    fs.close()


@pytest.fixture
def root(folder: RemotePlace) -> str:
    """Return the name of a folder that only this test has."""
    return folder.name.rstrip("/")


@pytest.fixture
def fs(filesystem: ChunkstoreFileSystem) -> ChunkstoreFileSystem:
    """Return it by the name that fsspec's tests use."""
    return filesystem
