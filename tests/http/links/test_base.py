"""A base maps names to URLs and back, and leads nowhere else."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import InvalidName, NotFound
from chunkstore.core.names import FileName, FolderName, decode_path
from chunkstore.http.message.request import Base

pieces = [*"ab/.%é\u0301\u0338 ~\\", "..", "//"]
texts = st.lists(st.sampled_from(pieces), max_size=12).map("".join)
BASES = [Base("/files/", FolderName("")), Base("/s/t/files/", FolderName("top/é/"))]


@given(text=texts, base=st.sampled_from(BASES))
def test_what_a_base_names_lies_in_its_folder_and_is_told_as_it_was_named(
    text: str, base: Base
) -> None:
    try:
        name = base.file(text)
    except InvalidName:
        return
    assert name.startswith(base.folder)
    assert ".." not in name.split("/")
    told = base.told(name)
    assert base.file(told) == name
    path = base.path_of(name)
    assert path == base.path + quote(told, safe="/")
    assert base.file(decode_path(path.removeprefix(base.path))) == name


def test_where_one_file_can_be_named_there_is_no_other() -> None:
    base = Base("/s/t/files/", FolderName("top/"), only=FileName("top/a"))
    assert base.file("a") == "top/a"
    for text in ("b", "a/b", "top/a", "A"):
        with pytest.raises(NotFound):
            base.file(text)


def test_the_length_of_what_is_above_is_not_told() -> None:
    base = Base("/s/t/files/", FolderName("x" * 900 + "/"))
    with pytest.raises(InvalidName, match=r"^The name is too long\.$"):
        base.file("y" * 200)
