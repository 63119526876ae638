"""Names on a server: listing, copying, moving and deleting them. No content travels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from chunkstore.client.errors import ConditionFailed, InvalidPlace, Missing, Refused
from chunkstore.client.places import Place, RemotePlace
from chunkstore.client.server.conditions import ANYTHING, Condition, unchanged
from chunkstore.client.server.files import Files
from chunkstore.client.server.values import RemoteFile
from chunkstore.client.session import Session

_ONE_LEVEL: Final = "/"
_ALL_LEVELS: Final = ""


class IsFolder(InvalidPlace):
    """It is a folder; -r deletes it with all that is in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder in a list; `name` is relative to what was listed, a folder's with `/`."""

    name: str
    file: RemoteFile | None


def on_server(place: Place) -> RemotePlace:
    """Return a place that is on a server.

    Raises:
        InvalidPlace: it is not.
    """
    if isinstance(place, RemotePlace):
        return place
    raise InvalidPlace(f"{str(place)!r} is not on a server; write a URL, or NAME:PATH of a remote.")


def list_place(session: Session, place: RemotePlace, *, recursive: bool) -> Iterator[Entry]:
    """Yield what is in a folder, in the order of names, or the file that the place is.

    Raises:
        Missing: there is neither.
        ClientError: the server refuses or is away.
    """
    files = session.server(place).files
    if not place.is_folder:
        found = _find_file(files, place)
        if found is not None:
            yield Entry(place.name.rpartition("/")[2], found[0])
            return
        place = replace(place, name=f"{place.name}/")
    after = None
    while True:
        delimiter = _ALL_LEVELS if recursive else _ONE_LEVEL
        page = files.list(place.name, delimiter=delimiter, after=after)
        entries = [Entry(file.name.removeprefix(place.name), file) for file in page.files]
        entries += [Entry(name.removeprefix(place.name), None) for name in page.folders]
        yield from sorted(entries, key=lambda entry: entry.name)
        after = page.next
        if after is None:
            return


def delete_place(session: Session, place: RemotePlace, *, recursive: bool) -> None:
    """Delete a file; with `recursive` a folder, too, and all that is in it.

    Raises:
        IsFolder: it is one, without `recursive`.
        Missing: there is nothing of this name.
        ClientError: the server refuses or is away.
    """
    files = session.server(place).files
    found = _find_file(files, place)
    if found is not None:
        # A folder that comes to have this name meanwhile does not go.
        _delete(files, place.name, unchanged(found[1]))
        return
    folder = place.name if place.is_folder else f"{place.name}/"
    _require_folder(files, folder, place)
    if not recursive:
        raise IsFolder(f"{place} is a folder; -r deletes it with all that is in it.")
    _delete(files, folder, ANYTHING)


def _delete(files: Files, name: str, condition: Condition) -> None:
    try:
        files.delete(name, condition)
    except Missing as error:
        # It was there: that it was deleted is what was not heard.
        if not error.is_repeated:
            raise


def copy_place(
    session: Session,
    source: RemotePlace,
    target: RemotePlace,
    *,
    move: bool = False,
    overwrite_file: bool = True,
    replace_folder: bool = False,
) -> tuple[str, str]:
    """Copy or move a file or a folder within a server, at one moment; return both names.

    A file goes into a target that ends in `/`. A folder becomes the target, which must not be
    there unless `replace_folder`: then it loses all that it has.

    Raises:
        InvalidPlace: the places are on two servers.
        Missing: there is no source.
        ConditionFailed: there is a target that is not to be replaced.
        ClientError: the server refuses or is away.
    """
    if (source.base, source.folder) != (target.base, target.folder):
        raise InvalidPlace(f"{source} and {target} are on two servers; pull it, and push it.")
    files = session.server(source).files
    found = _find_file(files, source)
    condition = ANYTHING
    if found is not None:
        last = source.name.rpartition("/")[2]
        names = (source.name, target.name + last if target.is_folder else target.name)
        overwrite, condition = overwrite_file, unchanged(found[1])
    else:
        names = (_folder_name(source), _folder_name(target))
        _require_folder(files, names[0], source)
        overwrite = replace_folder
    edit = files.move if move else files.copy
    try:
        edit(*names, overwrite=overwrite, condition=condition)
    except (Missing, ConditionFailed, Refused) as error:
        if error.is_repeated and _is_made(files, names, None if found is None else found[0], move):
            return names
        if not isinstance(error, ConditionFailed) or overwrite:
            raise  # The source was replaced meanwhile.
        raise ConditionFailed(_there(target, is_folder=found is None)) from error
    return names


def _is_made(files: Files, names: tuple[str, str], file: RemoteFile | None, move: bool) -> bool:
    """Whether all is as copying or moving `file`, or a folder, has made it unheard."""
    source, target = names
    if move and files.is_there(source):
        return False
    if file is None:
        return files.is_there(target)
    return file.digest is not None and files.has(target, file.digest)


def _find_file(files: Files, place: RemotePlace) -> tuple[RemoteFile, str] | None:
    """Return a file and its ETag; None if there is none, or a folder, which has no ETag."""
    found = None if place.is_folder else files.find(place.name)
    return None if found is None or found.etag is None else (found, found.etag)


def _there(target: RemotePlace, *, is_folder: bool) -> str:
    if is_folder:
        return f"The folder {target} is there; --replace deletes it, with all it has, first."
    return f"{target} is there already; it is kept."


def _folder_name(place: RemotePlace) -> str:
    return place.name if place.is_folder else f"{place.name}/"


def _require_folder(files: Files, folder: str, place: RemotePlace) -> None:
    try:
        files.list(folder, limit=1)
    except Missing as error:
        raise Missing(f"There is nothing at {place}.") from error
