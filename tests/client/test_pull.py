"""Pulling from a real server: what is here is not fetched, and what comes is what was asked for."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chunkstore.client.errors import ClientError, ConditionFailed, InvalidPlace, Mismatch, Missing
from chunkstore.client.filling import Filler
from chunkstore.client.options import PullOptions
from chunkstore.client.places import RemotePlace
from chunkstore.client.pull_file import SMALL_SIZE, pull_below, pull_file
from chunkstore.client.push_file import push_file
from chunkstore.client.server.server import Server
from chunkstore.client.targets import (
    PartFile,
    is_part_name,
    other_parts,
    remove_other_parts,
    target_at,
)
from chunkstore.client.verify import cat
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from chunkstore.core.errors import InvalidName
from tests.client.conftest import MakeSession, Recorder

CHUNK = DEFAULT_CHUNK_SIZE
LARGE = SMALL_SIZE + 40 * CHUNK + 5


@pytest.fixture
def content() -> bytes:
    return os.urandom(LARGE)


@pytest.fixture
def source(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, content: bytes
) -> RemotePlace:
    """Return a file of the server that was not pushed from anything that is here."""
    remote.files.put(f"{folder.name}a", content, len(content))
    return folder.joined("a")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "a"


@pytest.mark.parametrize("size", [0, 1, SMALL_SIZE, SMALL_SIZE + 1, LARGE])
def test_a_file_comes_as_it_is(
    remote: Server, make_session: MakeSession, folder: RemotePlace, target: Path, size: int
) -> None:
    content = os.urandom(size)
    remote.files.put(f"{folder.name}a", content, size)
    with make_session() as session:
        pulled = pull_file(session, folder.joined("a"), target)
        assert (pulled.size, pulled.digest, pulled.moved) == (size, Digest.of(content), size)
        assert target.read_bytes() == content
        found = remote.files.find(f"{folder.name}a")
        assert found is not None
        assert found.modified is not None
        assert int(target.stat().st_mtime) == int(found.modified.timestamp())
        again = pull_file(session, folder.joined("a"), target)
        assert (again.unchanged, again.moved) == (True, 0)
    assert os.listdir(target.parent) == ["a"]


def test_of_a_new_version_only_what_is_new_is_fetched(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, content: bytes
) -> None:
    changed = bytearray(content)
    changed[5 * CHUNK] ^= 1
    changed[20 * CHUNK] ^= 1
    with make_session() as session:
        pull_file(session, source, target)
        target.chmod(0o640)
        remote.files.put(source.name, bytes(changed), len(changed))
        pulled = pull_file(session, source, target)
    assert target.read_bytes() == changed
    assert pulled.moved == 2 * CHUNK
    assert pulled.wire_size <= 2 * CHUNK + 88
    assert target.stat().st_mode & 0o777 == 0o640


def test_seeds_have_what_need_not_be_fetched(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, tmp_path: Path,
    content: bytes,
) -> None:  # fmt: skip
    seeds = tmp_path / "seeds"
    (seeds / "inner").mkdir(parents=True)
    (seeds / "first").write_bytes(content[: 10 * CHUNK])
    # At other offsets, of which the list tells nothing.
    (seeds / "inner" / "second").write_bytes(os.urandom(CHUNK) + content[30 * CHUNK : 40 * CHUNK])
    (seeds / "inner" / "other").write_bytes(os.urandom(3 * CHUNK))
    (seeds / "inner" / "link").symlink_to("/dev/zero")
    with make_session() as session:
        pulled = pull_file(session, source, target, PullOptions([seeds]))
    assert target.read_bytes() == content
    assert pulled.moved == len(content) - 20 * CHUNK


def test_an_equal_file_is_a_seed_by_itself(
    remote: Server, make_session: MakeSession, folder: RemotePlace, target: Path, tmp_path: Path,
    content: bytes,
) -> None:  # fmt: skip
    path = tmp_path / "original"
    path.write_bytes(content)
    with make_session() as session:
        push_file(session, path, folder.joined("a"))
        assert session.cache is not None
        # It is known only if it was not changed of late, as it was here.
        known = session.cache.paths_of(Digest.of(content))
        pulled = pull_file(session, folder.joined("a"), target)
        assert pulled.moved == (0 if known else len(content))
    assert target.read_bytes() == content


def test_a_seed_that_is_not_what_its_list_says_does_no_harm(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, tmp_path: Path,
    content: bytes, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seed = tmp_path / "seed"
    seed.write_bytes(content)
    look_for = Filler._look_for

    def spoiling(filler: Filler, seeds: object) -> object:
        # After it was read for its list, before its chunks are used.
        seed.write_bytes(os.urandom(len(content)))
        return look_for(filler, seeds)  # type: ignore[arg-type] # whatever fill passes

    monkeypatch.setattr(Filler, "_look_for", spoiling)
    with make_session() as session:
        pulled = pull_file(session, source, target, PullOptions([seed]))
    assert target.read_bytes() == content
    assert pulled.moved == len(content)


def test_holes_stay_holes(
    remote: Server, make_session: MakeSession, folder: RemotePlace, target: Path
) -> None:
    content = bytes(10 * CHUNK) + os.urandom(CHUNK) + bytes(30 * CHUNK)
    remote.files.put(f"{folder.name}a", content, len(content))
    with make_session() as session:
        pulled = pull_file(session, folder.joined("a"), target)
    assert target.read_bytes() == content
    assert pulled.moved == CHUNK
    assert target.stat().st_blocks * 512 <= 2 * CHUNK


def test_chunks_that_come_again_are_fetched_once(
    remote: Server, make_session: MakeSession, folder: RemotePlace, target: Path
) -> None:
    content = os.urandom(CHUNK) * 25
    remote.files.put(f"{folder.name}a", content, len(content))
    with make_session() as session:
        pulled = pull_file(session, folder.joined("a"), target)
    assert target.read_bytes() == content
    assert pulled.moved == CHUNK


def part_of(target: Path, digest: Digest, content: bytes) -> Path:
    """Return the part that a run left which was killed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target_at(target) as opened, PartFile.opened(opened, None, str(digest)[:8]) as part:
        part.write(0, content)
    [path] = target.parent.glob(".*.part")
    return path


