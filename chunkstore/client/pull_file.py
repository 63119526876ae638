"""Pulling one file: what this machine has is not fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from blake3 import blake3

from chunkstore.client.content import open_content
from chunkstore.client.cutting import chunking_of, is_known
from chunkstore.client.digests import digest_of, list_of, opened
from chunkstore.client.errors import (
    ClientError,
    ConditionFailed,
    InvalidPlace,
    Mismatch,
    Missing,
)
from chunkstore.client.filling import Filler, Seed
from chunkstore.client.manifests import Manifest, split_digests
from chunkstore.client.options import DEFAULT_PULL, PullOptions
from chunkstore.client.outcome import Progress, Transferred
from chunkstore.client.places import RemotePlace
from chunkstore.client.reading import BLOCK_SIZE
from chunkstore.client.receiving import Receiver
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities, RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.targets import (
    PartFile,
    Target,
    other_parts,
    remove_other_parts,
    target_at,
    target_below,
)
from chunkstore.core.digest import Digest

# Up to this size a file is one GET: a list would not pay.
SMALL_SIZE: Final = 1024 * 1024
_ATTEMPTS: Final = 3
# Of a folder that is a seed, so many files are looked at; so many are used at once.
_MOST_SEED_FILES: Final = 1000
_MOST_SEEDS: Final = 100
# By so many chunks of the list it is decided whether a seed is of use.
_MOST_COMPARED: Final = 200_000


def pull_file(
    session: Session, source: RemotePlace, target: Path, options: PullOptions = DEFAULT_PULL
) -> Transferred:
    """Make a local file what a file of a server is; fetch only what this machine lacks.

    What is at `target` is replaced at one moment, once the new content is whole and on the disk.

    Raises:
        Missing: there is no such file.
        Mismatch: what the server sent, or has, does not match its digest.
        ClientError: the server refuses or is away, or the file cannot be written.
    """
    with target_at(target) as found:
        return pull_to(session, source, found, options)


def pull_below(
    session: Session, source: RemotePlace, root: Path, name: str,
    options: PullOptions = DEFAULT_PULL, known: RemoteFile | None = None,
) -> Transferred:  # fmt: skip
    """Pull a file to `name` below a folder, which leads through no symbolic link, as `pull_file`.

    `known` is what a list has told of it.

    Raises:
        InvalidName: a server may give no such name.
        ClientError: as `pull_file`, or something that is no folder is in the way.
    """
    with target_below(root, name) as found:
        return pull_to(session, source, found, options, known)


def pull_to(
    session: Session, source: RemotePlace, target: Target, options: PullOptions = DEFAULT_PULL,
    known: RemoteFile | None = None,
) -> Transferred:  # fmt: skip
    """Pull into an open folder, as `pull_file`; `known` is what a list has told of the file.

    Raises:
        ClientError: as `pull_file`.
    """
    if source.is_folder:
        raise InvalidPlace(f"{source} is a folder; name a file in it.")
    pull = _Pull(session, session.server(source), source, target, options, planned=bool(known))
    for attempt in range(_ATTEMPTS):
        try:
            return pull.run(known)
        except (ConditionFailed, Mismatch):
            # Replaced meanwhile; or a seed was changed after its chunks were checked.
            if attempt == _ATTEMPTS - 1 or options.if_match is not None:
                raise
            known = None
            pull.options = replace(options, seeds=())
    raise AssertionError


class _Pull:
    """Pulls one file; `planned` if the reporter has been told to expect its bytes."""

    def __init__(
        self, session: Session, server: Server, source: RemotePlace, target: Target,
        options: PullOptions, *, planned: bool,
    ) -> None:  # fmt: skip
        self._session = session
        self._server = server
        self._source = source
        self._target = target
        self.options = options
        self._planned = planned

    def run(self, known: RemoteFile | None) -> Transferred:
        if known is not None and known.size is not None and known.size <= SMALL_SIZE:
            return self._whole(known)
        abilities = self._server.abilities
        if abilities is None:
            found = self._server.files.find(self._source.name)
            if found is None:
                raise self._missing()
            return self._whole(found)
        cached = self._session.cache.find_remote(self._source.url) if self._session.cache else None
        described = self._server.chunks.find_manifest(self._source.name, cached)
        if described is None:
            raise self._missing()
        file, manifest = described
        self._require_wanted(file)
        if manifest.size <= SMALL_SIZE:
            return self._whole(file)
        if self._session.cache is not None and manifest is not cached:
            self._session.cache.keep_remote(self._source.url, manifest)
        return self._by_list(abilities, file, manifest)

    def _require_wanted(self, file: RemoteFile) -> None:
        if self.options.if_match not in (None, file.digest):
            raise ConditionFailed(f"{self._source} is not what it was; nothing was changed.")

    def _progress(self, size: int) -> Progress:
        if not self._planned:
            self._planned = True
            self._session.reporter.planned(0, size)
        return Progress(self._session.reporter, str(self._source), size)

    def _missing(self) -> Missing:
        return Missing(f"There is no file {self._source}; the name of a folder ends in /.")

    def _by_list(self, abilities: Abilities, file: RemoteFile, manifest: Manifest) -> Transferred:
        progress = self._progress(manifest.size)
        key = _key(manifest.digest)
        with ExitStack() as stack:
            seeds = self._open_seeds(stack, manifest, chunking_of(manifest, abilities))
            if any(self._is_target(seed, manifest.digest) for seed in seeds[:1]):
                progress.spared(manifest.size)
                return progress.finish(manifest.size, manifest.digest, unchanged=True)
            part = stack.enter_context(PartFile.opened(self._target, manifest.size, key))
            what = (self._server, abilities, self._source.name, manifest, part, progress)
            receiver = Receiver(self._session, *what)
            if not seeds and not part.is_resumed and receiver.is_better():
                digest = receiver.receive()
            else:
                digest = Filler(self._session, *what).fill(seeds)
            self._finish(part, file, digest, manifest.digest, key)
        return progress.finish(manifest.size, digest)

    def _is_target(self, seed: Seed, digest: Digest) -> bool:
        return seed.path == self._target.path and seed.manifest.digest == digest

    def _open_seeds(self, stack: ExitStack, manifest: Manifest, chunking: str | None) -> list[Seed]:
        """Open what has chunks of the list: the target first, whatever it has."""
        if chunking is None or not is_known(chunking):
            return []
        wanted: set[bytes] = set()
        seeds: list[Seed] = []
        for path in self._seed_paths(manifest.digest):
            with suppress(ClientError), ExitStack() as opening:
                file, _ = opening.enter_context(opened(path, os.O_NOFOLLOW))
                seed = Seed(file, list_of(self._session, path, chunking), path)
                wanted = wanted or set(split_digests(manifest.digests(0, _MOST_COMPARED)))
                if any(digest in wanted for digest, _ in seed.manifest):
                    seeds.append(seed)
                    stack.push(opening.pop_all())
            if len(seeds) >= _MOST_SEEDS:
                break
        return seeds

    def _seed_paths(self, digest: Digest) -> Iterator[Path]:
        """Yield what may have chunks: the target, parts of it, what the user names, equal files."""
        yield self._target.path
        for name in other_parts(self._target, _key(digest)):
            yield self._target.path.parent / name
        for seed in self.options.seeds:
            yield from islice(_files_of(seed), _MOST_SEED_FILES)
        if self._session.cache is not None:
            yield from self._session.cache.paths_of(digest)

    def _finish(
        self, part: PartFile, file: RemoteFile, digest: Digest, expected: Digest | None, key: str
    ) -> None:
        if expected is not None and digest != expected:
            raise Mismatch(f"{self._source} has not the digest that the server tells.")
        modified = file.modified if self.options.keep_time else None
        part.finish(modified, sync_folder=self.options.sync_folder)
        # Not for each of many small files, which are hardly ever interrupted.
        if part.size > SMALL_SIZE or self.options.sync_folder:
            remove_other_parts(self._target, key)

    def _whole(self, file: RemoteFile) -> Transferred:
        """Fetch a file by GET, or the rest of it by Range if that broke off in the last run."""
        self._require_wanted(file)
        size = file.size or 0
        progress = self._progress(size)
        if file.digest is not None and self._has(file.digest, size):
            progress.spared(size)
            return progress.finish(size, file.digest, unchanged=True)
        key = _key(file.digest or Digest.of((file.etag or "").encode()))
        with PartFile.opened(self._target, None, key) as part:
            digest = self._fetch_rest(part, file, progress)
            if file.size not in (None, part.size):
                raise Mismatch(f"{self._source} has {file.size} bytes, and {part.size} came.")
            self._finish(part, file, digest, file.digest, key)
            return progress.finish(part.size, file.digest)

    def _fetch_rest(self, part: PartFile, file: RemoteFile, progress: Progress) -> Digest:
        if file.etag is None or (file.size is not None and part.size >= file.size):
            part.resize(0)
        whole = blake3()
        for offset in range(0, part.size, BLOCK_SIZE):
            whole.update(part.read(offset, min(BLOCK_SIZE, part.size - offset)))
        progress.spared(part.size)
        _, pieces = open_content(self._server.files, file.name, part.size, file.etag)
        with closing(pieces):
            for piece in pieces:
                if file.size is not None and part.size + len(piece) > file.size:
                    part.discard()
                    raise Mismatch(f"{self._source} has {file.size} bytes, and more came.")
                part.write(part.size, piece)
                part.size += len(piece)
                whole.update(piece)
                progress.moved(len(piece), len(piece))
        return Digest(whole.digest())

    def _has(self, digest: Digest, size: int) -> bool:
        found = self._target.status()
        if found is None or found.st_size != size:
            return False
        with suppress(ClientError):
            return digest_of(self._session, self._target.path).digest == digest
        return False


def _key(digest: Digest) -> str:
    return str(digest)[:8]


def _files_of(seed: Path) -> Iterator[Path]:
    """Yield the file that a seed is, or the files below the folder that it is, without links."""
    if not seed.is_dir():
        yield seed
        return
    for folder, folders, names in os.walk(seed):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))
