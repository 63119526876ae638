"""Requests made of chance, by the thousand, to a real server as a process.

Whatever comes, it answers, with no 5xx but those that tell of something else than a failure; no
request keeps the event loop busy for long; memory stays within its bounds; and nothing that was
not foreseen stands in the log. `--fuzz-time 1h --fuzz-seed 2` makes a long run of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.http import raw
from tests.http.fuzz import Fuzz, Request
from tests.http.runtime import ticking
from tests.process import ServerProcess

_TICKING: Final = (sys.executable, ticking.__file__)
_MIB: Final = 1024 * 1024
_MEMORY: Final = 16 * _MIB
# What connections, heads, and a heap in pieces take beside the budget.
_MEMORY_BESIDE: Final = 48 * _MIB
_CLIENTS: Final = 4
_LEAST_REQUESTS: Final = 1000
_MOST_BUSY_MS: Final = 50
# 502 is what RFC 4918 §9.8.5 has for a Destination on another server.
_NO_FAILURES: Final = {501, 502, 503, 505, 507}
_FORESEEN: Final = re.compile(r"[\d-]+ [\d:,]+ INFO .*")


@dataclass
class Run:
    """What came of all requests; `failures` are those that must not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, request: Request, status: int) -> None:
        self.statuses[status] += 1
        if status >= 500 and status not in _NO_FAILURES:
            self.failures.append((status, request.octets[:300]))


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is."""

    port: int
    host: str = "127.0.0.1"


async def test_whatever_comes_is_answered(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds: float = pytestconfig.getoption("--fuzz-time")
    seed: int = pytestconfig.getoption("--fuzz-seed")
    server = ServerProcess(tmp_path, "--memory", str(_MEMORY), wrapper=_TICKING)
    run = Run()
    try:
        before = server.anonymous_memory()
        await send_for(seconds, seed, Address(server.port), run)
        grown = server.anonymous_memory() - before
    finally:
        assert server.stop() == 0
    gaps = [gap for gap, _ in json.loads((tmp_path / ticking.GAPS).read_text())]
    with capsys.disabled():
        print(  # noqa: T201 - a measurement, for whoever runs the test
            f"\n{run.statuses.total()} requests, statuses {dict(sorted(run.statuses.items()))};"
            f" longest gaps {[round(gap, 1) for gap in gaps[:5]]} ms;"
            f" memory {grown / _MIB:+.0f} MiB"
        )
    assert run.failures == []
    log = server.log.read_text(errors="replace").splitlines()
    assert [line for line in log if not _FORESEEN.fullmatch(line)] == []
    assert gaps[0] < _MOST_BUSY_MS
    assert grown < _MEMORY + _MEMORY_BESIDE


async def send_for(seconds: float, seed: int, server: raw.Server, run: Run) -> None:
    """Send requests of several clients at once, for so long and no fewer than there must be."""
    end = time.monotonic() + seconds

    async def send(number: int) -> None:
        fuzz = Fuzz(Random(f"{seed} {number}"))
        while time.monotonic() < end or run.statuses.total() < _LEAST_REQUESTS:
            await send_some(fuzz, server, run)

    async with asyncio.TaskGroup() as clients:
        for number in range(_CLIENTS):
            clients.create_task(send(number))


async def send_some(fuzz: Fuzz, server: raw.Server, run: Run) -> None:
    """Send requests on one connection until the server or chance ends it."""
    async with raw.connect(server) as connection:
        for _ in range(20):
            request = fuzz.request()
            try:
                if fuzz.breaks_off():
                    await connection.send(request.octets[: len(request.octets) // 2])
                    return
                await connection.send(request.octets)
                answer = await connection.receive(request.method)
                while answer.status < 200:
                    answer = await connection.receive(request.method)
            except TimeoutError as error:
                error.add_note(f"There was no answer to {request.octets[:4096]!r}.")
                raise
            except (ConnectionError, asyncio.IncompleteReadError):
                # The server may close while it is still sent to (RFC 9112 §9.6), which reaches the
                # client before the answer does.
                run.add(request, 0)
                return
            run.add(request, answer.status)
            location = answer.headers["Location"] or ""
            if location.startswith("/uploads/"):
                fuzz.learn(location)
            if answer.headers["Connection"] == "close" or answer.version == "HTTP/1.0":
                return
