"""A slow link to a server on this machine: `python -m benchmarks.link`.

A TCP forwarder in a process of its own. All connections share the rate in each direction, each
byte arrives half a round trip after it has left, and a new connection waits one round trip for its
handshake. Loss and TCP's slow start are not modelled: a real link is slower for short transfers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

# What travels at once. Less costs more processor, more makes small answers wait behind it.
_SEGMENT_SIZE: Final = 16 * 1024
# What a connection may have under way: Linux' largest send buffer by default.
_WINDOW_SIZE: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class Direction:
    """One direction of the link: its rate, when it is free, and how many bytes it has carried."""

    bytes_per_second: float
    delay_seconds: float
    free_at: float = 0.0
    carried: int = 0

    def arrival(self, now: float, size: int) -> float:
        """Return when `size` bytes arrive that are ready to leave now."""
        self.free_at = max(now, self.free_at) + size / self.bytes_per_second
        self.carried += size
        return self.free_at + self.delay_seconds


class Link:
    """Forwards connections to `port` of this machine."""

    def __init__(self, port: int, bits_per_second: float, round_trip_seconds: float) -> None:
        self._port = port
        self._round_trip_seconds = round_trip_seconds
        rate, delay = bits_per_second / 8, round_trip_seconds / 2
        self.up, self.down = Direction(rate, delay), Direction(rate, delay)

    async def forward(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection until both of its ends have closed it."""
        with contextlib.suppress(OSError):
            await asyncio.sleep(self._round_trip_seconds)
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_carry(self.up, client_reader, writer))
                    both.create_task(_carry(self.down, reader, client_writer))
            except* OSError:
                pass
            finally:
                writer.close()
        client_writer.close()


async def _carry(
    direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Carry all bytes from one end to the other, and then its end."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WINDOW_SIZE // _SEGMENT_SIZE)

    async def leave() -> None:
        while True:
            piece = await reader.read(_SEGMENT_SIZE)
            await under_way.put((direction.arrival(loop.time(), len(piece)), piece))
            if not piece:
                return

    async def arrive() -> None:
        while True:
            at, piece = await under_way.get()
            await asyncio.sleep(max(0.0, at - loop.time()))
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    async with asyncio.TaskGroup() as both:
        both.create_task(leave())
        both.create_task(arrive())


@dataclass(frozen=True, slots=True)
class RunningLink:
    """A link that runs: what connects to `port` reaches the server by it."""

    port: int
    _reports: int

    def carried(self) -> tuple[int, int]:
        """Return how many bytes it has carried to the server, and from it."""
        with socket.create_connection(("127.0.0.1", self._reports)) as connection:
            up, down = connection.makefile().read().split()
        return int(up), int(down)


@contextmanager
def linked(
    port: int, *, bits_per_second: float, round_trip_seconds: float
) -> Iterator[RunningLink]:
    """Run a link to `port` for the time of a context."""
    command = [sys.executable, "-m", "benchmarks.link", str(port)]
    command += [str(bits_per_second), str(round_trip_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            forwards, reports = map(int, process.stdout.readline().split())
            yield RunningLink(forwards, reports)
        finally:
            process.terminate()


async def _run(port: int, bits_per_second: float, round_trip_seconds: float) -> None:
    link = Link(port, bits_per_second, round_trip_seconds)

    async def report(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{link.up.carried} {link.down.carried}\n".encode())
        writer.close()

    forwards = await asyncio.start_server(link.forward, "127.0.0.1", 0)
    reports = await asyncio.start_server(report, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (forwards, reports)]
    print(*ports, flush=True)
    await forwards.serve_forever()


def main() -> None:
    """Run from the command line, and print the port of the link, and that of its reports."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.link", description=__doc__)
    parser.add_argument("port", type=int, help="of the server")
    parser.add_argument("bits_per_second", type=float)
    parser.add_argument("round_trip_seconds", type=float)
    options = parser.parse_args()
    asyncio.run(_run(options.port, options.bits_per_second, options.round_trip_seconds))


if __name__ == "__main__":
    main()
