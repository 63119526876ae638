"""Real programs on a drive of WebDAV, and litmus, which tries what RFC 4918 says."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
from webdav4.client import Client, ResourceConflict
from webdav4.fsspec import WebdavFileSystem

from tests.clients.test_nginx import OPTIONS, proxied
from tests.postgres import Cluster
from tests.process import ServerProcess, served
from tests.programs import do_without, require_program

# Where Debian has the programs of litmus, and what they send.
_LITMUS: Final = Path("/usr/libexec/litmus")
_LITMUS_FILES: Final = Path("/usr/share/litmus")
SUITES: Final = ("basic", "copymove", "props", "locks", "http")
# A time with a part of a second, as rclone sends them.
_TIME_NS: Final = 1_000_000_000_123_456_789


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    options: tuple[str, ...] = ("--checksums", "md5,sha1")
    if request.param == "postgres":
        cluster: Cluster = request.getfixturevalue("postgres")
        options = (*options, "--db", cluster.create_database("webdav"))
    with served(tmp_path_factory.mktemp("webdav"), *options) as server:
        yield server


def run(*command: str, text: str = "", folder: Path | None = None) -> str:
    """Return all that a program prints, which must succeed."""
    require_program(command[0])
    done = subprocess.run(
        command,
        input=text,
        cwd=folder,
        env={**os.environ, "RCLONE_CONFIG": os.devnull, "HOME": str(folder or "/")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("suite", SUITES)
def test_litmus(server: ServerProcess, suite: str, tmp_path: Path) -> None:
    _run_litmus(suite, f"{server.url}dav/", tmp_path)


def _run_litmus(suite: str, url: str, folder: Path) -> None:
    if not (_LITMUS / suite).exists():
        do_without("litmus is not installed")
    (folder / "htdocs").symlink_to(_LITMUS_FILES / "htdocs")
    printed = run(str(_LITMUS / suite), url, folder=folder)
    assert " 0 failed. 100.0%" in printed, printed


@pytest.mark.parametrize("suite", SUITES)
def test_litmus_asks_two_servers_behind_nginx(
    two_behind_nginx: str, suite: str, tmp_path: Path
) -> None:
    """Whichever server took a lock, the other keeps it."""
    _run_litmus(suite, f"{two_behind_nginx}dav/", tmp_path)


@pytest.fixture(scope="module")
def two_behind_nginx(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_program("nginx")
    folder = tmp_path_factory.mktemp("two")
    options = ("--db", postgres.create_database("two"), *OPTIONS)
    (folder / "other").mkdir()
    with (
        served(folder, *options) as one,
        served(folder / "other", *options) as other,
        proxied(folder, one, other) as url,
    ):
        yield url


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with files of many sizes and names, which are of no moment."""
    folder = tmp_path / "tree"
    numbers = random.Random(17)
    for number in range(100):
        path = folder / f"d{number % 7}" / f"ä {number % 3}#%" / f"{number}&.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbers.randbytes(numbers.randrange(3000)))
        os.utime(path, ns=(_TIME_NS, _TIME_NS - number * 10**9))
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize("vendor", ["owncloud", "other"])
def test_rclone_keeps_a_tree_alike(server: ServerProcess, tree: Path, vendor: str) -> None:
    options = ["--webdav-url", f"{server.url}dav/", "--webdav-vendor", vendor]
    there = f":webdav:{vendor}"
    rclone = ("rclone", *options, "-v")
    run(*rclone, "sync", "--create-empty-src-dirs", str(tree), there)
    run(*rclone, "check", "--download", str(tree), there)
    # Times are alike too, so nothing is sent again, though all sizes are the same.
    changed = tree / "d1" / "ä 1#%" / "1&.txt"
    changed.write_bytes(bytes(len(changed.read_bytes())))
    (tree / "d2" / "ä 2#%" / "2&.txt").unlink()
    printed = run(*rclone, "sync", str(tree), there)
    copied = [line for line in printed.splitlines() if "Copied" in line]
    assert len(copied) == (1 if vendor == "owncloud" else 0)
    if vendor == "owncloud":
        run(*rclone, "check", "--download", str(tree), there)
        back = tree.parent / "back"
        run(*rclone, "copy", there, str(back))
        path = back / "d3" / "ä 0#%" / "3&.txt"
        assert abs(path.stat().st_mtime_ns - (_TIME_NS - 3 * 10**9)) < 10**9
    # What is as long as it turns out comes in chunks.
    run(*rclone, "rcat", "--streaming-upload-cutoff", "0", f"{there}/d1/streamed", text="x" * 99)
    assert run(*rclone, "cat", f"{there}/d1/streamed").startswith("x" * 99)
    run(*rclone, "move", there, f"{there}-moved")
    run(*rclone, "purge", f"{there}-moved")
    assert "moved" not in run(*rclone, "lsf", ":webdav:")


