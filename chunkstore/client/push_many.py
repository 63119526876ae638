"""Pushing many files: small ones in one request, the others each by itself, several at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from chunkstore.client.digests import digests_of, naming, opened
from chunkstore.client.errors import (
    ClientError,
    ConditionFailed,
    Failure,
    Mismatch,
    Missing,
    ServerAway,
    Stopped,
)
from chunkstore.client.options import DEFAULT_PUSH, PushOptions
from chunkstore.client.outcome import Progress
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_file import push_file, read_small
from chunkstore.client.reporting import Reporter
from chunkstore.client.server.conditions import ANYTHING
from chunkstore.client.server.files import FormFile
from chunkstore.client.server.values import RemoteFile, condition_on
from chunkstore.client.session import Session
from chunkstore.client.workers import run_each
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunkstoreError, InvalidName
from chunkstore.core.names import parse_file_name

# Up to this size a file may be one of a form, and so much one form has.
_IN_FORM_SIZE: Final = 256 * 1024
_FORM_SIZE: Final = 4 * 1024 * 1024
# A server may take more in one form, but not in several at once.
_FORM_FILES: Final = 250
# How often a form is sent, each time without the file that was refused.
_FORM_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A local file, and its name within the folder that it is pushed to.

    `known` is the file that is to be replaced, of which it is a condition that nobody else replaces
    it; without one there must be none. Neither matters if the options have a condition.
    """

    path: Path
    name: str
    known: RemoteFile | None = None


def push_files(
    session: Session, folder: RemotePlace, files: Iterable[Outgoing],
    options: PushOptions = DEFAULT_PUSH, *, relative: bool = False,
) -> list[Failure]:  # fmt: skip
    """Push files into a folder; return those that failed, of which the reporter was told.

    Small files travel in forms, each of which is made whole or not at all; one that is refused is
    pushed by itself, and takes no other along. With `relative` the reporter is told names within
    the folder.

    Raises:
        ServerAway: the server cannot be reached; what was pushed stays.
    """
    push = _PushMany(session, folder, options, relative=relative)
    run_each(session.settings.transfers, push.tasks(files), push.run)
    return push.failures


def push_folder(
    session: Session, source: Path, target: RemotePlace, options: PushOptions = DEFAULT_PUSH
) -> list[Failure]:
    """Push what is in a folder; return those that failed, of which the reporter was told.

    What the target has already is not sent, and what else is in it stays. Links and what is no file
    are left out, with a warning.

    Raises:
        Missing: there is no such folder.
        ServerAway: the server cannot be reached; what was pushed stays.
    """
    if not source.is_dir():
        raise Missing(f"{source}: there is no such folder.")
    if not target.is_folder:
        target = replace(target, name=f"{target.name}/", shown=f"{target.shown}/")
    failures: list[Failure] = []
    found = list(walk_folder(source, session.reporter, failures))
    session.reporter.planned(len(found), sum(size for _, size in found))
    there = {}
    if options.condition is None and not target.is_foreign:
        there = {file.name: file for file in session.server(target).files.walk(target.name)}
    push = _PushMany(session, target, options)
    new: list[Outgoing] = []
    alike: list[Outgoing] = []
    for path, size in found:
        if (file := push.outgoing(source, path, there)) is not None:
            is_alike = file.known is not None and file.known.size == size
            (alike if is_alike else new).append(file)
    files = chain(new, push.differing(alike))
    run_each(session.settings.transfers, push.tasks(files), push.run)
    return [*failures, *push.failures]


def walk_folder(
    root: Path, reporter: Reporter, failures: list[Failure]
) -> Iterator[tuple[Path, int]]:
    """Yield the files below a folder, each with its size, those in outer folders first.

    What cannot be read is added to `failures`, of which the reporter is told, and what goes
    meanwhile is left out.

    Raises:
        ClientError: `root` itself cannot be read.
    """
    with naming(root):
        entries = _entries(root)
    folders: deque[str] = deque()
    while True:
        for entry in entries:
            if entry.is_symlink():
                reporter.warned(f"{entry.path} is a symbolic link, and was left out.")
            elif entry.is_dir():
                folders.append(entry.path)
            elif not entry.is_file():
                reporter.warned(f"{entry.path} is no file, and was left out.")
            else:
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat().st_size
        if not folders:
            return
        entries = _entries_or_failure(folders.popleft(), reporter, failures)


def _entries_or_failure(
    folder: str, reporter: Reporter, failures: list[Failure]
) -> list[os.DirEntry[str]]:
    try:
        with naming(folder):
            return _entries(folder)
    except Missing:
        return []
    except ClientError as error:
        failures.append(Failure(folder, error))
        reporter.failed(folder, error)
        return []


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


