"""`--drain`: load balancers find out before the server stops to answer."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path

from tests.process import ServerProcess, served


def get(server: ServerProcess, path: str) -> tuple[int, dict[str, object]]:
    """Ask on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_a_server_that_is_to_stop_is_not_ready_and_goes_on_serving(tmp_path: Path) -> None:
    # It is killed before that time is over.
    with served(tmp_path, "--drain", "1h") as server:
        assert get(server, "/health/ready")[0] == 200
        server.signal(signal.SIGTERM)
        server.wait_for_log("Stopping in 1h: not ready any more.")
        status, body = get(server, "/health/ready")
        assert (status, body["status"]) == (503, "stopping")
        assert get(server, "/health/live") == (200, {"status": "ok"})
        assert get(server, "/stats")[0] == 200
        # Asked again, it stops at once.
        assert server.stop() == -signal.SIGTERM


def test_after_that_it_stops(tmp_path: Path) -> None:
    with served(tmp_path, "--drain", "0.1s", "--base-path", "/store/") as server:
        assert server.stop() == 0
        log = server.log.read_text()
        assert log.index("not ready any more") < log.index("new ones are not accepted")


def test_by_default_it_stops_to_accept_at_once(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert server.stop() == 0
        assert "not ready any more" not in server.log.read_text()
