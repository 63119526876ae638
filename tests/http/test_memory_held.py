"""What a real server holds of bytes that clients send and do not take: within its budget.

Memory is the process's anonymous pages, so bounds are coarse; what is counted is exact in
`tests/unit/test_memory.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.http import raw
from tests.http.conftest import Address
from tests.http.steps import MIB, wait_until
from tests.process import ServerProcess, served

CHUNKED: Final = "Transfer-Encoding: chunked"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with served(tmp_path, "--min-free", "0") as process:
        yield process


def address_of(server: ServerProcess) -> Address:
    return Address("127.0.0.1", server.port)


async def all_is_read(server: ServerProcess) -> None:
    """Wait until nothing that clients sent is left in the kernel."""
    port = f":{server.port:04X}"

    async def is_read() -> bool:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        unsent = [row[4][:8] for row in rows if row[2].endswith(port)]
        unread = [row[4][9:] for row in rows if row[1].endswith(port)]
        # A listening socket's queue is of connections.
        return not any(int(size, 16) for size in unsent + unread)

    await wait_until(is_read)


@pytest.mark.parametrize("size", [1, 2, 13])
async def test_body_in_tiny_http_chunks_takes_its_bytes(server: ServerProcess, size: int) -> None:
    before = server.anonymous_memory()
    pieces = raw.chunked(*[bytes(size)] * 1000)
    async with raw.connect(address_of(server)) as connection:
        await connection.send(raw.request("PUT", "/files/a", CHUNKED))
        for _ in range(200):
            await connection.send(pieces)
        await all_is_read(server)
        # One by one they would be 60 MiB.
        assert server.anonymous_memory() - before < 16 * MIB
        await connection.send(raw.LAST_CHUNK)
        answer = await connection.receive()
        assert answer.json()["size"] == 200 * 1000 * size
