"""Receiving packs: chunks that an upload is sent, for its list to refer to.

A pack is received like the content of a PUT, and handed to its upload at the end, which holds it
from then on. So any number may come at once, and none needs a lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chunkstore.core.chunking import Chunk
from chunkstore.core.errors import ChunkstoreError, TooLarge
from chunkstore.core.packs import MAX_PACK_SIZE
from chunkstore.service.ingest import Intake
from chunkstore.service.memory import Account
from chunkstore.service.pack_intake import PackIntake
from chunkstore.service.resumable.append import UploadLimits, run_to_end
from chunkstore.store.contract.contents import Contents, Upload
from chunkstore.store.contract.uploads import Uploads

# Entries of a list, and records of a pack, that one request may have.
MAX_DIGESTS: Final = 16_384

_logger = logging.getLogger(__name__)


class ChunkIntake(Protocol):
    """Takes the body of one request, and gives chunks to a sink in batches."""

    @property
    def received(self) -> int:
        """How many chunks have been given to the sink or returned."""

    async def take(self, piece: bytes) -> None:
        """Take the next bytes."""

    def end(self) -> None:
        """Learn that all bytes have come."""

    async def settle(self) -> Sequence[Chunk]:
        """Wait until all batches are stored; return the chunks that remain."""

    def require_sound(self) -> None:
        """Raise what was wrong with a chunk."""

    def close(self) -> bool:
        """Cancel what is under way; return whether anything was."""


class RawIntake:
    """Takes chunks of one size end to end, the last one shorter."""

    def __init__(self, sink: Upload, memory: Account, chunk_size: int) -> None:
        self._intake = Intake(sink, memory, chunk_size)
        self._chunk_size = chunk_size
        self._left = MAX_PACK_SIZE
        self._ended = False
        self.received = 0

    async def take(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise TooLarge(f"A pack can have {MAX_PACK_SIZE} bytes.")
        await self._intake.take(piece)

    def end(self) -> None:
        self._ended = True

    async def settle(self) -> Sequence[Chunk]:
        chunks, tail = await self._intake.settle()
        # One that broke off is no chunk of the client's.
        if tail and self._ended:
            chunks.append(Chunk.of(tail))
        taken = MAX_PACK_SIZE - self._left
        self.received = taken // self._chunk_size + bool(tail and self._ended)
        return chunks

    def require_sound(self) -> None:
        """Digests were computed here, so nothing can be wrong."""

    def close(self) -> bool:
        return self._intake.close()


@dataclass(frozen=True, slots=True)
class PackReceiver:
    """Receives packs for the uploads of one store."""

    contents: Contents
    uploads: Uploads
    limits: UploadLimits

    async def receive(
        self, upload_id: str, pieces: AsyncIterable[bytes], memory: Account, *, raw: bool
    ) -> int:
        """Have an upload hold the chunks of a pack; return how many came.

        `raw` says that they come end to end, without digests. If the pieces break off, or there is
        something wrong with them, the whole chunks before are held.

        Raises:
            InvalidRequest, DigestMismatch, TooLarge: as `PackIntake`.
            Crowded, StoreError: as there.
            NotFound, TooMuchUnfinished, and others: as `Uploads.hold`.
        """
        pack = self.contents.begin()
        intake = self._intake_of(pack, memory, raw=raw)
        try:
            async for piece in pieces:
                await intake.take(piece)
            intake.end()
        except BaseException:
            await run_to_end(self._keep(upload_id, pack, intake))
            raise
        else:
            received = await run_to_end(self._hold(upload_id, pack, intake))
            intake.require_sound()
            return received
        finally:
            if intake.close() or pack.begun:
                await asyncio.shield(pack.abort())

    def _intake_of(self, pack: Upload, memory: Account, *, raw: bool) -> ChunkIntake:
        chunk_size = self.contents.chunk_size
        if raw:
            return RawIntake(pack, memory, chunk_size)
        return PackIntake(pack, memory, chunk_size, max_size=MAX_PACK_SIZE, max_records=MAX_DIGESTS)

    async def _keep(self, upload_id: str, pack: Upload, intake: ChunkIntake) -> None:
        """Hold what has come of a pack that broke off."""
        try:
            await self._hold(upload_id, pack, intake)
        except ChunkstoreError as error:
            _logger.info("What had come of a pack was not kept: %s", error)

    async def _hold(self, upload_id: str, pack: Upload, intake: ChunkIntake) -> int:
        last = await intake.settle()
        if intake.received:
            expires, most = self.limits.expiry(), self.limits.max_unfinished
            await self.uploads.hold(upload_id, pack, last, expires, most)
        return intake.received