class _PushMany:
    """Pushes files into one folder, on several threads."""

    def __init__(
        self, session: Session, folder: RemotePlace, options: PushOptions, *, relative: bool = False
    ) -> None:
        self.failures: list[Failure] = []
        self._session = session
        self._server = session.server(folder)
        self._folder = folder
        self._options = options
        self._relative = relative
        self._has_forms = not folder.is_foreign and options.condition in (None, ANYTHING)
        # Whether forms may say what each file replaces, for all that is known.
        self._has_conditions = self._has_forms

    def outgoing(
        self, source: Path, path: Path, there: Mapping[str, RemoteFile]
    ) -> Outgoing | None:
        """Return a file of a folder with its name on the server, None if it can have none."""
        try:
            name = parse_file_name(path.relative_to(source).as_posix())
        except InvalidName as error:
            self._fail(str(path), error)
            return None
        return Outgoing(path, name, there.get(self._folder.name + name))

    def differing(self, files: Sequence[Outgoing]) -> Iterator[Outgoing]:
        """Yield those of which the server has other content; of the others the reporter is told."""
        found = digests_of(self._session, (file.path for file in files))
        for file, (_, fingerprint) in zip(files, found, strict=True):
            if isinstance(fingerprint, ClientError):
                self._fail(self._shown(file), fingerprint)
            elif file.known is not None and fingerprint.digest == file.known.digest:
                size = fingerprint.size
                progress = Progress(self._session.reporter, self._shown(file), size)
                progress.spared(size)
                progress.finish(size, fingerprint.digest, unchanged=True)
            else:
                yield file

    def tasks(self, files: Iterable[Outgoing]) -> Iterator[Sequence[Outgoing]]:
        """Yield what is to be pushed in one go: files of a form, or a single one."""
        form: list[Outgoing] = []
        form_size = 0
        for file in files:
            size = self._form_size(file)
            if size is None:
                yield [file]
                continue
            if len(form) == _FORM_FILES or form_size + size > _FORM_SIZE:
                yield form
                form, form_size = [], 0
            form.append(file)
            form_size += size
        if form:
            yield form

    def run(self, files: Sequence[Outgoing]) -> None:
        """Push the files of one task."""
        for file in self._post(files) if len(files) > 1 else files:
            try:
                self._push(file)
            except (ServerAway, Stopped):
                raise
            except ChunkstoreError as error:
                self._fail(self._shown(file), error)

    def _form_size(self, file: Outgoing) -> int | None:
        """Return the size of a file that may travel in a form, None for others."""
        has_forms = self._has_forms if self._replaced_by(file) is None else self._has_conditions
        if not has_forms:
            return None
        try:
            size = file.path.lstat().st_size
        except OSError:
            return None
        return size if size <= _IN_FORM_SIZE else None

    def _replaced_by(self, file: Outgoing) -> str | None:
        """Return the ETag of what a file may replace, None if it is none, or anything."""
        if self._options.condition is not None or file.known is None:
            return None
        return file.known.etag

    def _post(self, files: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Push files as a form; return those that are still to be pushed, each by itself."""
        form: list[tuple[Outgoing, FormFile]] = []
        left: list[Outgoing] = []
        for file in files:
            part = self._read(file)
            if part is None:
                left.append(file)
            else:
                form.append((file, part))
        for _ in range(_FORM_ATTEMPTS):
            if len(form) < 2:
                break
            error = self._send(form)
            if error is None:
                return left
            # Of one that was repeated, all may have been made before.
            if error.is_repeated or error.edit is None or error.edit >= len(form):
                break
            left.append(form.pop(error.edit)[0])
        return [*left, *(file for file, _ in form)]

    def _read(self, file: Outgoing) -> FormFile | None:
        """Return a file as one of a form, None if it cannot be that."""
        with suppress(ClientError), opened(file.path) as (number, state):
            if state.size <= _IN_FORM_SIZE:
                content = read_small(self._session, file.path, number, state)
                replaced = self._replaced_by(file)
                return FormFile(file.name, content, self._options.media_type, replaced)
        return None

    def _send(self, form: Sequence[tuple[Outgoing, FormFile]]) -> ClientError | None:
        """Send a form; return why none of its files was made, None if all were."""
        parts = [part for _, part in form]
        overwrite = self._options.condition == ANYTHING
        try:
            written = self._server.files.post_form(self._folder.name, parts, overwrite=overwrite)
        except (ServerAway, Stopped):
            raise
        except ClientError as error:
            if isinstance(error, ConditionFailed) and error.edit is None:
                # An older server, which refuses to replace anything then.
                self._has_conditions = False
            return error
        for (file, part), answer in zip(form, written, strict=False):
            size = len(part.content)
            digest = Digest.of(part.content)
            if answer.digest not in (digest, None):
                self._fail(self._shown(file), Mismatch())
                continue
            progress = Progress(self._session.reporter, self._shown(file), size)
            progress.moved(size, size)
            progress.finish(size, digest)
        return None

    def _push(self, file: Outgoing) -> None:
        condition = self._options.condition
        if condition is None:
            condition = condition_on(file.known)
        options = replace(self._options, condition=condition)
        push_file(self._session, file.path, self._target(file), options)

    def _target(self, file: Outgoing) -> RemotePlace:
        target = self._folder.joined(file.name)
        return replace(target, shown=file.name) if self._relative else target

    def _shown(self, file: Outgoing) -> str:
        return str(self._target(file))

    def _fail(self, name: str, error: ChunkstoreError) -> None:
        self.failures.append(Failure(name, error))
        self._session.reporter.failed(name, error)
