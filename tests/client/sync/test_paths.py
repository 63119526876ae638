"""Names of a server as paths of this machine: none leads out of its folder, or through a link."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.client.sync.paths import SafeFolder, segments_of
from chunkstore.core.errors import Forbidden, InvalidName


@given(st.text("a./\\:\0~\u0301e-", max_size=12) | st.text(max_size=12))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    try:
        path = SafeFolder(Path("/root/of/it")).path_of(name)
    except InvalidName:
        return
    assert os.path.normpath(path) == str(path)
    assert path.relative_to("/root/of/it").as_posix() == name


@pytest.mark.parametrize(
    "name", ["", "/", "/etc/passwd", "..", "../a", "a/../../b", "a//b", "./a", "a/.", "a\0b", "a/"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidName):
        SafeFolder(tmp_path).made_path_of(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\\b", "c:", "c:a", "c:\\a", "d/c:a"])
def test_a_segment_that_windows_would_take_apart_is_refused_there(name: str) -> None:
    assert segments_of(name, PurePosixPath) == name.split("/")
    with pytest.raises(InvalidName):
        segments_of(name, PureWindowsPath)


def test_a_name_is_its_own_canonical_form() -> None:
    with pytest.raises(InvalidName):
        segments_of("e\u0301")


def test_folders_are_made(tmp_path: Path) -> None:
    folder = SafeFolder(tmp_path)
    assert folder.path_of("d/e/f") == tmp_path / "d/e/f"
    assert not (tmp_path / "d").exists()
    assert folder.made_path_of("d/e/f") == tmp_path / "d/e/f"
    assert (tmp_path / "d/e").is_dir()


def test_nothing_is_reached_through_a_link(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "e").mkdir(parents=True)
    (root / "real").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "real" / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "target")
    folder = SafeFolder(root)
    for name in ("link/a", "link/e/a", "real/link/new/a", "file"):
        with pytest.raises(Forbidden, match="symbolic link"):
            folder.path_of(name)
        with pytest.raises(Forbidden, match="symbolic link"):
            folder.made_path_of(name)
    assert [path.name for path in outside.iterdir()] == ["e"]
    assert SafeFolder(root, follow_links=True).path_of("link/e/a") == root / "link/e/a"


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    SafeFolder(tmp_path / "root").made_path_of("d/a").write_bytes(b"1")
    assert (tmp_path / "real/d/a").exists()
