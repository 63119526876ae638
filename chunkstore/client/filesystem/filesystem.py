"""The file system; each of its calls runs in a thread, several at once."""

from __future__ import annotations

import asyncio
import errno
import os
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path

from chunkstore.client.errors import InvalidPlace
from chunkstore.client.filesystem.errors import os_error, os_errors
from chunkstore.client.filesystem.files import OpenFile
from chunkstore.client.filesystem.remote import Info, Remote
from chunkstore.client.filesystem.transaction import AtomicTransaction
from chunkstore.client.filesystem.urls import SCHEMES, join_url, split_url
from chunkstore.client.options import PushOptions
from chunkstore.client.places import parse_url
from chunkstore.client.pull_file import pull_file
from chunkstore.client.push_file import push_file
from chunkstore.client.server.conditions import ABSENT, ANYTHING, Condition
from chunkstore.client.session import Session
from chunkstore.client.settings import DEFAULT_CONNECTIONS, Settings

T = TypeVar("T")

_MAGIC: Final = set("*?[")


class ChunkstoreFileSystem(AsyncFileSystem):
    """The files of one server, by their names.

    `url` is that of the server, by default CHUNKSTORE_URL; `token` is sent to it, by default
    CHUNKSTORE_TOKEN if it is for that server. With `use_cache` files of this machine that were put
    or got before are known by the digest cache.
    """

    protocol = tuple(SCHEMES)
    root_marker = ""
    transaction_type = AtomicTransaction

    def __init__(
        self, url: str | None = None, *, token: str | None = None,
        connections: int = DEFAULT_CONNECTIONS, use_cache: bool = True,
        **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> None:  # fmt: skip
        """Connect to nothing yet.

        Raises:
            ValueError: there is no URL, or it is not that of a server.
        """
        super().__init__(**options)
        settings = replace(Settings.from_environment(), connections=connections)
        url = url or settings.url
        if not url:
            raise ValueError("Give the URL of the server, in the path, as url or CHUNKSTORE_URL.")
        try:
            root = parse_url(url if url.endswith("/") else f"{url}/")
        except InvalidPlace as error:
            raise ValueError(str(error)) from error
        if root.name:
            raise ValueError(f"{url!r} is a folder; give the URL of its server.")
        if token is not None:
            settings = replace(settings, token=token, url=root.base)
        session = Session(settings, use_cache=use_cache)
        self._finish = weakref.finalize(self, session.close)
        self.remote = Remote(session, root)

    def close(self) -> None:
        """Close all connections; nothing can be done with it then."""
        self._finish()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 - a path, or a list of them
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return split_url(stringify_path(path))[1]

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        base, _ = split_url(path)
        return {} if base is None else {"url": base}

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL of a name."""
        return join_url(self.remote.server.base, self._strip_protocol(name))

    async def _info(self, path: str, **_: object) -> Info:
        return await self._do(path, self.remote.info)

    async def _ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        found = await self._do(path, self.remote.members)
        return found if detail else [info["name"] for info in found]

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> list[str] | dict[str, Info]:  # fmt: skip
        """Find files by lists of all levels; folders, which may be empty, by a list of each."""
        detail, prefix = options.pop("detail", False), options.pop("prefix", "")
        if maxdepth is None and not withdirs:
            found = await self._do(path, self.remote.walk, prefix)
        elif maxdepth == 1 and not withdirs:
            found = await self._do(path, self.remote.members, prefix)
            found = [info for info in found if info["type"] == "file"]
        else:
            by_name: dict[str, Info] = await super()._find(
                path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **options
            )
            return by_name if detail else list(by_name)
        if not found and await self._isfile(path):
            found = [await self._info(path)]
        by_name = {info["name"]: info for info in found}
        return by_name if detail else list(by_name)

    async def _du(
        self, path: str, total: bool = True, maxdepth: int | None = None, **_: object
    ) -> int | dict[str, int]:
        found = await self._find(path, maxdepth=maxdepth, detail=True)
        assert isinstance(found, dict)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None,
        etag: str | None = None, **_: object,
    ) -> bytes:  # fmt: skip
        if (start or 0) < 0 or (end or 0) < 0:
            info = await self._info(path)
            size, etag = info["size"], etag or info.get("ETag")
            start, end = (
                bound if bound is None or bound >= 0 else max(0, size + bound)
                for bound in (start, end)
            )
        return await self._do(path, self.remote.read, start or 0, end, etag)

    async def _cat_ranges(
        self, paths: list[str], starts: Any, ends: Any, max_gap: int | None = None,  # noqa: ANN401 - a number, or some
        batch_size: int | None = None, on_error: str = "return", **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> list[Any]:  # fmt: skip
        """Return ranges of files, those of each file of one content."""
        etags: dict[str, str | None] = {}
        for path in {path for path in paths if paths.count(path) > 1}:
            with suppress(OSError):
                etags[path] = (await self._info(path)).get("ETag")
        count = len(paths)
        coroutines = [
            self._cat_file(path, start, end, etags.get(path))
            for path, start, end in zip(
                paths, _each(starts, count), _each(ends, count), strict=True
            )
        ]
        found = await asyncio.gather(*coroutines, return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and on_error != "return":
                raise one
        return found

    async def _pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **_: object
    ) -> None:
        await self._do(path, self.remote.write, bytes(value), _condition_of(mode))

    async def _put_file(
        self, lpath: str, rpath: str, mode: str = "overwrite",
        callback: Callback = DEFAULT_CALLBACK, **_: object,
    ) -> None:  # fmt: skip
        if await asyncio.to_thread(os.path.isdir, lpath):
            await self._makedirs(rpath, exist_ok=True)
            return
        options = PushOptions(_condition_of(mode))
        if mode == "create" and await self._exists(rpath):
            raise os_error(errno.EEXIST, rpath)

        def push(name: str, _: Condition | None) -> None:
            pushed = push_file(self.remote.session, Path(lpath), self.remote.place(name), options)
            callback.set_size(pushed.size)
            callback.absolute_update(pushed.size)

        await self._do(rpath, push, options.condition)

    async def _get_file(
        self, rpath: str, lpath: str, callback: Callback = DEFAULT_CALLBACK, **_: object
    ) -> None:
        def pull(name: str) -> None:
            pulled = pull_file(self.remote.session, self.remote.place(name), Path(lpath))
            callback.set_size(pulled.size)
            callback.absolute_update(pulled.size)

        if await asyncio.to_thread(os.path.isdir, lpath) and await self._isdir(rpath):
            return
        try:
            await self._do(rpath, pull)
        except FileNotFoundError:
            if not await self._isdir(rpath):
                raise
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)

    async def _rm_file(self, path: str, **_: object) -> None:
        await self._do(path, self.remote.delete_file)

    async def _rm(
        self, path: str | list[str], recursive: bool = False, batch_size: int | None = None,
        maxdepth: int | None = None, **_: object,
    ) -> None:  # fmt: skip
        for name in await self._expand_path(path):
            info = await self._info(name)
            if info["type"] == "file":
                await self._rm_file(name)
            elif not recursive or maxdepth is not None:
                raise os_error(errno.EISDIR, name)
            elif name:
                await self._do(name, self.remote.delete_folder)
            else:
                for inner in await self._ls(name, detail=False):
                    await self._rm(inner, recursive=True)

    async def _cp_file(self, path1: str, path2: str, **_: object) -> None:
        try:
            await self._do(path1, self.remote.copy_file, self._strip_protocol(path2))
        except FileNotFoundError:
            if not await self._isdir(path1):
                raise
            await self._makedirs(path2, exist_ok=True)

    async def _copy(
        self, path1: Any, path2: Any, recursive: bool = False, on_error: str | None = None,  # noqa: ANN401 - a path, or some
        maxdepth: int | None = None, **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> None:  # fmt: skip
        """Copy files; a folder to where nothing is by one edit, so all of it at one moment."""
        if recursive and maxdepth is None and _is_one(path1) and _is_one(path2):
            source, target, is_folder = await self._placed(path1, path2)
            if is_folder and not await self._exists(target):
                await self._do(source, self.remote.copy_folder, target)
                return
        await super()._copy(
            path1, path2, recursive=recursive, on_error=on_error, maxdepth=maxdepth, **options
        )

    async def _mv_file(self, path1: str, path2: str) -> None:
        await self._do(path1, self.remote.move_file, self._strip_protocol(path2))

    def mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None,  # noqa: ANN401 - a path, or some
        **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> None:  # fmt: skip
        """Move a file, or a folder to where nothing is, by one edit; others one after the other."""
        if _is_one(path1) and _is_one(path2):
            source, target, is_folder = sync(self.loop, self._placed, path1, path2)
            if source == target:
                return
            if not is_folder:
                sync(self.loop, self._mv_file, source, target)
                return
            if not self.exists(target):
                sync(self.loop, self._do, source, self.remote.move_folder, target)
                return
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)

    async def _placed(self, path1: str, path2: str) -> tuple[str, str, bool]:
        """Return the source and the target of a copy or move, and whether they are folders.

        The target is within `path2` if that is a folder, unless `path1` ends in `/` and is one.
        """
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        is_folder = (await self._info(source))["type"] == "directory"
        is_inner = path2.endswith("/") or await self._isdir(target)
        if is_inner and not (is_folder and path1.endswith("/")):
            target = f"{target}/{source.rpartition('/')[2]}".lstrip("/")
        return source, target, is_folder

    async def _mkdir(self, path: str, create_parents: bool = True, **_: object) -> None:
        if not self._strip_protocol(path):
            raise os_error(errno.EEXIST, path)
        await self._do(
            path, lambda name: self.remote.make_folder(name, create_parents=create_parents)
        )

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        try:
            await self._mkdir(path)
        except FileExistsError:
            if not exist_ok or not await self._isdir(path):
                raise

    def rmdir(self, path: str) -> None:
        """Delete a folder in which nothing is, at the moment at which that is looked for."""
        name = self._strip_protocol(path)
        with os_errors(name):
            self.remote.remove_empty_folder(name)

    def modified(self, path: str) -> datetime:
        """Return when a file got its content."""
        return self.file_info(path)["modified"]  # type: ignore[no-any-return] # as `file_info` makes it

    def ukey(self, path: str) -> str:
        """Return the ETag of a file, which is another one for another content."""
        return self.file_info(path)["ETag"]  # type: ignore[no-any-return] # as `file_info` makes it

    def checksum(self, path: str) -> int:
        """Return the BLAKE3 of a file's content as a number."""
        return int(self.ukey(path).strip('"'), 16)

    def file_info(self, path: str) -> Info:
        """Return what a file is.

        Raises:
            FileNotFoundError, IsADirectoryError: it is none.
            OSError: the server refuses or is away.
        """
        info: Info = self.info(path)
        if info["type"] != "file":
            raise os_error(errno.EISDIR, path)
        return info

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None,
        autocommit: bool = True, cache_options: dict[str, Any] | None = None, **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> OpenFile:  # fmt: skip
        return OpenFile(
            self, self.remote, path, mode, block_size, autocommit=autocommit,
            cache_options=cache_options, **options,
        )  # fmt: skip

    async def _do(self, path: str, call: Callable[..., T], *arguments: object) -> T:
        name = self._strip_protocol(path)
        # Only what is read by its ETag, or is to be new, has a condition.
        failed = errno.EEXIST if ABSENT in arguments else errno.ESTALE
        with os_errors(name, failed):
            return await asyncio.to_thread(call, name, *arguments)


def _is_one(path: object) -> bool:
    """Whether it is one path, and no pattern or list."""
    return isinstance(path, str) and not _MAGIC & set(path)


def _condition_of(mode: str) -> Condition:
    if mode not in ("create", "overwrite"):
        raise ValueError(f"The mode is create or overwrite, not {mode!r}.")
    return ABSENT if mode == "create" else ANYTHING


def _each(bounds: Any, count: int) -> list[int | None]:  # noqa: ANN401 - a number, or some
    return [*bounds] if isinstance(bounds, Iterable) else [bounds] * count
