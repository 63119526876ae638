"""Local files are closed, whenever whoever opens them goes away."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from chunkstore.service.transfer.local_files import opened


def open_files(folder: Path) -> list[str]:
    """Return the files below a folder that this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [path for path in found if path.startswith(f"{folder}/")]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs the folder /proc/self/fd")
@pytest.mark.parametrize("mode", ["rb", "xb"])
async def test_who_is_cancelled_leaves_no_file_open(
    tmp_path: Path, mode: Literal["rb", "xb"]
) -> None:
    async def hold(path: Path) -> None:
        async with opened(path, mode):
            await asyncio.Event().wait()

    for turns in range(40):
        path = tmp_path / str(turns)
        if mode == "rb":
            await asyncio.to_thread(path.touch)
        holding = asyncio.create_task(hold(path))
        for _ in range(turns):
            await asyncio.sleep(0)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert await asyncio.to_thread(open_files, tmp_path) == []


async def test_a_file_that_cannot_be_opened_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with opened(tmp_path / "none", "rb"):
            pass
