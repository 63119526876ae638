"""What TLS costs: `python -m benchmarks.tls`.

Memory of the server for each connection that is open, with TLS and without: idle, and when a large
body has gone over it. Then one large download by TLS of chunkstore and of nginx, in turn, by one
client with the ciphers that each picks, which are told. nginx has its best settings for that: kTLS
and sendfile where the kernel has kTLS, a buffer of 64 KiB for records where it has not.
"""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.machine import MB, describe_machine, write_random
from benchmarks.meters import anonymous_memory, process_tree, processor_seconds
from benchmarks.peers import NGINX
from benchmarks.subjects import Running, Subject, Unavailable, chunkstore, running
from chunkstore.core.units import parse_size
from tests.server.certificates import Pair, make_pair

_LARGE: Final = "large"
_BODY: Final = "body"
_MIB: Final = 1024**2
_BUFFER_SIZE: Final = 256 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_MECHANISMS: Final = Path("/proc/sys/net/ipv4/tcp_available_ulp")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; sizes are bytes."""

    connections: int = 200
    body: int = 8 * _MIB
    large: int = 1024 * _MIB
    repetitions: int = 7


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of anonymous memory for each connection."""

    kind: str
    idle: float
    used: float


@dataclass(slots=True)
class Downloads:
    """Downloads of one server: MB/s of each, and the processor seconds of the server for a GB."""

    name: str
    cipher: str = ""
    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls", description=__doc__)
    scale = Scale()
    for name in Scale.__slots__:
        kind = parse_size if name in ("body", "large") else int
        parser.add_argument(f"--{name}", type=kind, default=getattr(scale, name))
    told = parser.parse_args()
    scale = Scale(**{name: getattr(told, name) for name in Scale.__slots__})
    print(f"{describe_machine()}; {scale.connections} connections\n")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pair = make_pair(Path(folder))
        print("\n".join(memory_table(measure_memory(Path(folder), pair, scale))), flush=True)
        print("\n".join(["", *download_table(measure_downloads(Path(folder), pair, scale))]))


def measure_memory(folder: Path, pair: Pair, scale: Scale) -> Iterator[Memory]:
    """Yield what connections take of chunkstore's memory, without TLS and with it."""
    source = folder / "source-body"
    write_random(source, scale.body)
    with running(chunkstore(), folder / "memory") as server:
        server.upload(_BODY, source)
    for kind, options in (("HTTP", ()), ("HTTPS", pair.options)):
        with running(chunkstore(kind, options), folder / "memory") as server:
            context = pair.client_context() if options else None
            yield _memory(kind, server, context, scale)


def _memory(kind: str, server: Running, context: ssl.SSLContext | None, scale: Scale) -> Memory:
    tree = process_tree(server.pid)
    with ExitStack() as ends:
        # What the first ones take stays with the process, however many follow.
        for _ in range(2):
            _get(ends.enter_context(_connect(server.port, context)), f"/files/{_BODY}")
        before = anonymous_memory(tree)
        opened = [
            ends.enter_context(_connect(server.port, context)) for _ in range(scale.connections)
        ]
        for connection in opened:
            _get(connection, "/health/live")
        idle = anonymous_memory(tree) - before
        for connection in opened:
            _get(connection, f"/files/{_BODY}")
        used = anonymous_memory(tree) - before
    return Memory(kind, idle / scale.connections, used / scale.connections)


def _connect(port: int, context: ssl.SSLContext | None) -> socket.socket:
    plain = load.connect(port)
    return plain if context is None else context.wrap_socket(plain, server_hostname="127.0.0.1")


def _get(connection: socket.socket, path: str) -> int:
    """Get a path on a connection that stays open; return the size of the answer's body."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    head = b""
    while _HEAD_END not in head:
        length = connection.recv_into(buffer)
        if not length:
            raise RuntimeError("the connection was closed before an answer")
        head += buffer[:length]
    load.check(head)
    head, _, first = head.partition(_HEAD_END)
    size = int(head.lower().partition(b"content-length:")[2].split()[0])
    received = len(first)
    while received < size:
        length = connection.recv_into(buffer)
        if not length:
            raise RuntimeError("the connection was closed within an answer")
        received += length
    return size


def measure_downloads(folder: Path, pair: Pair, scale: Scale) -> list[Downloads]:
    """Download the large file by TLS, of chunkstore and of nginx in turn."""
    source = folder / "source-large"
    write_random(source, scale.large)
    with running(chunkstore(), folder / "chunkstore") as server:
        server.upload(_LARGE, source)
    servers = [(chunkstore("chunkstore", pair.options), folder / "chunkstore", f"/files/{_LARGE}")]
    nginx = _nginx(pair)
    try:
        nginx.find_version()
    except Unavailable as reason:
        print(f"Skipped: {reason}")
    else:
        files = folder / "nginx" / "files"
        files.mkdir(parents=True)
        os.link(source, files / _LARGE)
        servers.append((nginx, folder / "nginx", f"/{_LARGE}"))
    found = [Downloads(subject.name) for subject, _, _ in servers]
    with ExitStack() as ends:
        started = [
            (ends.enter_context(running(subject, where)), path) for subject, where, path in servers
        ]
        # The first repetition fills caches.
        for number in range(scale.repetitions + 1):
            for downloads, (server, path) in zip(found, started, strict=True):
                _download(downloads, server, pair.client_context(), path, counts=number > 0)
    return found


def _nginx(pair: Pair) -> Subject:
    """Return nginx with TLS and its best settings for downloads by it."""
    has_ktls = _MECHANISMS.exists() and "tls" in _MECHANISMS.read_text().split()
    tls = f"ssl_certificate {pair.chain}; ssl_certificate_key {pair.key};"
    tls += " ssl_protocols TLSv1.2 TLSv1.3;"
    best = "ssl_conf_command Options KTLS;" if has_ktls else "ssl_buffer_size 64k;"
    configuration = NGINX.configuration.replace("backlog=1024;", f"backlog=1024 ssl; {tls} {best}")
    name = "nginx, kTLS" if has_ktls else "nginx"
    return replace(NGINX, name=name, configuration=configuration)


def _download(
    downloads: Downloads, server: Running, context: ssl.SSLContext, path: str, *, counts: bool
) -> None:
    tree = process_tree(server.pid)
    with _connect(server.port, context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        cipher = connection.cipher()
        assert cipher is not None
        downloads.cipher = f"{cipher[0]}, {cipher[1]}"
        spent, begun = processor_seconds(tree), time.perf_counter()
        size = _get(connection, path)
        seconds = time.perf_counter() - begun
    if counts:
        downloads.rates.append(size / MB / seconds)
        downloads.processor.append((processor_seconds(tree) - spent) * 1000 * MB / size)


def memory_table(rows: Iterator[Memory]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| memory for each connection | idle | after a large body |"
    yield "| --- | --- | --- |"
    for row in rows:
        yield f"| {row.kind} | {row.idle / 1024:.0f} KiB | {row.used / 1024:.0f} KiB |"


def download_table(found: Sequence[Downloads]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| download by TLS | MB/s | server, s/GB | cipher | rate to chunkstore's |"
    yield "| --- | --- | --- | --- | --- |"
    first = found[0]
    for downloads in found:
        pairs = zip(downloads.rates, first.rates, strict=True)
        ratio = statistics.median(rate / other for rate, other in pairs)
        yield (
            f"| {downloads.name} | {statistics.median(downloads.rates):,.0f}"
            f" | {statistics.median(downloads.processor):.2f} | {downloads.cipher}"
            f" | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
