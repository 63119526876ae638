"""To a server that is far, packs leave early, and the list follows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chunkstore.client.cache import FileState
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_file import push_file, push_pipe
from chunkstore.client.server.conditions import ABSENT
from chunkstore.client.server.server import Server
from chunkstore.client.unfinished import Unfinished, UnfinishedUpload
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from tests.client.conftest import MakeSession, content_of
from tests.client.test_streaming import requests_of
from tests.process import ServerProcess

CHUNK = DEFAULT_CHUNK_SIZE
COUNT = 150


@pytest.fixture(autouse=True)
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any server count as far, and short lists be worth a request."""
    monkeypatch.setattr("chunkstore.client.transport._NEAR_SECONDS", -1.0)
    monkeypatch.setattr("chunkstore.client.list_writing._FOLLOWED_AT_ONCE", 8)


@pytest.mark.parametrize("every", [1, 10])
def test_the_list_follows_what_has_arrived(
    remote: Server, shared_server: ServerProcess, make_session: MakeSession, folder: RemotePlace,
    tmp_path: Path, every: int,
) -> None:  # fmt: skip
    path, target = tmp_path / "a", folder.joined("a")
    content = bytearray(os.urandom(COUNT * CHUNK + 5))
    remote.files.put(target.name, bytes(content), len(content))
    for number in range(3, COUNT, every):
        content[number * CHUNK] ^= 1
    path.write_bytes(content)
    began = len(shared_server.log.read_text())
    with make_session() as session:
        pushed = push_file(session, path, target)
    assert pushed.moved == len(range(3, COUNT, every)) * CHUNK
    assert pushed.digest == Digest.of(bytes(content))
    assert content_of(remote, target.name) == content
    assert requests_of(shared_server, began).count("PATCH") >= 2


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_list_that_was_begun_goes_on(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, is_settled: bool
) -> None:
    content = os.urandom(COUNT * CHUNK + 5)
    path, target = tmp_path / "a", folder.joined("a")
    path.write_bytes(content)
    # What a run has left that was killed.
    begun = 20 * CHUNK
    remote.files.put(f"{folder.name}pool", content[:begun], begun)
    found = remote.chunks.find_manifest(f"{folder.name}pool")
    assert found is not None
    upload = remote.chunks.begin(target.name, ABSENT, size=len(content))
    assert remote.chunks.append(upload, 0, found[1].entries) == begun
    state = FileState.of(path.stat())
    with make_session() as session:
        with Unfinished.of(session.state, target.url, path) as unfinished:
            unfinished.keep(
                UnfinishedUpload(
                    upload, target.url, str(path), state, None, f"fixed;size={CHUNK}", is_settled
                )
            )
        pushed = push_file(session, path, target)
        assert list(session.state.iterdir()) == []
    assert pushed.moved == len(content) - begun
    assert content_of(remote, target.name) == content
    assert remote.chunks.state(upload).complete == is_settled


def test_a_pipe_is_followed_too(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    content = os.urandom(COUNT * CHUNK + 5)
    (tmp_path / "a").write_bytes(content)
    with make_session() as session, (tmp_path / "a").open("rb") as pipe:
        pushed = push_pipe(session, pipe, folder.joined("a"))
    assert pushed.moved == len(content)
    assert content_of(remote, f"{folder.name}a") == content
