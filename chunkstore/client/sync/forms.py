"""Small files, many in one request: a form is one transaction and one sync of the server's disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chunkstore.client.cache import FileState, Fingerprint
from chunkstore.client.digests import naming, opened, require_unchanged
from chunkstore.client.errors import Mismatch, SourceChanged
from chunkstore.client.server.files import Files, FormFile
from chunkstore.client.session import Session
from chunkstore.client.sync.local_tree import LocalFile
from chunkstore.client.sync.plan import PutFile
from chunkstore.core.digest import Digest

# A chunk: of a larger file it may pay to send only those that are missing.
LARGEST_IN_FORM: Final = 256 * 1024
# Four forms of so many files at once are half of what a server takes at least.
_MAX_FILES: Final = 250
_MAX_SIZE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SmallFile:
    """The content of a small file, and in which state the file was when it was read."""

    step: PutFile
    file: LocalFile
    content: bytes
    digest: Digest
    state: FileState
    began_ns: int


def form_groups(steps: Iterable[PutFile]) -> Iterator[list[PutFile]]:
    """Yield small files in groups that fit in a form; those of a group are all new, or none is."""
    groups: dict[bool, list[PutFile]] = {True: [], False: []}
    sizes = {True: 0, False: 0}
    for step in steps:
        group = groups[step.is_new]
        if group and (len(group) == _MAX_FILES or sizes[step.is_new] + step.size > _MAX_SIZE):
            yield group
            group = groups[step.is_new] = []
            sizes[step.is_new] = 0
        group.append(step)
        sizes[step.is_new] += step.size
    yield from filter(None, groups.values())


def read_small(step: PutFile, file: LocalFile) -> SmallFile:
    """Read a file, once more if it was changed meanwhile.

    Raises:
        SourceChanged: it was changed again, or is not small any more.
        ClientError: it cannot be read.
    """
    try:
        return _read(step, file)
    except SourceChanged:
        return _read(step, file)


def _read(step: PutFile, file: LocalFile) -> SmallFile:
    began = time.time_ns()
    with opened(file.path) as (descriptor, state):
        if state.size > LARGEST_IN_FORM:
            raise SourceChanged(f"{file.path} has grown.")
        with naming(file.path):
            content = os.pread(descriptor, LARGEST_IN_FORM + 1, 0)
        require_unchanged(file.path, descriptor, state)
        if len(content) != state.size:
            raise SourceChanged(f"{file.path} was changed while it was read.")
    return SmallFile(step, file, content, Digest.of(content), state, began)


def post_small(session: Session, files: Files, folder: str, group: Sequence[SmallFile]) -> None:
    """Send files in one form; what they are is kept in the digest cache.

    Raises:
        ClientError: none of them is there now: the server refuses or is away.
        Mismatch: the server has got something else than was sent.
    """
    written = files.post_form(
        folder,
        [FormFile(small.step.name, small.content) for small in group],
        overwrite=not group[0].step.is_new,
    )
    for small, answer in zip(group, written, strict=False):
        if answer.digest is not None and answer.digest != small.digest:
            raise Mismatch(f"The server has got another content of {small.step.name!r}.")
        if session.cache is not None:
            fingerprint = Fingerprint(small.digest, small.state.size)
            session.cache.keep(small.state, small.file.path, fingerprint, small.began_ns)
