"""A folder of segments that cannot be used is told of, to clients without its place."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.process import ServerProcess, served

MIB = 1024 * 1024


def put(server: ServerProcess, name: str) -> None:
    content = os.urandom(8 * MIB)
    with urlopen(Request(f"{server.url}files/{name}", data=content, method="PUT")):
        pass


def test_clients_are_told_to_try_again_and_the_log_tells_why(tmp_path: Path) -> None:
    folder, away = tmp_path / "chunkstore.db-segments", tmp_path / "away"
    with served(tmp_path) as server:
        put(server, "a")
        folder.rename(away)
        folder.touch()
        for path in ("health/ready", "stats"):
            with pytest.raises(HTTPError) as refused, urlopen(f"{server.url}{path}"):
                pass
            assert refused.value.code == 503
            assert str(tmp_path) not in refused.value.read().decode()
        with pytest.raises(HTTPError) as refused:
            put(server, "b")
        assert refused.value.code == 503
        assert str(tmp_path) not in refused.value.read().decode()
        folder.unlink()
        away.rename(folder)
        with urlopen(f"{server.url}health/ready") as response:
            assert response.status == 200
        put(server, "b")
