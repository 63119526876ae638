"""Metrics, as Prometheus reads them from a server and from its workers."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chunkstore.core.metrics import Kind
from chunkstore.http import create_app
from chunkstore.http.message.request import TASKS
from chunkstore.http.routes import route_templates
from chunkstore.http.runtime.counting import METHODS, OTHER
from chunkstore.server.metrics import TASK_NAMES, families
from chunkstore.store.contract.store import Store
from tests.backends import PostgresBackend
from tests.cli.test_access import PASSWORD, run
from tests.conftest import on_each_backend
from tests.documents.blocks import ROOT
from tests.process import ServerProcess, run_command, served
from tests.server.certificates import make_pair
from tests.server.test_admission import add_admin
from tests.server.test_servers_on_postgres import children

ROUTES = route_templates()
LABELS = {"route", "method", "status", "reason", "use", "task", "by", "result", "state", "version"}
ON = ("--metrics", "127.0.0.1:0")
_PATIENCE_SECONDS = 60

Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def metrics_url(server: ServerProcess) -> str:
    server.wait_for_log("Metrics are at ")
    match = re.search(r"Metrics are at (\S+)", server.log.read_text())
    assert match is not None
    return match[1]


def figures_of(server: ServerProcess) -> Figures:
    """Return the values of all series, read by Prometheus' own parser."""
    with urlopen(metrics_url(server)) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = response.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type != "unknown"
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def figure(figures: Figures, name: str, **labels: str) -> float | None:
    return figures.get((f"chunkstore_{name}", frozenset(labels.items())))


def total(figures: Figures, name: str) -> float:
    return sum(value for (found, _), value in figures.items() if found == f"chunkstore_{name}")


def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
    """Send a request on a connection of its own; return the status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def wait_for(server: ServerProcess, name: str, value: float, **labels: str) -> None:
    """Wait until a figure has the value; what follows an answer may come a moment later."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while figure(figures_of(server), name, **labels) != value:
        assert time.monotonic() < end, figures_of(server)
        time.sleep(0.02)


def test_requests_are_counted_by_route_method_and_status(tmp_path: Path) -> None:
    with served(tmp_path, *ON, "--base-path", "/store/", "--no-access-log") as server:
        request = partial(ask, server.url)
        assert request("PUT", "/store/files/a/b", b"0123456789") == 201
        for _ in range(3):
            assert request("GET", "/store/files/a/b") == 200
        assert request("GET", "/store/files/none") == 404
        assert request("GET", "/elsewhere") == 404
        file = {"route": "/files/{name}"}
        wait_for(server, "http_requests_total", 1, route=OTHER, method="GET", status="404")
        found = figures_of(server)
        for method, status, count in (("PUT", "201", 1), ("GET", "200", 3), ("GET", "404", 1)):
            labels = {**file, "method": method, "status": status}
            assert figure(found, "http_requests_total", **labels) == count
        assert figure(found, "http_request_seconds_count", **file, method="GET") == 4
        assert figure(found, "http_request_seconds_bucket", **file, method="GET", le="+Inf") == 4
        assert figure(found, "http_received_bytes_total", **file, method="PUT") == 10
        sent = figure(found, "http_sent_bytes_total", **file, method="GET")
        assert sent is not None
        assert sent > 30
        assert total(found, "connections_total") == 6
        assert figure(found, "store_files") == figure(found, "store_ready") == 1
        assert figure(found, "store_logical_bytes") == 10
        assert figure(found, "memory_limit_bytes") == 64 * 1024 * 1024
        assert figure(found, "http_requests_in_flight") == 0
        # The public port has none.
        assert request("GET", "/metrics") == request("GET", "/store/metrics") == 404
        assert server.log.read_text().count("GET /") == 0


def test_what_is_put_and_how_long_it_takes_is_counted(tmp_path: Path) -> None:
    with served(tmp_path, *ON) as server:
        content = os.urandom(1024 * 1024)
        for name in ("a", "b"):
            assert ask(server.url, "PUT", f"/files/{name}", content) == 201
        wait_for(server, "chunks_put_total", 4, state="new")
        wait_for(server, "chunks_put_total", 4, state="known")
        found = figures_of(server)
        assert figure(found, "commit_seconds_count") == 2
        seconds = figure(found, "commit_seconds_sum")
        assert seconds is not None
        assert seconds > 0
        assert figure(found, "database_connection_wait_seconds_count") is None
        log = figure(found, "database_log_bytes")
        assert log is None or log > 0
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": "filename YQ=="}
        assert ask(server.url, "POST", "/uploads/", None, **tus) == 201
    # What the store holds is counted anew.
    again = tmp_path / "again"
    again.mkdir()
    with served(again, *ON, "--db", str(tmp_path / "chunkstore.db")) as server:
        wait_for(server, "store_empty_uploads", 1)
        assert (figure(figures_of(server), "store_unfinished_bytes") or 0) > 0


