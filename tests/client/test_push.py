"""Pushing to a real server: what it knows is not sent, and nothing is replaced unseen."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chunkstore.client.cache import FileState
from chunkstore.client.errors import (
    ClientError,
    ConditionFailed,
    InvalidPlace,
    Missing,
    Refused,
    SourceChanged,
)
from chunkstore.client.manifests import Manifest
from chunkstore.client.options import PushOptions
from chunkstore.client.places import RemotePlace
from chunkstore.client.pull_file import pull_file
from chunkstore.client.push_file import SMALL_SIZE, push_file, push_pipe
from chunkstore.client.server.conditions import ABSENT, ANYTHING
from chunkstore.client.server.server import Server
from chunkstore.client.unfinished import Unfinished, UnfinishedUpload
from chunkstore.core.chunkers import Chunking
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from tests.client.conftest import MakeSession, Recorder, content_of

CHUNK = DEFAULT_CHUNK_SIZE
LARGE = SMALL_SIZE + 20 * CHUNK + 5
# What a chunk costs besides its bytes: in a list, and where the server is asked about it.
PER_CHUNK = 36 + 32 + 44


@pytest.fixture
def content() -> bytes:
    # Other tests share the server, and must not have sent the same.
    return os.urandom(LARGE)


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [0, 1, SMALL_SIZE, SMALL_SIZE + 1, LARGE])
def test_a_file_arrives_as_it_is(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    path = tmp_path / "a"
    path.write_bytes(content)
    with make_session() as session:
        pushed = push_file(session, path, folder.joined("a"))
        assert (pushed.size, pushed.digest) == (size, Digest.of(content))
        assert not pushed.unchanged
        assert content_of(remote, f"{folder.name}a") == content
        again = push_file(session, path, folder.joined("a"))
        assert (again.unchanged, again.moved, again.wire_size) == (True, 0, 0)


def test_of_a_new_version_only_what_is_new_is_sent(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, content: bytes
) -> None:
    with make_session() as session:
        push_file(session, path, folder.joined("a"))
        changed = bytearray(content)
        changed[5 * CHUNK + 7] ^= 1
        changed += b"behind"
        path.write_bytes(changed)
        pushed = push_file(session, path, folder.joined("a"))
    assert content_of(remote, f"{folder.name}a") == changed
    assert CHUNK < pushed.moved <= 3 * CHUNK
    assert pushed.wire_size <= pushed.moved + PER_CHUNK * (len(changed) // CHUNK + 1)


def test_what_the_server_has_under_another_name_is_not_sent(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, content: bytes
) -> None:
    with make_session() as session:
        push_file(session, path, folder.joined("a"))
        pushed = push_file(session, path, folder.joined("b"))
    assert pushed.moved == 0
    assert pushed.wire_size <= PER_CHUNK * (len(content) // CHUNK + 1)
    assert content_of(remote, f"{folder.name}b") == content


def test_of_a_base_the_server_is_not_asked(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, content: bytes
) -> None:
    with make_session() as session:
        push_file(session, path, folder.joined("a"))
        path.write_bytes(content[: 8 * CHUNK] + os.urandom(CHUNK) + content[8 * CHUNK :])
        options = PushOptions(bases=[f"{folder.name}a"])
        pushed = push_file(session, path, folder.joined("b"), options)
    assert pushed.moved == CHUNK
    # One digest was asked about, and one chunk sent with its head.
    count = -(-path.stat().st_size // CHUNK)
    assert pushed.wire_size == CHUNK + 44 + 32 + 36 * count


def test_repeated_chunks_and_zeros_are_sent_once(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    block = os.urandom(CHUNK)
    path = tmp_path / "a"
    path.write_bytes(block * 20)
    with path.open("ab") as file:
        file.truncate(64 * CHUNK)
    with make_session() as session:
        assert push_file(session, path, folder.joined("a")).moved <= 2 * CHUNK
    assert content_of(remote, f"{folder.name}a") == path.read_bytes()


def test_compressible_chunks_travel_compressed(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"".join(f"{number}: a line of text\n".encode() for number in range(200_000)))
    with make_session() as session:
        pushed = push_file(session, path, folder.joined("a"))
    assert pushed.moved == pushed.size > 2 * pushed.wire_size
    assert content_of(remote, f"{folder.name}a") == path.read_bytes()


def test_without_the_cache_a_file_is_read_again(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, content: bytes
) -> None:
    with make_session(use_cache=False) as session:
        push_file(session, path, folder.joined("a"))
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        changed = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(changed)
        os.utime(path, ns=times)
        assert not push_file(session, path, folder.joined("a")).unchanged
    assert content_of(remote, f"{folder.name}a") == changed


@pytest.mark.parametrize("size", [5, LARGE])
def test_what_came_meanwhile_is_not_replaced(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, size: int
) -> None:
    path, target = tmp_path / "a", folder.joined("a")
    path.write_bytes(os.urandom(size))
    reader = _slow_reader(lambda: remote.files.put(target.name, b"theirs", 6))
    with make_session() as session, pytest.raises(ConditionFailed):
        push_pipe(session, reader(path), target)
    with make_session() as session, pytest.raises(ConditionFailed):
        push_file(session, path, target, PushOptions(ABSENT))
    assert content_of(remote, target.name) == b"theirs"
    assert _unfinished(session.state) == []
    with make_session() as session:
        push_file(session, path, target, PushOptions(ANYTHING))
    assert content_of(remote, target.name) == path.read_bytes()


def _slow_reader(meanwhile: Callable[[], object]) -> Callable[[Path], io.BytesIO]:
    """Return what opens a pipe, from which the last bytes come after something else was done."""

    class Reader(io.BytesIO):
        def __init__(self, path: Path) -> None:
            super().__init__(path.read_bytes())
            self._ended = False

        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            if not piece and not self._ended:
                self._ended = True
                meanwhile()
            return piece

    return Reader


def _unfinished(state: Path) -> list[str]:
    return [path.name for path in state.iterdir()] if state.exists() else []


def test_a_source_that_changes_is_begun_once_more(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, content: bytes
) -> None:
    changes = iter([b"1"])

    def change() -> None:
        for more in changes:
            with path.open("ab") as file:
                file.write(more)

    with make_session(Recorder(change)) as session:
        push_file(session, path, folder.joined("a"))
    assert content_of(remote, f"{folder.name}a") == content + b"1"


@pytest.mark.parametrize("size", [5, LARGE])
def test_a_source_that_changes_again_is_an_error(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))

    def change() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with make_session(Recorder(change)) as session:
        with pytest.raises(SourceChanged, match="nothing was replaced") as raised:
            push_file(session, path, folder.joined("a"))
        assert raised.value.exit_status == 7
        assert _unfinished(session.state) == []
    assert remote.files.find(f"{folder.name}a") is None


def test_what_comes_by_a_pipe_needs_no_file(
    remote: Server, make_session: MakeSession, folder: RemotePlace, content: bytes
) -> None:
    with make_session() as session:
        pushed = push_pipe(session, io.BytesIO(content), folder.joined("a"))
        assert (pushed.size, pushed.digest) == (len(content), Digest.of(content))
        changed = content[:CHUNK] + os.urandom(CHUNK) + content[2 * CHUNK :]
        again = push_pipe(session, io.BytesIO(changed), folder.joined("a"))
        assert again.moved == CHUNK
        push_pipe(session, io.BytesIO(b""), folder.joined("empty"))
    assert content_of(remote, f"{folder.name}a") == changed
    assert content_of(remote, f"{folder.name}empty") == b""


def test_the_last_runs_upload_goes_on(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path
) -> None:
    """The upload is the one that a run would have begun that was killed then."""
    target = folder.joined("a")
    with make_session() as session:
        # Begins an upload, and ends for want of a part of the source.
        size = path.stat().st_size
        hidden = path.read_bytes()
        upload = remote.chunks.begin(target.name, ABSENT, size=size)
        state = {
            "upload": upload, "target": target.url, "source": str(path), "base": None,
            "state": _state_of(path), "chunking": f"fixed;size={CHUNK}",
        }  # fmt: skip
        name = _state_name(session.state, path, target)
        (session.state / name).write_text(json.dumps(state))
        push_file(session, path, target)
        assert _unfinished(session.state) == []
    assert content_of(remote, target.name) == hidden
    assert remote.chunks.state(upload).complete


def _state_of(path: Path) -> dict[str, int]:
    found = path.stat()
    return {
        "device": found.st_dev, "inode": found.st_ino, "size": found.st_size,
        "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns,
    }  # fmt: skip


def _state_name(state: Path, path: Path, target: RemotePlace) -> str:
    with Unfinished.of(state, target.url, path) as unfinished:
        unfinished.keep(UnfinishedUpload("u", "t", "s", FileState(0, 0, 0, 0, 0), None, "c"))
        [kept] = state.iterdir()
    return kept.name


def test_a_transfer_has_its_state_for_itself(tmp_path: Path) -> None:
    upload = UnfinishedUpload("u", "t", "s", FileState(1, 2, 3, 4, 5), None, "c")
    place = (tmp_path / "state", "http://h/a", tmp_path / "a")
    with Unfinished.of(*place) as one:
        one.keep(upload)
        with Unfinished.of(*place) as two:
            assert two.find() is None
            two.keep(upload)
            two.forget()
        assert one.find() == upload
    with Unfinished.of(*place) as one:
        assert one.find() == upload
        one.forget()
    assert _unfinished(tmp_path / "state") == []


def test_an_upload_that_came_to_its_end_unheard_is_forgotten(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path
) -> None:
    target = folder.joined("a")
    with make_session() as session:
        push_file(session, path, target)
        _state_name(session.state, path, target)
        assert len(_unfinished(session.state)) == 1
        assert push_file(session, path, target).unchanged
        assert _unfinished(session.state) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"upload": 1}', '{"state": {"a": 1}}'])
def test_a_damaged_state_is_as_if_it_was_not_there(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, text: str
) -> None:
    with make_session() as session:
        target = folder.joined("a")
        (session.state / _state_name(session.state, path, target)).write_text(text)
        push_file(session, path, target)
    assert content_of(remote, target.name) == path.read_bytes()


def test_what_was_taken_to_be_there_is_sent_when_it_is_not(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, content: bytes
) -> None:
    """The list that the cache has of the target has chunks that the server never had."""
    target = folder.joined("a")
    with make_session() as session:
        remote.files.put(target.name, b"x" * (2 * CHUNK), 2 * CHUNK)
        found = remote.chunks.find_manifest(target.name)
        assert found is not None
        from concurrent.futures import ThreadPoolExecutor

        from chunkstore.client.reading import ContentReader, blocks_of_pipe

        with ThreadPoolExecutor(1) as pool:
            reader = ContentReader(blocks_of_pipe(io.BytesIO(content)), f"fixed;size={CHUNK}", pool)
            reader.read_all()
        assert session.cache is not None
        session.cache.keep_remote(target.url, Manifest(found[1].digest, bytes(reader.entries)))
        pushed = push_file(session, path, target)
    assert content_of(remote, target.name) == content
    assert pushed.moved == len(content)


def test_an_upload_that_is_gone_is_begun_anew(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path
) -> None:
    target = folder.joined("a")
    with make_session() as session:
        upload = remote.chunks.begin(target.name)
        remote.chunks.cancel(upload)
        remote.chunks.cancel(upload)
        push_file(session, path, target)
    assert content_of(remote, target.name) == path.read_bytes()


def test_the_media_type_is_kept(
    remote: Server, make_session: MakeSession, folder: RemotePlace, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"x")
    with make_session() as session:
        for name, source in (("a", path), ("b", tmp_path / "small")):
            push_file(session, source, folder.joined(name), PushOptions(media_type="text/x-own"))
            found = remote.files.find(folder.name + name)
            assert found is not None
            assert found.media_type == "text/x-own"


def test_what_cannot_be_pushed(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path, path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    shutil.copy(path, tmp_path / "unreadable")
    with make_session() as session:
        for source, error in (
            (tmp_path / "none", Missing),
            (tmp_path, ClientError),
            (tmp_path / "fifo", ClientError),
        ):
            with pytest.raises(error, match=str(source)):
                push_file(session, source, folder.joined("a"))
        with pytest.raises(InvalidPlace):
            push_file(session, path, folder)
        remote.files.put(f"{folder.name}file", b"", 0)
        with pytest.raises(Refused) as raised:
            push_file(session, path, folder.joined("file/below"))
        assert raised.value.problem == "name-conflict"


def test_what_was_shifted_is_recognised_in_content_defined_chunks(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    content = os.urandom(LARGE)
    path = tmp_path / "a"
    path.write_bytes(content)
    with make_session() as session:
        push_file(session, path, folder.joined("a"), PushOptions(chunking=Chunking.FASTCDC))
        found = remote.chunks.find_manifest(f"{folder.name}a")
        assert found is not None
        assert found[1].chunk_size is None
        # As what is replaced was cut, and as what it is said to be made from.
        shifted = content[:1_000_000] + b"inserted" + content[1_000_000:]
        path.write_bytes(shifted)
        pushed = push_file(session, path, folder.joined("a"))
        assert content_of(remote, f"{folder.name}a") == shifted
        assert pushed.moved <= 2 * CHUNK
        options = PushOptions(bases=[f"{folder.name}a"])
        assert push_pipe(session, io.BytesIO(shifted + b"x"), folder.joined("b"), options).moved
        assert content_of(remote, f"{folder.name}b") == shifted + b"x"


def test_archives_are_cut_so_by_themselves_if_wanted(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(LARGE))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "large", "large")
    options = PushOptions(chunking=Chunking.AUTO)
    with make_session() as session:
        for name, is_fixed in (("a.tar", False), ("large", True)):
            push_file(session, tmp_path / name, folder.joined(name), options)
            found = remote.chunks.find_manifest(folder.name + name)
            assert found is not None
            assert (found[1].chunk_size is not None) == is_fixed
            pull_file(session, folder.joined(name), tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == (tmp_path / name).read_bytes()
