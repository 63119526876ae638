"""Which hosts the program answers for, by where it listens and what it was told."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from tests.process import run_command, served
from tests.programs import do_without


def status(port: int, host: str, address: str = "127.0.0.1", method: str = "GET") -> int:
    """Return the status of a request for `host` that is sent to `address`."""
    connection = http.client.HTTPConnection(address, port, timeout=20)
    try:
        connection.request(method, "/files/", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def own_address() -> str:
    """Return an address of this machine that is not of the loopback; nothing is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            do_without("an address beyond the loopback")
        address: str = probe.getsockname()[0]
        return address


def test_on_the_loopback_only_the_loopback_is_answered_for(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        for host in (f"localhost:{server.port}", "127.0.0.1", "127.8.9.1", "[::1]:80", "LOCALHOST"):
            assert status(server.port, host) == 200
        for host in ("evil.example", f"evil.example:{server.port}", own_address(), "0.0.0.0"):
            assert status(server.port, host) == 421
            assert status(server.port, host, method="DELETE") == 421
        assert "Answering for" not in server.log.read_text()


def test_elsewhere_addresses_of_the_machine_and_given_names_are(tmp_path: Path) -> None:
    address = own_address()
    names = ("--allow-host", "Files.example", "--allow-host", "192.0.2.77")
    with served(tmp_path, "--host", "0.0.0.0", "--open", *names) as server:
        for host in (f"{address}:{server.port}", address, "localhost", "files.example:443"):
            assert status(server.port, host, address) == 200
        for host in ("192.0.2.77", "127.0.0.1", f"0.0.0.0:{server.port}"):
            assert status(server.port, host) == 200
        for host in ("evil.example", "198.51.100.1", "a.files.example"):
            assert status(server.port, host, address) == 421
        # It is not one that this connection came in on.
        assert status(server.port, address) == 421
        [line] = [line for line in server.log.read_text().splitlines() if "Answering for" in line]
        assert "files.example" in line
        assert "192.0.2.77" in line
        assert "--allow-host" in line


def test_both_versions_of_ip(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        do_without("IPv6")
    with served(tmp_path, "--host", "::", "--open") as server:
        assert status(server.port, f"[::1]:{server.port}", "::1") == 200
        assert status(server.port, "evil.example", "::1") == 421


def test_the_name_to_listen_on_is_answered_for(tmp_path: Path) -> None:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        do_without("a name that leads to this machine")
    with served(tmp_path, "--host", name, "--open") as server:
        address = server.url.removeprefix("http://").rpartition(":")[0].strip("[]")
        assert status(server.port, f"{name}:{server.port}", address) == 200
        assert status(server.port, "evil.example", address) == 421


def test_the_environment_can_name_hosts(tmp_path: Path) -> None:
    with served(tmp_path, wrapper=("env", "CHUNKSTORE_ALLOW_HOST=a.example b.example")) as server:
        assert status(server.port, "a.example") == status(server.port, "b.example") == 200
        assert status(server.port, "c.example") == 421


def test_a_host_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    for host in ("https://files.example", "files.example:443", "*"):
        result = run_command(tmp_path, "serve", "--port", "0", "--allow-host", host)
        assert result.returncode == 2
        assert "neither a host name without a port nor an IP address" in result.stderr