def test_the_last_runs_part_is_gone_on_with(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, content: bytes
) -> None:
    # Its end was not written, and one chunk is damaged.
    left = bytearray(content[: 30 * CHUNK])
    left[3 * CHUNK] ^= 1
    part_of(target, Digest.of(content), bytes(left))
    with make_session() as session:
        pulled = pull_file(session, source, target)
    assert target.read_bytes() == content
    assert pulled.moved == len(content) - 29 * CHUNK
    assert os.listdir(target.parent) == ["a"]


def test_a_part_of_another_version_is_a_seed(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, content: bytes
) -> None:
    part_of(target, Digest.of(b"old"), content[: 30 * CHUNK])
    with make_session() as session:
        pulled = pull_file(session, source, target)
    assert target.read_bytes() == content
    assert pulled.moved == len(content) - 30 * CHUNK
    assert os.listdir(target.parent) == ["a"]


def test_a_part_that_somebody_has_open_is_left_alone(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, content: bytes
) -> None:
    target.parent.mkdir(parents=True)
    with target_at(target) as opened:
        with (
            PartFile.opened(opened, 5, str(Digest.of(content))[:8]),
            PartFile.opened(opened, 5, str(Digest.of(b"other"))[:8]),
            make_session() as session,
        ):
            pull_file(session, source, target)
            assert len(other_parts(opened, "")) == 2
        assert target.read_bytes() == content
        assert all(is_part_name(name) for name in os.listdir(target.parent) if name != "a")
        assert not is_part_name("a.part")
        assert not is_part_name(".a.part")


def test_parts_of_other_files_are_left_alone(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, content: bytes
) -> None:
    target.parent.mkdir(parents=True)
    others = [".a.b.12345678.part", ".b.12345678.part", ".a.part", ".a.x.part"]
    for name in others:
        (target.parent / name).write_bytes(b"x")
    with make_session() as session:
        pull_file(session, source, target)
    assert sorted(os.listdir(target.parent)) == sorted(["a", *others])


def test_what_is_replaced_meanwhile_is_pulled_anew(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path
) -> None:
    changed = os.urandom(LARGE)
    changes = iter([changed])

    def change() -> None:
        for new in changes:
            remote.files.put(source.name, new, len(new))

    with make_session(Recorder(change)) as session:
        pulled = pull_file(session, source, target)
    assert target.read_bytes() == changed
    assert pulled.digest == Digest.of(changed)
    assert os.listdir(target.parent) == ["a"]


def test_only_a_certain_content_is_pulled(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, content: bytes
) -> None:
    with make_session() as session:
        with pytest.raises(ConditionFailed):
            pull_file(session, source, target, PullOptions(if_match=Digest.of(b"other")))
        assert not target.exists()
        pull_file(session, source, target, PullOptions(if_match=Digest.of(content)))
    assert target.read_bytes() == content


