"""A restore that ends at any moment leaves the old store whole, or the new one."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from itertools import count, groupby
from pathlib import Path
from typing import Any

from chunkstore.core.errors import StoreUnusable
from chunkstore.store.sqlite.restoring import restoring
from chunkstore.store.sqlite.store import SQLiteStore
from tests.process import clean_environment
from tests.store.conformance import put
from tests.store.sqlite.test_backup import back_up, files_in
from tests.store.sqlite.test_log_owner import crash_image

OLD, NEW = ["backed-up", "logged"], ["backed-up"]
_END = 9


async def restore(folder: Path, steps: int | None = None) -> None:
    """Restore in `folder`; end the process `steps` changes after what was copied is there."""
    async with restoring(folder / "s.db", folder / "backup.db") as restoration:
        async for _ in restoration.copy():
            pass
        if steps is not None:
            end_after(steps)
        await restoration.finish()
        if steps is not None:
            os._exit(0)


def end_after(steps: int) -> None:
    """End the process before it changes folders once more than `steps` times."""

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def change_or_end(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as it is given
            nonlocal steps
            if steps == 0:
                os._exit(_END)
            steps -= 1
            return change(*arguments, **options)

        return change_or_end

    for module, name in ((os, "link"), (Path, "replace"), (Path, "unlink"), (os, "fsync")):
        setattr(module, name, counted(getattr(module, name)))


def restore_in_copies(folder: Path) -> None:
    """Restore in copies of `folder` beside it, which end at 0, 1, 2... changes, until one does not.

    Forked, because it takes longest to load the program.
    """
    for steps in count():
        copy = shutil.copytree(folder, folder.with_name(str(steps)))
        child = os.fork()
        if child == 0:
            asyncio.run(restore(Path(copy), steps))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return
        assert status == _END


async def test_a_kill_at_any_moment(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "s.db")
    try:
        await put(store, "backed-up", b"x")
        await back_up(store, tmp_path / "backup.db")
        await put(store, "logged", b"y")
        image = crash_image(tmp_path / "s.db", tmp_path / "copies" / "image").parent
    finally:
        await store.close()
    shutil.copy(tmp_path / "backup.db", image)
    program = "import sys; from tests.store.sqlite.test_restoring import *; "
    program += "restore_in_copies(Path(sys.argv[1]))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(image)), env=clean_environment()
    )
    assert await process.wait() == 0
    folders = [image.with_name(str(steps)) for steps in range(len(os.listdir(image.parent)) - 1)]
    outcomes = [await files_of_what_is_left(folder, folder == folders[-1]) for folder in folders]
    # All the old ones first, then all the new ones.
    assert [files for files, _ in groupby(outcomes)] == [OLD, NEW]
    # What is left of one that was killed is no hindrance to the next.
    for folder in folders[::4]:
        await restore(folder)
        assert list(await files_in(folder / "s.db")) == NEW
        assert not list(folder.glob("s.db-restoring*"))


async def files_of_what_is_left(folder: Path, ended: bool) -> list[str]:
    """Return the files of the store in `folder`, the same to a reader, and what is beside it."""
    try:
        reader = await SQLiteStore.open(folder / "s.db", read_only=True)
        await reader.close()
    except StoreUnusable:
        # It would have to remove the old log.
        assert not ended
    await (await SQLiteStore.open(folder / "s.db")).close()
    files = list(await files_in(folder / "s.db"))
    if files == OLD:
        assert not list(folder.glob("s.db-before-*"))
    else:
        [kept] = folder.glob("s.db-before-*Z")
        assert list(await files_in(kept)) == OLD
    return files


async def test_one_that_is_given_up_leaves_all_as_it_was(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "s.db")
    await put(store, "a", b"a")
    await back_up(store, tmp_path / "backup.db")
    await put(store, "b", b"b")
    await store.close()
    before = sorted(tmp_path.glob("s.db*"))
    async with restoring(tmp_path / "s.db", tmp_path / "backup.db") as restoration:
        async for _ in restoration.copy():
            break
    assert sorted(tmp_path.glob("s.db*")) == before
    assert list(await files_in(tmp_path / "s.db")) == ["a", "b"]
