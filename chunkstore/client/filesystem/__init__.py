"""Servers of chunkstore as a file system of fsspec: `chunkstore://` and `chunkstores://`.

`docs/client.md` says what it promises.
"""

from chunkstore.client.filesystem.filesystem import ChunkstoreFileSystem

__all__ = ["ChunkstoreFileSystem"]
