"""The file system on a real server: whole writes, pinned reads, transactions, and its URLs."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
from contextlib import suppress
from pathlib import Path

import fsspec
import pandas
import pytest

from chunkstore.client.filesystem import ChunkstoreFileSystem
from chunkstore.client.filesystem.urls import join_url, split_url
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.server import Server
from tests.client.conftest import content_of
from tests.process import ServerProcess

# More than one request of a list of chunks, and than the buffer of a file.
LARGE = 12 << 20


@pytest.fixture(params=[10, LARGE], ids=["small", "large"])
def content(request: pytest.FixtureRequest) -> bytes:
    return os.urandom(request.param)


def test_what_is_written_is_there_when_the_file_is_closed(
    fs: ChunkstoreFileSystem, root: str, content: bytes
) -> None:
    with fs.open(f"{root}/a", "wb") as file:
        file.write(content)
        assert not fs.exists(f"{root}/a")
    assert fs.cat(f"{root}/a") == content
    assert fs.size(f"{root}/a") == len(content)


def test_a_write_that_fails_leaves_nothing(
    fs: ChunkstoreFileSystem, root: str, content: bytes, shared_server: ServerProcess
) -> None:
    fs.pipe(f"{root}/a", b"old")
    deleted = shared_server.log.read_text().count("DELETE /uploads/")

    def write(mode: str) -> None:
        with fs.open(f"{root}/a", mode) as file:
            file.write(content if mode == "wb" else content.hex())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write("wb")
    assert fs.cat(f"{root}/a") == b"old"
    # A text file does not tell the one below it why it is closed.
    with pytest.warns(RuntimeWarning, match="was not written"), pytest.raises(RuntimeError):
        write("w")
    assert fs.cat(f"{root}/a") == b"old"
    log = shared_server.log.read_text()
    assert log.count("DELETE /uploads/") - deleted == log.count(f"POST /manifests/{root}/a")


def test_fsspec_open_leaves_nothing_either(
    fs: ChunkstoreFileSystem, root: str, content: bytes
) -> None:
    url = fs.unstrip_protocol(f"{root}/a")

    def write() -> None:
        with fsspec.open(url, "wb") as file:
            file.write(content)
            raise RuntimeError

    with pytest.warns(RuntimeWarning, match="was not written"), pytest.raises(RuntimeError):
        write()
    assert not fs.exists(f"{root}/a")


def test_a_file_that_is_never_closed_is_not_written(
    fs: ChunkstoreFileSystem, root: str, content: bytes
) -> None:
    file = fs.open(f"{root}/a", "wb")
    file.write(content)
    with pytest.warns(ResourceWarning, match="not closed"):
        file.__del__()
    del file
    assert not fs.exists(f"{root}/a")


def test_a_write_within_an_except_block_is_written(fs: ChunkstoreFileSystem, root: str) -> None:
    try:
        fs.cat(f"{root}/none")
    except FileNotFoundError:
        with fs.open(f"{root}/a", "w") as file:
            file.write("failed")
    assert fs.cat(f"{root}/a") == b"failed"


def test_only_what_is_new_is_sent(
    fs: ChunkstoreFileSystem, root: str, shared_server: ServerProcess
) -> None:
    content = bytearray(os.urandom(LARGE))
    fs.pipe(f"{root}/a", bytes(content))
    content[5_000_000:5_000_003] = b"new"
    packs = shared_server.log.read_text().count('/chunks HTTP/1.1" 200')
    with fs.open(f"{root}/a", "wb") as file:
        file.write(bytes(content))
    assert shared_server.log.read_text().count('/chunks HTTP/1.1" 200') == packs + 1
    assert fs.cat(f"{root}/a") == content


def test_a_new_file_replaces_nothing_that_comes_meanwhile(
    fs: ChunkstoreFileSystem, root: str, content: bytes
) -> None:
    file = fs.open(f"{root}/a", "xb")
    file.write(content)
    fs.pipe(f"{root}/a", b"other")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat(f"{root}/a") == b"other"


def test_a_read_is_of_one_content(fs: ChunkstoreFileSystem, root: str) -> None:
    fs.pipe(f"{root}/a", b"a" * LARGE)
    with fs.open(f"{root}/a", block_size=1000, cache_type="none") as file:
        copy = pickle.dumps(file)
        assert file.read(10) == b"a" * 10
        fs.pipe(f"{root}/a", b"b" * LARGE)
        with pytest.raises(OSError, match="a'") as caught:
            file.read(10)
        assert caught.value.errno == errno.ESTALE
    with pytest.raises(OSError, match="a'") as caught:
        pickle.loads(copy)
    assert caught.value.errno == errno.ESTALE


def test_a_file_is_read_from_anywhere(fs: ChunkstoreFileSystem, root: str, content: bytes) -> None:
    fs.pipe(f"{root}/a", content)
    with fs.open(f"{root}/a") as file:
        file.seek(-3, 2)
        assert file.read() == content[-3:]
        file.seek(4)
        assert file.read(3) == content[4:7]
        assert file.read() == content[7:]
        assert file.read() == b""
    with pickle.loads(pickle.dumps(fs.open(f"{root}/a"))) as file:
        assert file.read() == content


def test_ranges_are_slices(fs: ChunkstoreFileSystem, root: str) -> None:
    fs.pipe(f"{root}/a", bytes(range(100)))
    fs.pipe(f"{root}/empty", b"")
    content = bytes(range(100))
    for start, stop in [(0, 10), (None, None), (90, 200), (100, 110), (-5, None), (3, -3), (7, 7)]:
        assert fs.cat_file(f"{root}/a", start, stop) == content[start:stop]
        assert fs.cat_file(f"{root}/empty", start, stop) == b""
    names = [f"{root}/a", f"{root}/a", f"{root}/none"]
    found = fs.cat_ranges(names, [0, 10, 0], [5, 20, 1])
    assert found[:2] == [content[:5], content[10:20]]
    assert isinstance(found[2], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(names, 0, 5, on_error="raise")


def test_a_transaction_is_all_or_nothing(
    fs: ChunkstoreFileSystem, root: str, content: bytes
) -> None:
    with fs.transaction:
        for name in "ab":
            with fs.open(f"{root}/{name}", "wb") as file:
                file.write(content + name.encode())
        assert not fs.exists(f"{root}/a")
    assert fs.cat(f"{root}/a") == content + b"a"
    assert fs.cat(f"{root}/b") == content + b"b"

    def fail() -> None:
        with fs.transaction:
            fs.open(f"{root}/a", "wb").close()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert fs.cat(f"{root}/a") == content + b"a"


def test_a_transaction_fails_as_a_whole(fs: ChunkstoreFileSystem, root: str) -> None:
    def conflict() -> None:
        with fs.transaction:
            for name, mode in [("a", "wb"), ("b", "xb")]:
                with fs.open(f"{root}/{name}", mode) as file:
                    file.write(b"new")
            fs.pipe(f"{root}/b", b"other")

    with pytest.raises(FileExistsError):
        conflict()
    assert not fs.exists(f"{root}/a")
    assert fs.cat(f"{root}/b") == b"other"
    # The next one is another one.
    with fs.transaction, fs.open(f"{root}/a", "wb") as file:
        file.write(b"later")
    assert fs.cat(f"{root}/a") == b"later"


def test_a_file_that_is_open_ends_its_transaction(fs: ChunkstoreFileSystem, root: str) -> None:
    def leave_open() -> None:
        with fs.transaction:
            fs.open(f"{root}/a", "wb").close()
            fs.open(f"{root}/b", "wb").write(b"b")

    with pytest.raises(ValueError, match="not closed"):
        leave_open()
    assert fs.find(root) == []


def test_pandas_reads_and_writes_parquet(
    fs: ChunkstoreFileSystem, root: str, tmp_path: Path
) -> None:
    table = pandas.DataFrame({"a": range(1000), "b": [str(number) for number in range(1000)]})
    url = fs.unstrip_protocol(f"{root}/table.parquet")
    table.to_parquet(url)
    pandas.testing.assert_frame_equal(pandas.read_parquet(url), table)
    assert pandas.read_parquet(url, columns=["a"])["a"].sum() == 499500
    table.to_csv(fs.unstrip_protocol(f"{root}/table.csv"), index=False)
    assert pandas.read_csv(fs.unstrip_protocol(f"{root}/table.csv"), dtype={"b": str}).equals(table)


def test_caches_of_fsspec_know_by_the_etag(
    fs: ChunkstoreFileSystem, root: str, tmp_path: Path
) -> None:
    fs.pipe(f"{root}/a", b"one")
    before = fs.ukey(f"{root}/a"), fs.checksum(f"{root}/a")
    options = {"cache_storage": str(tmp_path), "check_files": True}
    url = f"filecache::{fs.unstrip_protocol(f'{root}/a')}"
    for content in (b"one", b"two"):
        fs.pipe(f"{root}/a", content)
        with fsspec.open(url, filecache=options) as file:
            assert file.read() == content
    assert (fs.ukey(f"{root}/a"), fs.checksum(f"{root}/a")) != before
    fs.pipe(f"{root}/a", b"one")
    assert (fs.ukey(f"{root}/a"), fs.checksum(f"{root}/a")) == before


def test_files_are_found_by_one_list(
    fs: ChunkstoreFileSystem, root: str, shared_server: ServerProcess
) -> None:
    names = [f"{root}/{folder}/{name}" for folder in "abc" for name in "xy"]
    fs.pipe(dict.fromkeys(names, b"1"))
    lists = shared_server.log.read_text().count(f"GET /files/{root}/?")
    assert fs.find(root) == names
    assert shared_server.log.read_text().count(f"GET /files/{root}/?") == lists + 1
    assert fs.find(root, maxdepth=1) == []
    assert fs.find(f"{root}/a/x") == [f"{root}/a/x"]
    assert fs.find(f"{root}/none") == []
    assert fs.find(root, withdirs=True) == sorted(
        [*names, root, *(f"{root}/{folder}" for folder in "abc")]
    )
    assert fs.glob(f"{root}/*/x") == names[::2]
    assert fs.du(root) == 6


def test_folders(fs: ChunkstoreFileSystem, root: str) -> None:
    fs.makedirs(f"{root}/a/b")
    with pytest.raises(FileExistsError):
        fs.mkdir(f"{root}/a")
    with pytest.raises(FileNotFoundError):
        fs.mkdir(f"{root}/x/y", create_parents=False)
    fs.makedirs(f"{root}/a", exist_ok=True)
    fs.touch(f"{root}/a/b/c")
    with pytest.raises(FileExistsError):
        fs.makedirs(f"{root}/a/b/c", exist_ok=True)
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(f"{root}/a")
    with pytest.raises(IsADirectoryError):
        fs.rm(f"{root}/a")
    fs.rm(f"{root}/a/b/c")
    fs.rmdir(f"{root}/a/b")
    assert fs.ls(f"{root}/a") == []
    fs.rm(root, recursive=True)
    assert not fs.exists(root)


def test_an_edit_of_a_file_is_none_of_a_folder(fs: ChunkstoreFileSystem, root: str) -> None:
    fs.pipe({f"{root}/folder/a": b"a", f"{root}/b": b"b"})
    with pytest.raises(FileNotFoundError):
        fs.rm_file(f"{root}/folder")
    with pytest.raises(FileExistsError):
        fs.cp_file(f"{root}/b", f"{root}/folder")
    with pytest.raises(FileExistsError):
        fs.pipe(f"{root}/folder", b"c")
    with pytest.raises(IsADirectoryError):
        fs.open(f"{root}/folder")
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{root}/folder")
    assert fs.cat(f"{root}/folder/a") == b"a"


def test_moves_are_one_edit(fs: ChunkstoreFileSystem, root: str) -> None:
    fs.pipe({f"{root}/a/x": b"x", f"{root}/a/b/y": b"y", f"{root}/z": b"z"})
    fs.mv(f"{root}/a", f"{root}/c", recursive=True)
    assert fs.find(root) == [f"{root}/c/b/y", f"{root}/c/x", f"{root}/z"]
    fs.mv(f"{root}/z", f"{root}/c")
    assert fs.cat(f"{root}/c/z") == b"z"
    fs.mv(f"{root}/c/z", f"{root}/c/z")
    fs.mv(f"{root}/c/z", f"{root}/c/x")
    assert fs.cat(f"{root}/c/x") == b"z"
    fs.cp(f"{root}/c", f"{root}/d", recursive=True)
    assert fs.find(f"{root}/d") == [f"{root}/d/b/y", f"{root}/d/x"]
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{root}/none", f"{root}/e")


def test_put_and_get_send_and_fetch_what_is_missing(
    fs: ChunkstoreFileSystem, root: str, remote: Server, tmp_path: Path
) -> None:
    content = os.urandom(LARGE)
    (tmp_path / "a").write_bytes(content)
    fs.put(str(tmp_path / "a"), f"{root}/a")
    assert content_of(remote, f"{root}/a") == content
    with pytest.raises(FileExistsError):
        fs.put_file(str(tmp_path / "a"), f"{root}/a", mode="create")
    fs.get(f"{root}/a", str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        fs.get(f"{root}/none", str(tmp_path / "c"))


def test_what_the_server_tells_is_told(fs: ChunkstoreFileSystem, root: str) -> None:
    fs.pipe(f"{root}/a b%20[c].txt", b"text")
    (info,) = fs.ls(root, detail=True)
    assert info == {**fs.info(f"{root}/a b%20[c].txt"), "modified": info["modified"]}
    assert info["mimetype"].startswith("text/plain")
    assert fs.modified(f"{root}/a b%20[c].txt").timestamp() == pytest.approx(
        info["modified"].timestamp(), abs=1
    )
    with pytest.raises(IsADirectoryError):
        fs.ukey(root)
    assert not fs.exists(f"{root}/../a")
    with pytest.raises(OSError, match="a") as caught:
        fs.pipe(f"{root}/../a", b"")
    assert caught.value.errno == errno.EINVAL


def test_urls_are_those_of_files(folder: RemotePlace) -> None:
    assert split_url("chunkstore://h:1/files/a/b c%20") == ("http://h:1/", "a/b c%20")
    assert split_url("chunkstores://h/base/files/a/") == ("https://h/base/", "a")
    assert split_url("chunkstore://h/") == split_url("chunkstore://h") == ("http://h/", "")
    assert split_url("chunkstore://h/files") == ("http://h/", "")
    assert split_url("chunkstore:///a/b") == split_url("a/b") == split_url("/a/b/") == (None, "a/b")
    for base, name in [("http://h:1/", "a/b c%20"), ("https://h/base/", "files/x")]:
        assert split_url(join_url(base, name)) == (base, name)
    with pytest.raises(ValueError, match="/files/"):
        split_url("chunkstore://h/a")
    with pytest.raises(ValueError, match="folder"):
        ChunkstoreFileSystem(folder.url)


def test_the_environment_has_a_server(
    fs: ChunkstoreFileSystem, root: str, folder: RemotePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe(f"{root}/a", b"a")
    monkeypatch.delenv("CHUNKSTORE_URL", raising=False)
    with pytest.raises(ValueError, match="CHUNKSTORE_URL"):
        ChunkstoreFileSystem(skip_instance_cache=True)
    monkeypatch.setenv("CHUNKSTORE_URL", folder.base)
    found = fsspec.open(f"chunkstore:///{root}/a", skip_instance_cache=True)
    with found as file:
        assert file.read() == b"a"
    found.fs.close()


def test_who_goes_on_after_a_failure_writes_no_gap(
    fs: ChunkstoreFileSystem, root: str, folder: RemotePlace
) -> None:
    file = fs.open(f"{root}/a", "wb")
    file.write(os.urandom(LARGE))
    fs.remote.session.stop()
    with suppress(OSError):
        for _ in range(8):
            file.write(os.urandom(LARGE))
    assert file.closed
    file.close()
    with pytest.raises(ValueError, match="not in write mode"):
        file.write(b"a")


def test_a_server_that_is_away(tmp_path: Path) -> None:
    fs = ChunkstoreFileSystem("http://127.0.0.1:1/", skip_instance_cache=True)
    fs.remote.server.transport._retries = 0
    with pytest.raises(ConnectionError):
        fs.ls("")
    with pytest.raises(ConnectionError):
        fs.exists("a")
    fs.close()


async def test_it_serves_asynchronous_programs(folder: RemotePlace, root: str) -> None:
    fs = ChunkstoreFileSystem(folder.base, asynchronous=True, skip_instance_cache=True)
    await fs._pipe_file(f"{root}/a", b"a")
    assert await fs._cat_file(f"{root}/a") == b"a"
    await asyncio.to_thread(fs.close)
