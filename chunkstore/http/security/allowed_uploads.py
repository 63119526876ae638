"""The resumable uploads of the store as one request may use them; see `allowed`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from chunkstore.core.access import Verbs
from chunkstore.core.chunk_lists import ListEntry
from chunkstore.core.conditional import UNCONDITIONAL
from chunkstore.core.errors import ChunkstoreError, InvalidRequest, NotFound, PartGone
from chunkstore.http.message.request import UPLOADS, client_of
from chunkstore.http.security.allowed import known_chunks, names_of
from chunkstore.http.security.rights import rights_of
from chunkstore.service.access.links import Visit
from chunkstore.service.chunks.by_list import put_by_list
from chunkstore.service.putting import AllowedNames
from chunkstore.service.resumable.append import UploadLimits, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.rights import PUTTING, Rights
from chunkstore.store.contract.edits import Uploaded
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec
from chunkstore.store.contract.values import Committed


@dataclass(frozen=True, slots=True)
class AllowedUploads:
    """The resumable uploads of whoever makes the request; there are no others for them.

    All raise, besides what `ResumableUploads` raises, NotFound for an upload of somebody else.
    """

    request: web.Request
    uploads: ResumableUploads
    rights: Rights
    names: AllowedNames

    @property
    def limits(self) -> UploadLimits:
        """What uploads may take."""
        return self.uploads.limits

    async def create(self, spec: UploadSpec, length: int | None) -> ResumableUpload:
        """Begin an upload of one's own.

        Raises:
            LinkFull: the link that the request comes by takes no more.
        """
        if self.rights.principal.visit is not None:
            return await self._create_by_link(self.rights.principal.visit, spec, length)
        for part in spec.parts:
            if await self.find(part) is None:
                raise PartGone
        return await self.uploads.create(self._own(spec), length, self.names)

    async def _create_by_link(
        self, visit: Visit, spec: UploadSpec, length: int | None
    ) -> ResumableUpload:
        """Begin one within what the link may take, of which all unfinished ones count."""
        if spec.kind is not UploadKind.FILE or length is None:
            raise InvalidRequest("By a link a file is sent whole, and its length told first.")
        assert self.rights.people is not None
        uses = self.rights.people.visiting.uses
        with visit.putting():
            upload = await self.uploads.create(self._own(spec), length, self.names)
            try:
                await uses.begin(visit.link, upload.id, length)
            except ChunkstoreError:
                await self.uploads.delete(upload.id)
                raise
        return upload

    def _own(self, spec: UploadSpec) -> UploadSpec:
        if self.rights.is_open:
            return spec
        access, target = self.rights.access, spec.target
        if target is not None and self.rights.drops(target):
            # As if there were nothing of this name.
            spec.conditions.require(None)
            spec = replace(spec, conditions=UNCONDITIONAL)
        bases = [base for base in spec.bases if Verbs.READ in access.verbs(base)]
        return replace(spec, bases=bases, owner=self.rights.principal.id)

    async def put_by_list(
        self, spec: UploadSpec, entries: Sequence[ListEntry]
    ) -> Committed | ResumableUpload:
        """Make a file of chunks that one may refer to."""
        target = spec.target
        assert target is not None
        await self.names.check(target, spec.conditions)
        spec = self._own(spec)
        known = known_chunks(self.request, [*spec.bases, target])
        client = client_of(self.request)
        return await put_by_list(
            self.uploads, spec, entries, client, putting=self.names, known_chunks=known
        )

    async def find(self, upload_id: str) -> ResumableUpload | None:
        """Return an upload as it is at the moment, None if there is none of one's own."""
        upload = await self.uploads.find(upload_id)
        return upload if upload is not None and self._is_own(upload) else None

    async def get(self, upload_id: str) -> ResumableUpload:
        """Return an upload as it is at the moment."""
        upload = await self.find(upload_id)
        if upload is None:
            raise NotFound("There is no such upload.")
        return upload

    def _is_own(self, upload: ResumableUpload) -> bool:
        rights, target = self.rights, upload.spec.target
        if rights.is_open:
            return True
        verbs = PUTTING if target is None else rights.access.verbs(target)
        is_own = upload.spec.owner == rights.principal.id and bool(verbs & PUTTING)
        return is_own or (target is not None and Verbs.ADMIN in verbs)

    async def _require_own(self, upload_id: str) -> None:
        if not self.rights.is_open:
            await self.get(upload_id)

    async def append(
        self, upload_id: str, request: UploadRequest, pieces: AsyncIterable[bytes]
    ) -> ResumableUpload:
        """Add bytes to an upload, or a list of chunks that one may refer to."""
        if not self.rights.is_open:
            spec = (await self.get(upload_id)).spec
            target = () if spec.target is None else (spec.target,)
            known = known_chunks(self.request, [*spec.bases, *target], upload_id)
            request = replace(request, known=known)
        return await self.uploads.append(upload_id, request, pieces, self.names)

    async def receive_pack(
        self, upload_id: str, pieces: AsyncIterable[bytes], client: str, *, raw: bool
    ) -> int:
        """Have an upload hold a pack of chunks."""
        await self._require_own(upload_id)
        return await self.uploads.receive_pack(upload_id, pieces, client, raw=raw)

    async def iter_held(self, upload_id: str) -> AsyncGenerator[bytes, None]:
        """Yield pages of the chunks that an upload has been sent."""
        await self._require_own(upload_id)
        async for page in self.uploads.iter_held(upload_id):
            yield page

    async def acquire_and_get(self, upload_id: str) -> ResumableUpload:
        """Return an upload at an offset that holds."""
        await self._require_own(upload_id)
        return await self.uploads.acquire_and_get(upload_id, self.names)

    async def delete(self, upload_id: str) -> None:
        """End an upload for good."""
        await self._require_own(upload_id)
        await self.uploads.delete(upload_id)
        visit, people = self.rights.principal.visit, self.rights.people
        if visit is not None and people is not None:
            await people.visiting.uses.end(visit.link, upload_id)

    async def get_whole(self, upload_id: str) -> tuple[ResumableUpload, Uploaded]:
        """Return an upload that is whole and no file yet, and its content."""
        await self._require_own(upload_id)
        return await self.uploads.get_whole(upload_id, self.names)

    async def finish(self, upload_id: str) -> Committed | None:
        """Make a whole upload its file, as far as that is allowed then."""
        await self._require_own(upload_id)
        return await self.uploads.finish(upload_id, self.names)


def uploads_of(request: web.Request) -> AllowedUploads:
    """Return the resumable uploads that the request may use."""
    return AllowedUploads(request, request.app[UPLOADS], rights_of(request), names_of(request))
