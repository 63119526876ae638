"""The tree of a folder of this machine: what takes part, what is left out, and what fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from chunkstore.client.sync.filters import Filter, Rule
from chunkstore.client.sync.local_tree import scan
from chunkstore.core.errors import InvalidName, LocalFileError, NameConflict


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_files_are_found_with_their_sizes(tmp_path: Path) -> None:
    make(tmp_path, "a", "d/bb", "d/e/ccc")
    (tmp_path / "empty/within").mkdir(parents=True)
    tree = scan(tmp_path)
    assert {name: file.size for name, file in tree.files.items()} == {
        "a": 1, "d/bb": 4, "d/e/ccc": 7,
    }  # fmt: skip
    assert tree.empty_folders == {"empty/within"}
    assert tree.failures == ()
    assert tree.files["d/bb"].path == tmp_path / "d/bb"


def test_what_is_excluded_is_not_looked_at(tmp_path: Path) -> None:
    make(tmp_path, "a.o", "a.c", "out/b.c", "d/keep.o", "d/x.o")
    (tmp_path / "out").chmod(0)
    rules = [Rule.excluding("/out/"), Rule.including("keep.o"), Rule.excluding("*.o")]
    tree = scan(tmp_path, Filter(rules), ignores=lambda name: name == "a.c")
    (tmp_path / "out").chmod(0o700)
    assert (sorted(tree.files), tree.failures) == (["d/keep.o"], ())


def test_links_and_devices_are_left_out_with_a_warning(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a")
    make(tmp_path, "outside/b")
    (root / "to_file").symlink_to("a")
    (root / "to_folder").symlink_to(tmp_path / "outside")
    (root / "nowhere").symlink_to("missing")
    os.mkfifo(root / "fifo")
    warnings: list[str] = []
    assert sorted(scan(root, warn=warnings.append).files) == ["a"]
    assert len(warnings) == 4
    assert sum("-L follows" in warning for warning in warnings) == 3

    warnings.clear()
    tree = scan(root, follow_links=True, warn=warnings.append)
    assert sorted(tree.files) == ["a", "to_file", "to_folder/b"]
    assert sorted(warning.partition(" ")[0] for warning in warnings) == [
        str(root / "fifo"), str(root / "nowhere"),
    ]  # fmt: skip


def test_a_link_to_where_it_lies_is_not_followed_for_ever(tmp_path: Path) -> None:
    make(tmp_path, "d/a")
    (tmp_path / "d/up").symlink_to("..")
    warnings: list[str] = []
    tree = scan(tmp_path, follow_links=True, warn=warnings.append)
    assert (sorted(tree.files), len(warnings)) == (["d/a"], 1)


@pytest.mark.parametrize("names", [("\u00e9", "e\u0301"), ("\u00e9/a", "e\u0301/b")])
def test_names_that_are_one_in_nfc_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    make(tmp_path, *names, "other")
    tree = scan(tmp_path)
    assert sorted(tree.files) == ["other"]
    [failure] = tree.failures
    assert failure.name == "\u00e9"
    assert isinstance(failure.error, NameConflict)


def test_a_name_is_in_nfc_and_its_path_as_it_is(tmp_path: Path) -> None:
    make(tmp_path, "e\u0301")
    assert scan(tmp_path).files["\u00e9"].path == tmp_path / "e\u0301"


def test_names_that_no_server_takes_fail(tmp_path: Path) -> None:
    make(tmp_path, "a\nb", "good")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    tree = scan(tmp_path)
    assert sorted(tree.files) == ["good"]
    assert {type(failure.error) for failure in tree.failures} == {InvalidName}
    assert len(tree.failures) == 2
    longer = scan(tmp_path, prefix="p" * 1020 + "/")
    assert "good" in {failure.name for failure in longer.failures}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_fails(tmp_path: Path) -> None:
    make(tmp_path, "d/a", "b")
    (tmp_path / "d").chmod(0)
    tree = scan(tmp_path)
    (tmp_path / "d").chmod(0o700)
    assert sorted(tree.files) == ["b"]
    assert isinstance(tree.failures[0].error, LocalFileError)


def test_a_root_that_is_not_there_cannot_be_scanned(tmp_path: Path) -> None:
    with pytest.raises(LocalFileError):
        scan(tmp_path / "missing")
    make(tmp_path, "file")
    with pytest.raises(LocalFileError):
        scan(tmp_path / "file")


def test_a_tree_deeper_than_any_name_ends(tmp_path: Path) -> None:
    path = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=path)
        below = os.open("d", os.O_RDONLY, dir_fd=path)
        os.close(path)
        path = below
    os.close(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=path))
    os.close(path)
    try:
        tree = scan(tmp_path)
    finally:
        # Deeper than what removes temporary folders can go.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
    assert tree.files == {}
    assert len(tree.failures) == 1


def test_a_file_that_was_changed_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    files = scan(tmp_path).files
    assert files["a"].is_unchanged()
    (tmp_path / "a").write_text("longer")
    (tmp_path / "b").unlink()
    assert not files["a"].is_unchanged()
    assert not files["b"].is_unchanged()
