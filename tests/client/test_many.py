"""Folders: all that is new goes, each name is checked, and a failure takes nobody else along."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from chunkstore.client.api import push
from chunkstore.client.errors import ConditionFailed, InvalidPlace, Mismatch, Missing, Refused
from chunkstore.client.options import PushOptions
from chunkstore.client.places import RemotePlace
from chunkstore.client.pull_many import pull_files, pull_folder
from chunkstore.client.push_many import Outgoing, push_files, push_folder
from chunkstore.client.server.conditions import ANYTHING
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.verify import Difference, verify_file, verify_folder
from chunkstore.core.digest import Digest
from chunkstore.core.errors import InvalidName
from tests.client.conftest import MakeSession, Recorder, content_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "inner" / "deep").mkdir(parents=True)
    (root / "empty folder").mkdir()
    for number in range(300):
        (root / "inner" / f"{number}").write_bytes(os.urandom(number))
    (root / 'odd " %22 \\ # ? name').write_bytes(b"odd")
    (root / "inner" / "deep" / "large").write_bytes(os.urandom(3 << 20))
    (root / "empty").touch()
    return root


def files_in(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def files_at(server: Server, folder: RemotePlace) -> dict[str, bytes]:
    return {
        file.name.removeprefix(folder.name): content_of(server, file.name)
        for file in server.files.walk(folder.name)
    }


def test_a_folder_goes_and_comes_back(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tree: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    with make_session(recorder) as session:
        assert push_folder(session, tree, folder) == []
        assert files_at(remote, folder) == files_in(tree)
        assert sorted(recorder.finished_names) == sorted(
            f"{folder}{name}" for name in files_in(tree)
        )
        assert pull_folder(session, folder, tmp_path / "back") == []
        assert files_in(tmp_path / "back") == files_in(tree)


def test_what_is_there_is_not_sent_again(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tree: Path
) -> None:
    with make_session() as session:
        push_folder(session, tree, folder)
    (tree / "inner" / "5").write_bytes(b"other")
    (tree / "new").write_bytes(b"new")
    sent = []

    class Counting(Recorder):
        def transferred(self, name: str, size: int, wire_size: int) -> None:
            sent.append((name.removeprefix(str(folder)), size))

    with make_session(Counting()) as session:
        assert push_folder(session, tree, folder) == []
    assert sorted(sent) == [("inner/5", 5), ("new", 3)]
    assert files_at(remote, folder) == files_in(tree)


def test_one_name_that_is_refused_takes_no_other_along(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tree: Path
) -> None:
    remote.files.put(f"{folder.name}inner/7/below", b"", 0)
    recorder = Recorder()
    with make_session(recorder) as session:
        [failure] = push_folder(session, tree, folder)
    assert failure.name == f"{folder}inner/7"
    assert isinstance(failure.error, Refused)
    assert [name for name, _ in recorder.failures] == [failure.name]
    expected = files_in(tree)
    del expected["inner/7"]
    assert files_at(remote, folder) == {**expected, "inner/7/below": b""}


def test_what_came_meanwhile_is_not_replaced_unless_by_force(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    files = []
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
        files.append(Outgoing(tmp_path / name, name))
    remote.files.put(f"{folder.name}b", b"theirs", 6)
    with make_session() as session:
        [failure] = push_files(session, folder, files, relative=True)
        assert failure.name == "b"
        assert isinstance(failure.error, ConditionFailed)
        assert files_at(remote, folder) == {"a": b"a", "b": b"theirs", "c": b"c"}
        assert push_files(session, folder, files, PushOptions(ANYTHING)) == []
    assert files_at(remote, folder) == {"a": b"a", "b": b"b", "c": b"c"}


def test_links_and_devices_are_left_out(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    (root / "link").symlink_to("a")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    recorder = Recorder()
    with make_session(recorder) as session:
        assert push_folder(session, root, folder) == []
    assert files_at(remote, folder) == {"a": b"a"}
    assert len(recorder.warnings) == 3


def test_a_folder_that_is_very_deep_takes_no_other_along(
    remote: Server, session: Session, folder: RemotePlace, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "b").mkdir(parents=True)
    (source / "b" / "b").write_bytes(b"b")
    inner = os.open(source, os.O_RDONLY)
    # Longer than a path can be.
    for _ in range(2100):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    try:
        (failure,) = push_folder(session, source, folder)
        assert "too long" in str(failure.error)
        (different,) = verify_folder(session, source, folder)
        assert different.error is not None
    finally:
        subprocess.run(["rm", "-rf", source], check=True)
    assert content_of(remote, f"{folder.name}b/b") == b"b"


def test_names_are_the_same_in_every_form_of_unicode(
    session: Session, folder: RemotePlace, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "e\u0301").write_bytes(b"e")
    assert push_folder(session, source, folder) == []
    assert verify_folder(session, source, folder) == []
    push(source / "e\u0301", folder.url, session=session)
    with pytest.raises(InvalidPlace, match="Unicode"):
        push(os.fsdecode(b"\xff"), folder.url, session=session)


@pytest.mark.parametrize("name", [b"\xff", b"a\nb"])
def test_a_name_that_no_server_can_have(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, name: bytes
) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    with open(os.fsencode(root) + b"/" + name, "wb"):
        pass
    with make_session() as session:
        [failure] = push_folder(session, root, folder)
    assert isinstance(failure.error, InvalidName)
    assert files_at(remote, folder) == {"a": b"a"}


def test_names_that_a_server_must_not_give(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    remote.files.put(f"{folder.name}good", b"good", 4)
    found = remote.files.find(f"{folder.name}good")
    assert found is not None
    root = tmp_path / "inner" / "root"
    names = ["../evil", "/etc/evil", "a/../../evil", "a/./b", "good"]
    files = [
        RemoteFile(folder.name + name, found.size, found.etag, found.digest, None) for name in names
    ]
    with make_session() as session:
        failures = pull_files(session, folder, files, root, relative=True)
    assert {failure.name for failure in failures} == set(names[:-1])
    assert files_in(tmp_path) == {"inner/root/good": b"good"}


def test_folders_that_are_not_there(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    with make_session() as session:
        with pytest.raises(Missing):
            push_folder(session, tmp_path / "none", folder)
        with pytest.raises(Missing):
            pull_folder(session, folder.joined("none/"), tmp_path)
        with pytest.raises(Missing):
            verify_folder(session, tmp_path, folder.joined("none/"))
        remote.files.make_folder(folder.name)
        remote.files.make_folder(f"{folder.name}empty/")
        assert pull_folder(session, folder.joined("empty/"), tmp_path / "b") == []


def test_what_differs_is_told(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tree: Path
) -> None:
    recorder = Recorder()
    with make_session(recorder) as session:
        push_folder(session, tree, folder)
        assert verify_folder(session, tree, folder) == []
        # The times of files are not trusted here.
        status = (tree / "inner" / "100").stat()
        (tree / "inner" / "100").write_bytes(bytes(100))
        os.utime(tree / "inner" / "100", ns=(status.st_atime_ns, status.st_mtime_ns))
        (tree / "inner" / "101").unlink()
        (tree / "more").touch()
        found = verify_folder(session, tree, folder)
        assert [(one.name, one.difference) for one in found] == [
            ("inner/100", Difference.CONTENT),
            ("inner/101", Difference.NOT_HERE),
            ("more", Difference.NOT_THERE),
        ]
        assert all(isinstance(error, Mismatch) for _, error in recorder.failures)
        place = folder.joined("inner/100")
        assert verify_file(session, tree / "inner" / "99", folder.joined("inner/99")) is None
        assert verify_file(session, tree / "inner" / "100", place) is not None
        with pytest.raises(Missing):
            verify_file(session, tree / "inner" / "99", folder.joined("none"))


def test_a_form_of_files_is_told_by_their_digests(
    remote: Server, folder: RemotePlace, make_session: MakeSession, tree: Path
) -> None:
    with make_session() as session:
        push_folder(session, tree, folder)
    digests = {file.name: file.digest for file in remote.files.walk(folder.name)}
    assert digests == {
        f"{folder.name}{name}": Digest.of(content) for name, content in files_in(tree).items()
    }
