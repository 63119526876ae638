"""The store as one request may use it: the only way from handlers to what is in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import NewType

from aiohttp import web

from chunkstore.core.access import Verbs
from chunkstore.core.chunk_lists import ListEntry
from chunkstore.core.conditional import UNCONDITIONAL
from chunkstore.core.errors import ChunkstoreError, InvalidRequest, NotFound, PartGone
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.http.message.request import UPLOADS, client_of, file_name_of, store_of
from chunkstore.http.security.guards import guard_of
from chunkstore.http.security.link_entry import visit_path
from chunkstore.http.security.rights import READABLE, rights_of
from chunkstore.service.access.links import Visit
from chunkstore.service.access.visiting import require_shown
from chunkstore.service.chunks.by_list import put_by_list
from chunkstore.service.known_chunks import KnownChunks, ScopedChunks
from chunkstore.service.putting import AllowedNames
from chunkstore.service.quotas import may_know_usage
from chunkstore.service.resumable.append import UploadLimits, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.rights import PUTTING, SEEING, Rights
from chunkstore.service.visible_names import VisibleNames
from chunkstore.store.contract.edits import Name, Uploaded
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.quotas import Quota
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec
from chunkstore.store.contract.values import Committed, File, Listing

Readable = NewType("Readable", FileName)
"""A file that the request may read."""


def readable(request: web.Request, name: FileName | None = None) -> Readable:
    """Return a file that the request may read, the one that its URL names by default.

    Raises:
        SignInNeeded, NotFound, VerbLacking: it may not.
    """
    if name is None:
        if READABLE in request:
            return Readable(FileName(request[READABLE]))
        name = file_name_of(request)
    rights_of(request).require(Verbs.READ, name)
    return Readable(name)


def may_read(request: web.Request) -> bool:
    """Whether the request may read the file that its URL names."""
    return READABLE in request or rights_of(request).is_open


def open_file(
    request: web.Request, name: Readable, *, inline: int = 0
) -> AbstractAsyncContextManager[File | None]:
    """As `Contents.open`."""
    return store_of(request).contents.open(name, inline=inline)


def visit_of(request: web.Request) -> Visit:
    """Return the visit of a request that comes by a link."""
    visit = rights_of(request).principal.visit
    assert visit is not None
    return visit


def check_shown(request: web.Request, name: FileName, file: File | None) -> None:
    """Check that a file is what a link was made for, if the request comes by one.

    Raises:
        NotFound, LinkContentReplaced: it is not, or there is none any more.
    """
    visit = rights_of(request).principal.visit
    if visit is not None:
        require_shown(visit, name, None if file is None else str(file.manifest.digest))


async def count_use(request: web.Request, *, from_start: bool) -> None:
    """Count a use of a link that the request comes by; before anything of the file is sent.

    Raises:
        LinkUsedUp: it is one too many.
    """
    rights = rights_of(request)
    visit = rights.principal.visit
    if visit is not None and rights.people is not None:
        uses = rights.people.visiting.uses
        await uses.count(visit.link, visit.known_by, from_start=from_start)


def page_after(request: web.Request, listed: str, count: int) -> str:
    """Return the path of the page that a form with `count` files leads to.

    It is the list of the folder, `listed`, or that of a visit by a link which shows no list.
    """
    visit = rights_of(request).principal.visit
    if visit is None or visit.own is None:
        return listed
    return f"{visit_path(request, visit.text)}?sent={count}"


async def find_file(request: web.Request, name: Readable) -> File | None:
    """As `Names.find`."""
    return await store_of(request).names.find(FileName(name))


def names_of(request: web.Request) -> AllowedNames:
    """Return the edits of names that the request may make."""
    store = store_of(request)
    return AllowedNames(store.names, rights_of(request), store.quotas, guard_of(request))


async def folder_exists(request: web.Request, folder: FolderName) -> bool:
    """Whether there is a folder that the request may know of."""
    names, rights = store_of(request).names, rights_of(request)
    if not rights.is_open:
        visible = VisibleNames(names, rights.access)
        return visible.may_list(folder) and await visible.exists(folder)
    return await names.find(folder) is not None


async def list_names(
    request: web.Request,
    prefix: str,
    *,
    delimiter: str,
    after: str | None,
    limit: int,
    made_folders: bool = False,
) -> Listing:
    """As `Names.list`, of what the request may see."""
    names, rights = store_of(request).names, rights_of(request)
    seen = names if rights.is_open else VisibleNames(names, rights.access)
    return await seen.list(
        prefix, delimiter=delimiter, after=after, limit=limit, made_folders=made_folders
    )


async def find_visible(request: web.Request, name: FileName) -> File | None:
    """Return a file that the request may see; what is in it may be another matter."""
    rights = rights_of(request)
    if not rights.access.verbs(name) & SEEING:
        return None
    return await store_of(request).names.find(name)


async def quota_of(request: web.Request, folder: FolderName) -> tuple[int, int] | None:
    """Return how many bytes are used of the quota that a folder is in, and how many are left.

    None where there is none, or no figures of it may be told.
    """
    rights = rights_of(request)
    covering = await store_of(request).quotas.covering(folder)
    found = [
        (quota.used.size, max(quota.max_size - quota.used.size, 0))
        for quota in covering
        if quota.max_size is not None and may_know_usage(rights, quota.folder)
    ]
    if not found:
        return None
    # What the innermost one uses; the fullest decides what is left.
    return found[-1][0], min(left for _, left in found)


async def describe(request: web.Request, names: Sequence[Name]) -> Mapping[Name, Description]:
    """Return what is kept with names that the request was told of, as far as it may be told.

    Properties can have anything, so they take `READ`; of what only leads elsewhere nothing is told.
    Files are left out that have none.
    """
    rights = rights_of(request)
    described = await store_of(request).properties.describe(names, bare=False)
    if rights.is_open:
        return described
    told: dict[Name, Description] = {}
    for name, description in described.items():
        verbs = rights.access.verbs(name)
        if Verbs.READ in verbs:
            told[name] = description
        elif verbs & SEEING:
            told[name] = replace(description, properties=None)
    return told


def readable_in(request: web.Request, folder: FolderName) -> Callable[[FileName], bool] | None:
    """Return what says which files of a folder the request may read, None if it may all."""
    rights = rights_of(request)
    if rights.is_open:
        return None
    if Verbs.READ in rights.access.everywhere(folder):
        return None
    return rights.access.allowing(Verbs.READ)


def who_is(request: web.Request) -> dict[str, object]:
    """Return what a page says of whoever looks at it."""
    rights = rights_of(request)
    account = rights.principal.account
    return {
        "who": None if account is None else account.name,
        "is_closed": not rights.is_open,
        "may_share": account is not None and rights.access.somewhere(Verbs.SHARE),
        "administers": rights.access.somewhere(Verbs.ADMIN),
        "here": request.rel_url.raw_path_qs,
    }


async def quotas_of(request: web.Request, folder: FolderName) -> Sequence[Quota]:
    """Return the quotas that count what is put in a folder, as far as their figures may be told."""
    covering = await store_of(request).quotas.covering(folder)
    rights = rights_of(request)
    return [quota for quota in covering if may_know_usage(rights, quota.folder)]


def possible_in(request: web.Request, folder: FolderName) -> dict[str, bool]:
    """Return what a page offers to do in a folder, or somewhere below it."""
    access = rights_of(request).access
    return {
        "may_put": access.somewhere(PUTTING, folder),
        "may_change": access.somewhere(Verbs.DELETE, folder),
    }


def tells_figures(request: web.Request) -> bool:
    """Whether a page may tell what the whole store holds."""
    rights = rights_of(request)
    return rights.is_open or Verbs.ADMIN in rights.access.verbs(ROOT)


def tells_new(request: web.Request) -> bool:
    """Whether the answer may tell what of a content the store had: who reads all may know it."""
    return rights_of(request).reads_all()


def is_dropped(request: web.Request, name: FileName) -> bool:
    """Whether the file was put by somebody who learns nothing of others, not even its name."""
    rights = rights_of(request)
    return not rights.is_open and rights.drops(name)


def refuse_dropping(request: web.Request, name: FileName) -> None:
    """Refuse to put a file where the answer would tell somebody what they may not know.

    Raises:
        SignInNeeded, NotFound, VerbLacking: it would.
    """
    if is_dropped(request, name):
        raise rights_of(request).refusal(name, Verbs.LIST)


def known_chunks(
    request: web.Request, bases: Sequence[FileName], upload_id: str | None = None
) -> KnownChunks:
    """Return the chunks that the request may refer to: all, or those that it may read by a name."""
    store, rights = store_of(request), rights_of(request)
    if rights.reads_all():
        return store.chunks
    read = [base for base in bases if Verbs.READ in rights.access.verbs(base)]
    return ScopedChunks(store, read, upload_id)


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
        assert spec.target is not None
        await self.names.check(spec.target, spec.conditions)
        spec = self._own(spec)
        bases = (*spec.bases, *(() if spec.target is None else (spec.target,)))
        known = known_chunks(self.request, bases)
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