@pytest.mark.parametrize(("vendor", "compared"), [("owncloud", "md5"), ("nextcloud", "sha1")])
def test_rclone_compares_hashes(
    server: ServerProcess, tree: Path, vendor: str, compared: str
) -> None:
    options = ["--webdav-url", f"{server.url}dav/", "--webdav-vendor", vendor]
    there = f":webdav:hashes-{vendor}"
    rclone, count = ("rclone", *options, "-vv"), sum(path.is_file() for path in tree.rglob("*"))
    printed = run(*rclone, "sync", str(tree), there)
    # After each transfer it asks for the hash, and compares it with what it has sent.
    assert printed.count(f"{compared} = ") == count
    printed = run(*rclone, "check", str(tree), there)
    assert printed.count(f"{compared} = ") == count
    assert "could not be checked" not in printed
    assert "0 differences found" in printed
    for name in ("MD5", "SHA1") if compared == "md5" else ("SHA1",):
        hashed = run("rclone", *options, "hashsum", name, there)
        assert sorted(hashed.splitlines()) == sorted(
            f"{hashlib.new(name.lower(), path.read_bytes()).hexdigest()}  {path.relative_to(tree)}"
            for path in tree.rglob("*")
            if path.is_file()
        )
    # A change that keeps size and time is found by the hash alone.
    changed = tree / "d1" / "ä 1#%" / "1&.txt"
    time_ns = changed.stat().st_mtime_ns
    changed.write_bytes(bytes(len(changed.read_bytes())))
    os.utime(changed, ns=(time_ns, time_ns))
    assert "Copied" not in run(*rclone, "sync", str(tree), there)
    assert run(*rclone, "sync", "--checksum", str(tree), there).count("Copied (replaced") == 1
    assert "0 differences found" in run(*rclone, "check", str(tree), there)
    # It stays with the content, wherever that goes.
    run(*rclone, "move", there, f"{there}-moved")
    assert "0 differences found" in run(*rclone, "check", str(tree), f"{there}-moved")
    run(*rclone, "purge", f"{there}-moved")


