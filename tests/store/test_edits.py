"""What an edit may do, judged by a pure function, against a model that knows nothing of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName, FolderName, parent
from chunkstore.core.timestamps import to_datetime
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Present,
    Put,
    Uploaded,
    is_folder_name,
    judge,
)
from chunkstore.store.contract.values import File, Folder
from tests.store.model import Drawn, Model, Refused, Write, edits_of

DRAWN = edits_of(st.just(b"x"))
DIGEST = Digest.of(b"x")


def found(model: Model, name: str) -> File | Folder | None:
    if not model.exists(name):
        return None
    if is_folder_name(FolderName(name)):
        return Folder(FolderName(name))
    manifest = Manifest(1, 1, DEFAULT_CHUNK_SIZE, DIGEST, 1, DIGEST)
    return File.of(FileName(name), manifest, "text/plain", 0, 0)


def present(model: Model, edit: Edit) -> Present:
    """Return what a store would find."""
    if isinstance(edit, Delete):
        return Present(source=found(model, edit.name))
    place = edit.target if isinstance(edit, Copy | Move) else edit.name
    other = place.removesuffix("/") if is_folder_name(place) else f"{place}/"
    return Present(
        source=found(model, edit.source) if isinstance(edit, Copy | Move) else None,
        target=found(model, place) or (found(model, other) if place else None),
        blocking=model.blocking(place),
        parent_exists=not _needs_parent(edit) or model.exists(parent(FileName(place))),
    )


def _needs_parent(edit: Edit) -> bool:
    return isinstance(edit, MakeFolder) or (isinstance(edit, Put | Copy | Move) and edit.strict)


@settings(max_examples=500)
@given(before=st.lists(DRAWN, max_size=8), drawn=DRAWN)
def test_what_is_allowed_is_what_the_model_allows(before: list[Drawn], drawn: Drawn) -> None:
    model = Model()
    for one in before:
        model.apply([one])
    content = Uploaded("id", DIGEST, to_datetime(0))
    edit: Edit = (
        Put(drawn.name, content, "text/plain", drawn.conditions, strict=drawn.strict)
        if isinstance(drawn, Write)
        else drawn
    )
    there = present(model, edit)
    expected = model.apply([drawn])
    if not isinstance(expected, Refused):
        assert [judge(edit, there)] == expected
        return
    with pytest.raises(expected.error) as caught:
        judge(edit, there)
    assert type(caught.value) is expected.error
