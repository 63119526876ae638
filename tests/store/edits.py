"""Edits of one name each, as most tests make them."""

from __future__ import annotations

from collections.abc import Sequence

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.edits import Copy, Delete, MakeFolder, Move, Put, Received
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import File


async def get_file(store: Store, name: FileName) -> File:
    """Return the file.

    Raises:
        NotFound: there is none.
    """
    file = await store.names.find(name)
    if file is None:
        raise NotFound(f"There is no file {name!r}.")
    return file


async def folder_exists(store: Store, name: FolderName) -> bool:
    """Whether there is a folder of this name."""
    return await store.names.find(name) is not None


async def make_folder(store: Store, name: FolderName) -> None:
    """Make an empty folder."""
    await store.names.apply([MakeFolder(name)])


async def delete(
    store: Store, name: FileName | FolderName, conditions: Conditions = UNCONDITIONAL
) -> None:
    """Remove a file or a folder."""
    await store.names.apply([Delete(name, conditions)])


async def copy(
    store: Store,
    source: FileName | FolderName,
    target: FileName | FolderName,
    *,
    overwrite: bool = True,
    conditions: Conditions = UNCONDITIONAL,
    with_members: bool = True,
) -> bool:
    """Copy a file or a folder; return whether that replaced one."""
    edit = Copy(source, target, overwrite, conditions, with_members=with_members)
    [applied] = await store.names.apply([edit])
    return applied.replaced


async def move(
    store: Store,
    source: FileName | FolderName,
    target: FileName | FolderName,
    *,
    overwrite: bool = True,
    conditions: Conditions = UNCONDITIONAL,
) -> bool:
    """Move a file or a folder; return whether that replaced one."""
    [applied] = await store.names.apply([Move(source, target, overwrite, conditions)])
    return applied.replaced


def put_of(
    upload: Upload,
    last: Sequence[Chunk],
    digest: Digest,
    size: int,
    name: FileName,
    media_type: str,
    conditions: Conditions = UNCONDITIONAL,
) -> Put:
    """Return the edit that makes what was uploaded a file; `last` are its last chunks."""
    return Put(name, Received(upload, last, digest, size), media_type, conditions)