def test_the_documents_name_all_figures_and_no_others(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    with served(tmp_path, *ON, *pair.options) as server:
        # The first one begins with the server.
        wait_for(server, "scrub_damaged", 0)
        with urlopen(metrics_url(server)) as response:
            text = response.read().decode()
    shown = re.findall(r"^# TYPE chunkstore_(\w+)", text, re.MULTILINE)
    text = (ROOT / "docs" / "operations.md").read_text()
    section = text.partition("### Metrics")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    of_stats = {name for name in shown if name.startswith("store_")}
    assert {*shown} - of_stats == named - of_stats
    assert {"store_ready", "store_files", "store_database_bytes"} <= of_stats


def test_figures_are_named_as_prometheus_wants_it_and_tell_of_nobody() -> None:
    for family in families(ROUTES):
        assert re.fullmatch(r"chunkstore_[a-z]+(_[a-z]+)*", family.name)
        assert family.help.endswith(".")
        # What promtool finds fault with.
        assert (family.kind is Kind.COUNTER) == family.name.endswith("_total")
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_milliseconds", "_kb"))
        if family.kind is Kind.HISTOGRAM:
            assert family.name.endswith("_seconds")
        assert set(family.labels) <= LABELS
        # Which series there are is fixed: no name, no account and no token can become one.
        assert all(re.fullmatch(r"[\w./{}:+-]+", value) for one in family.series for value in one)


def test_what_clients_make_up_makes_no_series(tmp_path: Path) -> None:
    with served(tmp_path, *ON) as server:
        ask(server.url, "GET", "/files/")
        for number in range(20):
            ask(server.url, f"M{number}", f"/files/{number}")
            ask(server.url, "GET", f"/{number}")
            ask(server.url, "GET", f"/uploads/{number}")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"not a request\r\n\r\n")
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.")
        found = figures_of(server)
        labels = [dict(labels) for (_, labels) in found]
        assert {one["route"] for one in labels if "route" in one} <= {OTHER, *ROUTES}
        assert {one["method"] for one in labels if "method" in one} <= set(METHODS)
        assert len(found) < 400


def test_a_request_that_is_broken_off_is_one(tmp_path: Path) -> None:
    put = {"route": "/files/{name}", "method": "PUT"}
    with served(tmp_path, *ON) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"PUT /files/a HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            connection.sendall(f"{head}Content-Length: 10\r\n\r\n12345".encode())
            wait_for(server, "http_requests_in_flight", 1)
            wait_for(server, "connections", 1)
        wait_for(server, "http_requests_broken_off_total", 1, **put)
        wait_for(server, "http_requests_in_flight", 0)
        assert figure(figures_of(server), "http_received_bytes_total", **put) == 5


async def test_workers_are_added_up_and_outlive_each_other(
    tmp_path: Path, postgres_backend: PostgresBackend
) -> None:
    await postgres_backend.clear()
    add_admin(tmp_path, "--db", postgres_backend.location)
    allowed = run(tmp_path, "allow", "everyone", "/", "owner", "--db", postgres_backend.location)
    assert allowed.returncode == 0
    options = (*ON, "--db", postgres_backend.location, "--workers", "2")
    with served(tmp_path, *options) as server:
        for number in range(40):
            assert ask(server.url, "PUT", f"/files/{number}", b"x" * number) == 201
        labels = {"route": "/files/{name}", "method": "PUT"}
        # Whoever is asked.
        for _ in range(10):
            wait_for(server, "http_requests_total", 40, **labels, status="201")
        found = figures_of(server)
        assert figure(found, "http_received_bytes_total", **labels) == sum(range(40))
        assert figure(found, "processes_started_total") == 2
        assert figure(found, "memory_limit_bytes") == 64 * 1024 * 1024
        wait_for(server, "commit_seconds_count", 40)
        wait_for(server, "chunks_put_total", 39, state="new")
        assert (figure(found, "database_connection_wait_seconds_count") or 0) > 0
        signs = [(f"anna:{PASSWORD}", "accepted", 200), ("anna:wrong", "refused", 401)]
        for credentials, result, status in signs * 3:
            encoded = b64encode(credentials.encode()).decode()
            assert ask(server.url, "GET", "/stats", Authorization=f"Basic {encoded}") == status
            assert figure(found, "sign_ins_total", by="password", result=result) == 0
        for _, result, _ in signs:
            wait_for(server, "sign_ins_total", 3, by="password", result=result)
        assert server.log.read_text().count("Sign-in by password refused from 127.0.0.1 ") == 3
        assert "wrong" not in server.log.read_text()
        os.kill(children(server.pid)[0], signal.SIGKILL)
        server.wait_for_log("another takes its place")
        wait_for(server, "processes_started_total", 3)
        wait_for(server, "http_requests_total", 40, **labels, status="201")
        assert ask(server.url, "PUT", "/files/more", b"x") == 201
        wait_for(server, "http_requests_total", 41, **labels, status="201")
        # What the one that died has counted goes on.
        wait_for(server, "commit_seconds_count", 41)
        wait_for(server, "sign_ins_total", 3, by="password", result="refused")
        assert server.log.read_text().count("Metrics are at") == 1


def test_the_end_of_the_certificate_is_told(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    with served(tmp_path, *ON, *pair.options) as server:
        expires = figure(figures_of(server), "tls_not_after_timestamp_seconds")
        assert expires is not None
        assert 86400 < expires - time.time() <= 2 * 86400


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_command(tmp_path, "serve", "--port", "0", "--metrics", f"127.0.0.1:{port}")
    assert result.returncode == 1
    assert result.stderr.endswith("Address already in use. Give another --metrics.\n")
    assert not (tmp_path / "chunkstore.db").exists()


@pytest.mark.parametrize("given", ["9464", "127.0.0.1", ":9464", "127.0.0.1:70000", "::1:9464"])
def test_what_is_no_address_and_port_is_refused(tmp_path: Path, given: str) -> None:
    result = run_command(tmp_path, "serve", "--metrics", given)
    assert (result.returncode, result.stdout) == (2, "")
    assert "is not an address and a port like 127.0.0.1:9464" in result.stderr


@on_each_backend
async def test_all_routes_and_tasks_have_their_series(store: Store) -> None:
    app = create_app(store)
    assert {one.canonical for one in app.router.resources()} == {*ROUTES}
    assert {task.name for task in app[TASKS]} <= {*TASK_NAMES}
    methods = {route.method for one in app.router.resources() for route in one}
    assert methods - {"*"} <= {*METHODS}
