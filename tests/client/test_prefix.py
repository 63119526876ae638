"""A server behind a proxy, which has its paths begin otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore.client.names import copy_place
from chunkstore.client.places import RemotePlace, parse_url
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from tests.client.conftest import content_of
from tests.documents.nginx import free_port, nginx
from tests.process import ServerProcess


@pytest.fixture
def prefixed(shared_server: ServerProcess, folder: RemotePlace, tmp_path: Path) -> Iterator[str]:
    """Return the URL that the folder has behind a proxy."""
    port, configured = free_port(), tmp_path / "nginx"
    configured.mkdir()
    block = f"""server {{
        listen 127.0.0.1:{port};
        location /store/ {{
            proxy_pass {shared_server.url};
            proxy_set_header Host $http_host;
        }}
    }}"""
    with nginx(configured, block, port):
        yield f"http://127.0.0.1:{port}/store/files/{folder.name}"


@pytest.mark.parametrize("move", [False, True])
def test_files_and_folders_are_copied_and_moved(
    remote: Server, folder: RemotePlace, prefixed: str, move: bool
) -> None:
    remote.files.put(f"{folder.name}a", b"x", 1)
    with Session(use_cache=False) as session:
        copy_place(session, parse_url(f"{prefixed}a"), parse_url(f"{prefixed}in/b"), move=move)
        copy_place(session, parse_url(f"{prefixed}in/"), parse_url(f"{prefixed}to/"), move=move)
    assert content_of(remote, f"{folder.name}to/b") == b"x"
    assert remote.files.is_there(f"{folder.name}a") == (not move)