def test_cadaver(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    printed = run(
        "cadaver",
        f"{server.url}dav/",
        text=(
            "mkcol cadaver\ncd cadaver\nput file\nlock file\ndiscover file\nput file\nunlock file\n"
            "copy file copy\nmove copy moved\nls\n"
            "propset moved colour red\npropget moved colour\nmkcol deep\nget moved back\n"
            "cd ..\nrmcol cadaver\nls\nquit\n"
        ),
        folder=tmp_path,
    )
    assert (tmp_path / "back").read_bytes() == b"content"
    assert "Lock token <" in printed.partition("Discovering locks")[2].partition("dav:")[0], printed
    assert "red" in printed.partition("Fetching properties")[2].partition("dav:")[0], printed
    assert "failed" not in printed
    assert printed.count("succeeded") >= 11, printed


@contextmanager
def mounted(url: str, folder: Path) -> Iterator[Path]:
    """Have davfs2 mount a drive, which takes root and FUSE."""
    program = require_program("mount.davfs")
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        do_without("davfs2 needs root and /dev/fuse")
    configuration, there = folder / "davfs2.conf", folder / "mounted"
    there.mkdir(exist_ok=True)
    configuration.write_text(
        f"ask_auth 0\nuse_locks {int('locks' in SUITES)}\ndelay_upload 0\n"
        f"secrets {folder / 'secrets'}\n"
    )
    (folder / "secrets").touch(mode=0o600)
    # Its process goes on, and keeps what it was given to print to.
    command = [program, "-o", f"conf={configuration}", url, str(there)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    try:
        yield there
    finally:
        # It waits until all has been sent.
        run("umount", str(there))


def test_davfs2(server: ServerProcess, tree: Path, tmp_path: Path) -> None:
    """Without lists, which davfs2 1.6.1 cannot make on Linux 6.18, of no server (EINVAL)."""
    url, files = f"{server.url}dav/", sorted(path for path in tree.rglob("*") if path.is_file())
    top = tmp_path / "mounted" / "davfs"
    script = top / "script"
    with mounted(url, tmp_path):
        shutil.copytree(tree, top)
        (top / "d1").rename(top / "moved")
        (top / "d2" / "ä 2#%" / "2&.txt").unlink()
        (top / "empty").rmdir()
        (top / "d3" / "ä 0#%" / "3&.txt").write_bytes(b"anew")
        script.write_bytes(b"#!/bin/sh\n")
        script.chmod(0o755)
    gone, changed = tree / "d2" / "ä 2#%" / "2&.txt", tree / "d3" / "ä 0#%" / "3&.txt"
    with mounted(url, tmp_path):
        for path in files[::3]:
            name = str(path.relative_to(tree)).replace("d1/", "moved/")
            if path not in (gone, changed):
                assert (top / name).read_bytes() == path.read_bytes()
        assert (top / "d3" / "ä 0#%" / "3&.txt").read_bytes() == b"anew"
        assert not (top / "d2" / "ä 2#%" / "2&.txt").exists()
        assert not (top / "empty").exists()
        # That it may be run is a property of its own.
        assert os.access(script, os.X_OK)
    listed = run("curl", "-fsS", f"{server.url}files/davfs/?delimiter=")
    assert len(json.loads(listed)["files"]) == len(files)


def test_webdav4_and_fsspec(server: ServerProcess) -> None:
    client = Client(f"{server.url}dav/")
    with closing(client.http):
        _use(client, WebdavFileSystem(f"{server.url}dav/", client=client))


def _use(client: Client, drive: WebdavFileSystem) -> None:
    drive.mkdir("fsspec")
    with drive.open("fsspec/a", "wb") as file:
        file.write(b"content")
    drive.copy("fsspec/a", "fsspec/b")
    drive.mv("fsspec/b", "fsspec/c ä")
    assert sorted(drive.find("fsspec")) == ["fsspec/a", "fsspec/c ä"]
    assert drive.info("fsspec/a")["size"] == 7
    with drive.open("fsspec/a") as file:
        file.seek(3)
        assert file.read() == b"tent"
    assert client.etag("fsspec/a") == client.etag("fsspec/c ä")
    with pytest.raises(ResourceConflict):
        client.mkdir("fsspec/none/deep")
    drive.rm("fsspec", recursive=True)
    assert not drive.exists("fsspec")


@pytest.mark.parametrize("depth", ["1", "infinity"])
def test_a_long_list_takes_no_memory(tmp_path: Path, depth: str) -> None:
    """100,000 names are sent as they are read."""
    with served(tmp_path) as server:
        run("curl", "-fsS", "-X", "MKCOL", f"{server.url}dav/many")
        run("curl", "-fsS", "-T", "-", f"{server.url}dav/seed", text="x")
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        db.execute(
            "WITH RECURSIVE number (n) AS"
            " (SELECT 0 UNION ALL SELECT n + 1 FROM number LIMIT 100000)"
            " INSERT INTO file (name, manifest, proof, media_type, created, modified)"
            " SELECT printf('many/%05d', n), manifest, proof, media_type, created, modified"
            " FROM file, number WHERE name = 'seed'"
        )
    with served(tmp_path) as server:
        command = ("curl", "-fsS", "-X", "PROPFIND", "-H", f"Depth: {depth}")
        run(*command, f"{server.url}dav/seed")
        before = server.anonymous_memory()
        answer = run(*command, f"{server.url}dav/many/")
        assert answer.count("<D:response>") == 100_001
        assert server.anonymous_memory() - before < 20 * 1024 * 1024


def test_much_that_is_kept_takes_no_memory(tmp_path: Path) -> None:
    """Nor does it to ask for thousands of properties that nobody has."""
    with served(tmp_path) as server:
        run("curl", "-fsS", "-X", "MKCOL", f"{server.url}dav/many")
        run("curl", "-fsS", "-T", "-", f"{server.url}dav/seed", text="x")
    kept = json.dumps([["urn:x", "a", f'<a xmlns="urn:x">{"x" * 60_000}</a>']]).encode()
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        db.execute(
            "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number LIMIT 1000)"
            " INSERT INTO file (name, manifest, proof, media_type, created, modified, properties)"
            " SELECT printf('many/%05d', n), manifest, proof, media_type, created, modified, ?"
            " FROM file, number WHERE name = 'seed'",
            (kept,),
        )
    names = "".join(f"<D:n{number}/>" for number in range(4000))
    asked = f'<D:propfind xmlns:D="DAV:"><D:prop>{names}</D:prop></D:propfind>'
    with served(tmp_path) as server:
        command = ("curl", "-fsS", "-X", "PROPFIND", "-H", "Depth: 1", "-o", "answer")
        url = f"{server.url}dav/many/"
        run(*command, f"{server.url}dav/seed", folder=tmp_path)
        before = server.anonymous_memory()
        run(*command, url, folder=tmp_path)
        assert (tmp_path / "answer").stat().st_size > 60_000 * 1000
        run(*command, "--data-binary", "@-", url, text=asked, folder=tmp_path)
        assert (tmp_path / "answer").stat().st_size > 4000 * 1000 * 8
        assert server.anonymous_memory() - before < 48 * 1024 * 1024
