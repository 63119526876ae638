"""What edits come to, told by a model in memory that knows neither a store nor its rules' code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from hypothesis import strategies as st

from chunkstore.core.conditional import CREATE_ONLY, UNCONDITIONAL, Conditions, EntityTags
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Forbidden,
    NameConflict,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
)
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.edits import Copy, Delete, MakeFolder, Move

EXISTING: Final = Conditions(if_match=EntityTags(any=True))


@dataclass(frozen=True)
class Write:
    """A `Put` whose content is not in a store yet."""

    name: FileName
    content: bytes
    conditions: Conditions = UNCONDITIONAL
    strict: bool = False


Drawn: TypeAlias = Write | Delete | Copy | Move | MakeFolder


class Refused(Exception):
    """The edit at `place` fails with `error`."""

    def __init__(self, error: type[ChunkstoreError], place: int = 0) -> None:
        super().__init__(error, place)
        self.error = error
        self.place = place


@dataclass
class Model:
    """Files by name, and the folders that were made, whose names end in a slash.

    `quotas` are the bytes and the files that there may be under a folder.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    quotas: dict[str, tuple[int, int]] = field(default_factory=dict)

    def apply(self, edits: Sequence[Drawn]) -> list[bool] | Refused:
        """Make all edits or none; return of each whether it replaced something, or what fails."""
        changed = Model(dict(self.files), set(self.made), self.quotas)
        replaced = []
        grown: dict[str, int] = {}
        for place, edit in enumerate(edits):
            before = {folder: changed.usage(folder) for folder in self.quotas}
            try:
                replaced.append(changed._apply(edit))
            except Refused as refused:
                return Refused(refused.error, place)
            for folder, (size, files) in before.items():
                after = changed.usage(folder)
                if after[0] > size or after[1] > files:
                    grown[folder] = place
        for folder, most in sorted(self.quotas.items()):
            pairs = zip(self.usage(folder), changed.usage(folder), most, strict=True)
            if any(new > max(old, limit) for old, new, limit in pairs):
                return Refused(QuotaExceeded, grown[folder])
        self.files, self.made = changed.files, changed.made
        return replaced

    def usage(self, folder: str) -> tuple[int, int]:
        """Return the bytes of the files under a folder, and how many these are."""
        sizes = [len(content) for name, content in self.files.items() if name.startswith(folder)]
        return sum(sizes), len(sizes)

    def names(self) -> list[str]:
        """Return all names of files and of the folders that were made."""
        return sorted([*self.files, *self.made])

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        if name.endswith("/"):
            return any(other.startswith(name) for other in self.names())
        return not name or name in self.files

    def blocking(self, name: str) -> str | None:
        """Return the file that has the name of a folder which `name` lies in."""
        above = (file for file in self.files if name.startswith(f"{file}/"))
        return next((file for file in above if name != f"{file}/"), None)

    def _apply(self, edit: Drawn) -> bool:
        match edit:
            case Write(name, content, conditions, strict):
                current = self._judge_place(name, conditions)
                if not current and strict:
                    self._require_parent(name)
                self.files[name] = content
                return current
            case Delete(name, conditions, strict):
                self._require(name, conditions)
                if not name:
                    raise Refused(Forbidden)
                if strict:
                    self._keep_parent(name)
                self._remove(name)
                return False
            case MakeFolder(name):
                self._judge_making(name)
                self.made.add(name)
                return False
        return self._transfer(edit)

    def _transfer(self, edit: Copy | Move) -> bool:
        self._require(edit.source, edit.conditions)
        source, target = str(edit.source), str(edit.target)
        if source.endswith("/") or not source:
            near = source.startswith(target) or target.startswith(source)
        else:
            near = source == target or (edit.strict and source.startswith(f"{target}/"))
        if near or not source or not target:
            raise Refused(Forbidden)
        current = self._judge_place(target, edit.target_conditions, strict=edit.strict)
        if current and not edit.overwrite:
            raise Refused(AlreadyExists)
        if edit.strict and not current:
            self._require_parent(target)
        if edit.strict and isinstance(edit, Move):
            self._keep_parent(source)
        if current:
            self._remove(target)
            self._remove(_other(target))
        if isinstance(edit, Copy) and not edit.with_members and source.endswith("/"):
            self.made.add(target)
        else:
            self._copy(source, target)
        if isinstance(edit, Move):
            self._remove(source)
        return current

    def _require(self, name: str, conditions: Conditions) -> None:
        if not self.exists(name):
            raise Refused(NotFound)
        if conditions == CREATE_ONLY:
            raise Refused(PreconditionFailed)

    def _require_parent(self, name: str) -> None:
        if not self.exists(_parent(name)):
            raise Refused(NameConflict)

    def _keep_parent(self, name: str) -> None:
        if _parent(name):
            self.made.add(_parent(name))

    def _judge_place(self, name: str, conditions: Conditions, *, strict: bool = False) -> bool:
        """Return whether what is put there replaces something."""
        other = _other(name)
        current = self.exists(name) or (strict and self.exists(other))
        if (conditions == CREATE_ONLY and current) or (conditions == EXISTING and not current):
            raise Refused(PreconditionFailed)
        if not current and (self.blocking(name) or self.exists(other)):
            raise Refused(NameConflict)
        return current

    def _judge_making(self, name: str) -> None:
        if self.exists(name) or self.exists(name.removesuffix("/")):
            raise Refused(AlreadyExists)
        if self.blocking(name):
            raise Refused(NameConflict)
        if not self.exists(_parent(name)):
            raise Refused(NotFound)

    def _within(self, name: str) -> Iterator[str]:
        """Yield the name itself and, of a folder, all below it."""
        for other in self.names():
            if other == name or (name.endswith("/") and other.startswith(name)):
                yield other

    def _remove(self, name: str) -> None:
        for other in self._within(name):
            self.files.pop(other, None)
            self.made.discard(other)

    def _copy(self, source: str, target: str) -> None:
        for name in list(self._within(source)):
            copied = target + name.removeprefix(source)
            if name in self.files:
                self.files[copied] = self.files[name]
            else:
                self.made.add(copied)


def _other(name: str) -> str:
    """Return the file of a folder's name, or the folder of a file's."""
    return name.removesuffix("/") if name.endswith("/") else f"{name}/"


def _parent(name: str) -> str:
    return name[: name[:-1].rfind("/") + 1]


FILES: Final = ["a", "a/b", "a/b/c", "c/d"]
FOLDERS: Final = ["a/", "a/b/", "c/"]
file_names = st.sampled_from(FILES).map(FileName)
folder_names = st.sampled_from(FOLDERS).map(FolderName)
any_folder = st.sampled_from([*FOLDERS, ""]).map(FolderName)
conditions = st.sampled_from([UNCONDITIONAL, UNCONDITIONAL, CREATE_ONLY, EXISTING])


def _transfers(
    names: st.SearchStrategy[FileName] | st.SearchStrategy[FolderName],
) -> st.SearchStrategy[Copy | Move]:
    parts = (names, names, st.booleans(), conditions, conditions)
    copies = st.builds(Copy, *parts, with_members=st.booleans(), strict=st.booleans())
    return st.one_of(copies, st.builds(Move, *parts, strict=st.booleans()))


def edits_of(contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[Drawn]:
    """Return edits of few names, so that they meet."""
    writes = st.builds(Write, file_names, contents, conditions, st.booleans())
    return st.one_of(
        writes,
        writes,
        st.builds(Delete, st.one_of(file_names, any_folder), conditions, st.booleans()),
        st.builds(MakeFolder, any_folder),
        _transfers(file_names),
        _transfers(any_folder),
    )