def test_a_damaged_chunk_ends_in_an_error(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What a broken proxy or disk makes of the bytes on their way."""
    fetch = remote.chunks.fetch

    def flipping(*arguments: object) -> object:
        for record in fetch(*arguments):  # type: ignore[arg-type] # what the filler passes
            spoiled = bytes([record.encoded.content[0] ^ 1]) + record.encoded.content[1:]
            yield type(record)(record.digest, record.size, type(record.encoded)(0, spoiled))  # type: ignore[arg-type] # the codec

    with make_session() as session:
        monkeypatch.setattr(session.server(source).chunks, "fetch", flipping)
        with pytest.raises(Mismatch) as raised:
            pull_file(session, source, target)
    assert raised.value.exit_status == 6
    assert not target.exists()


def test_a_link_is_replaced_and_not_followed(
    remote: Server, make_session: MakeSession, source: RemotePlace, target: Path, tmp_path: Path,
    content: bytes,
) -> None:  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    target.parent.mkdir(parents=True)
    target.symlink_to(elsewhere)
    with make_session() as session:
        pull_file(session, source, target)
    assert elsewhere.read_bytes() == b"mine"
    assert not target.is_symlink()
    assert target.read_bytes() == content


@pytest.mark.parametrize("linked", [False, True])
def test_a_device_or_a_pipe_is_not_replaced(
    make_session: MakeSession, source: RemotePlace, tmp_path: Path, linked: bool
) -> None:
    pipe = target = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        target = tmp_path / "link"
        target.symlink_to(pipe)
    with make_session() as session, pytest.raises(ClientError, match="- is standard output"):
        pull_file(session, source, target)
    assert pipe.is_fifo()
    assert target.is_symlink() == linked


def test_a_part_beside_one_that_is_open_is_left_alone_too(tmp_path: Path) -> None:
    key = "0" * 8
    with (
        target_at(tmp_path / "a") as target,
        PartFile.opened(target, 1, key),
        PartFile.opened(target, 2, key) as second,
    ):
        remove_other_parts(target, key)
        second.finish(None)
    assert (tmp_path / "a").stat().st_size == 2


def test_a_part_that_was_finished_before_it_was_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = tmp_path / "a"
    lock = fcntl.flock

    def finish_first(file: int, how: int) -> None:
        if not finished.exists():
            part.write_bytes(b"whole")
            part.rename(finished)
        lock(file, how)

    with target_at(finished) as target:
        with PartFile.opened(target, 0, "0" * 8):
            (part,) = tmp_path.iterdir()
        monkeypatch.setattr(fcntl, "flock", finish_first)
        with PartFile.opened(target, 3, "0" * 8) as opened:
            assert finished.read_bytes() == b"whole"
            opened.write(0, b"new")
            opened.finish(None)
    assert finished.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".", "a//b", "a\0b", ""])
def test_a_name_that_leads_elsewhere_is_none(
    remote: Server, make_session: MakeSession, source: RemotePlace, tmp_path: Path, name: str
) -> None:
    with make_session() as session, pytest.raises(InvalidName):
        pull_below(session, source, tmp_path / "root", name)


@pytest.mark.parametrize("make", [Path.symlink_to, lambda path, _: path.touch()])
def test_no_name_leads_through_a_link(
    remote: Server, make_session: MakeSession, source: RemotePlace, tmp_path: Path,
    make: Callable[[Path, Path], None],
) -> None:  # fmt: skip
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / "a").mkdir(parents=True)
    make(root / "a" / "b", outside)
    with make_session() as session, pytest.raises(ClientError, match="no folder here"):
        pull_below(session, source, root, "a/b/c")
    assert os.listdir(outside) == []


def test_what_cannot_be_pulled(
    remote: Server, make_session: MakeSession, source: RemotePlace, folder: RemotePlace,
    target: Path, tmp_path: Path,
) -> None:  # fmt: skip
    with make_session() as session:
        with pytest.raises(Missing, match=folder.joined("none").url):
            pull_file(session, folder.joined("none"), target)
        with pytest.raises(InvalidPlace):
            pull_file(session, folder, target)
        with pytest.raises(ClientError, match="is a folder"):
            pull_file(session, source, tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(ClientError, match="file"):
            pull_file(session, source, tmp_path / "file" / "a")


def test_cat_writes_what_is_there(
    remote: Server, make_session: MakeSession, source: RemotePlace, content: bytes
) -> None:
    out = io.BytesIO()
    with make_session() as session:
        assert cat(session, source, out).digest == Digest.of(content)
    assert out.getvalue() == content
