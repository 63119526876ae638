"""The power goes at any moment, and everything acknowledged is there, whole.

A real server is recorded under load, with the answers it gave. From the record come images of the
disk as a power cut at any moment could have left it (`recording`), and each is opened.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from chunkstore.core.digest import Digest
from chunkstore.store.sqlite.store import SQLiteStore
from tests.crash.inspection import DATABASE, check_segments
from tests.crash.load import BROKEN, Client, Figures, read_folder, require_problem, session_with
from tests.crash.operations import CHUNK_SIZE, Files, schedule
from tests.crash.recording import Disk, Record, Recording, compile_recorder, require_recordable
from tests.process import served

LOG_BOUND = 512 * 1024
# So little memory that a larger upload takes several transactions, of which the last is synced.
OPTIONS = (
    "--chunk-size", str(CHUNK_SIZE), "--memory", "1MiB",
    "--collect-every", "50ms", "--grace", "0s", "--scrub-every", "0",
)  # fmt: skip
FOLDERS = ("one", "two", "three")
RESUMED = "resumed"
BACKUP = "backup.db"
HELD_BACKUP = f"""
import sys
from chunkstore.cli.main import main
from chunkstore.store.sqlite import store
print("loaded", flush=True)
sys.stdin.readline()
sys.argv = ["chunkstore", "backup", "{BACKUP}"]
main()
"""
OPERATIONS = 24
UPLOADS = 4
BACKUPS = 2
SERVED_IMAGES = 2
FAILING = 0.3


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A resumable upload that has confirmed `offset` bytes of what becomes a file."""

    id: str
    name: str
    content: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Owed:
    """What the server owes for one folder: the files, or those after what is in doubt."""

    folder: str
    possible: Sequence[Files]
    upload: Unfinished | None = None


@dataclass
class Account:
    """What was owed at each mark of a recording, and when backups began and were done."""

    recording: Recording
    marks: list[Owed | None] = field(default_factory=list)
    backups: list[tuple[int, int]] = field(default_factory=list)

    def note(self, owed: Owed | None = None) -> int:
        """Note, and mark in the recording, what is owed from now on."""
        self.marks.append(owed)
        self.recording.mark(len(self.marks) - 1)
        return len(self.marks) - 1

    def owed(self, mark: int) -> Mapping[str, Owed]:
        """Return what is owed for each folder after this mark."""
        return {owed.folder: owed for owed in self.marks[: mark + 1] if owed is not None}

    def of_backup(self, mark: int) -> Mapping[str, list[Files]] | None:
        """Return what each folder may hold in the backup, None before the first is done."""
        done = [begun for begun, end in self.backups if end <= mark]
        if not done:
            return None
        before = self.owed(done[-1])
        since = [owed for owed in self.marks[done[-1] : mark + 1] if owed is not None]
        return {
            folder: [
                files
                for owed in (before.get(folder, Owed(folder, [{}])), *since)
                if owed.folder == folder
                for files in owed.possible
            ]
            for folder in FOLDERS
        }


@dataclass
class Load:
    """Everything that is done to one server while it is recorded."""

    session: aiohttp.ClientSession
    account: Account
    figures: Figures
    rng: random.Random
    failing: bool
    backups: Sequence[asyncio.subprocess.Process]
    backed_up: bool = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for folder in FOLDERS:
                group.create_task(self._perform(Client(folder, self.figures)))
            group.create_task(self._upload())
            group.create_task(self._back_up())

    def _let_fail(self) -> None:
        if self.failing and self.rng.random() < FAILING:
            suffix = self.rng.choice(("-wal", "-wal", DATABASE, ".db"))
            self.account.recording.fail_syncs(self.rng.randrange(1, 3), suffix)

    async def _perform(self, client: Client) -> None:
        """Send operations, and go on until the backups are done."""
        for count, operation in enumerate(schedule(f"{self.rng.random()}")):
            if count >= OPERATIONS and self.backed_up:
                return
            self._let_fail()
            client.doubt = operation
            possible = (client.files, operation.applied(client.files))
            self.account.note(Owed(client.folder, possible))
            while client.doubt is not None:
                try:
                    await client.perform(self.session, operation, lambda: None)
                except BROKEN:
                    # Refused before the body was read to its end.
                    assert self.failing
            self.account.note(Owed(client.folder, [client.files]))

    async def _upload(self) -> None:
        """Put files by tus, in pieces, asking for the offset whenever one was refused."""
        files: Files = {}
        for number in range(UPLOADS):
            content = self.rng.randbytes(self.rng.randrange(1, 160 * CHUNK_SIZE))
            upload = Unfinished(await self._create(f"{number}", content), f"{number}", content, 0)
            after = {**files, upload.name: content}
            while upload.offset < len(content):
                self.account.note(Owed(RESUMED, (files, after), upload))
                offset = await self._send(upload)
                upload = Unfinished(upload.id, upload.name, content, offset)
            files = after
            self.account.note(Owed(RESUMED, [files]))

    async def _create(self, name: str, content: bytes) -> str:
        names = {"filename": name, "folder": RESUMED}
        metadata = (
            f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in names.items()
        )
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(len(content)),
            "Upload-Metadata": ",".join(metadata),
        }
        while True:
            async with self.session.post("uploads", headers=headers) as response:
                if response.status == HTTPStatus.CREATED:
                    return response.headers["Location"].rpartition("/")[2]
                assert self.failing, await response.text()

    async def _send(self, upload: Unfinished) -> int:
        """Send a piece; return the offset that the server tells then."""
        self._let_fail()
        stop = upload.offset + self.rng.randrange(1, 80 * CHUNK_SIZE)
        url = f"uploads/{upload.id}"
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": str(upload.offset),
            "Content-Type": "application/offset+octet-stream",
        }
        piece = upload.content[upload.offset : stop]
        try:
            async with self.session.patch(url, headers=headers, data=piece) as response:
                if response.status == HTTPStatus.NO_CONTENT:
                    return int(response.headers["Upload-Offset"])
        except BROKEN:
            pass
        assert self.failing
        while True:
            async with self.session.head(url, headers={"Tus-Resumable": "1.0.0"}) as response:
                if response.status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                    return int(response.headers["Upload-Offset"])

    async def _back_up(self) -> None:
        for process in self.backups:
            begun = self.account.note()
            _, errors = await process.communicate(b"\n")
            if process.returncode == 0:
                self.account.backups.append((begun, self.account.note()))
            assert process.returncode == 0 or self.failing, errors
        self.backed_up = True


async def held_backup(recording: Recording) -> asyncio.subprocess.Process:
    """Return a backup that begins when it is sent a line; until then it has loaded its program."""
    process = await asyncio.create_subprocess_exec(
        *recording.wrapper, sys.executable, "-c", HELD_BACKUP, cwd=recording.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline()
    return process


async def record(
    recording: Recording, figures: Figures, seed: int, *, failing: bool
) -> tuple[Account, list[Record]]:
    """Return the account of a server under load, and its record."""
    account = Account(recording)
    bounded = (sys.executable, str(Path(__file__).with_name("small_log.py")), str(LOG_BOUND))
    wrapper = (*recording.wrapper, *bounded)
    with served(recording.folder, *OPTIONS, wrapper=wrapper) as server:
        async with session_with(server) as session:
            backups = [await held_backup(recording) for _ in range(BACKUPS)]
            rng = random.Random(seed)
            try:
                await Load(session, account, figures, rng, failing, backups).run()
            finally:
                for process in backups:
                    if process.returncode is None:
                        process.kill()
        recording.fail_syncs(0, "none")
    return account, recording.read()


def images(
    records: Sequence[Record], folder: Path, scratch: Path, rng: random.Random, count: int
) -> Iterator[tuple[Path, int]]:
    """Yield images of the disk at moments in order of time, each with the last mark before it."""
    disk, mark, made = Disk(folder), -1, 0
    moments = sorted(rng.randrange(len(records)) for _ in range(count))
    for place, each in enumerate(records):
        if each.kind == "M":
            mark = each.offset
        else:
            disk.play(each)
        while made < count and moments[made] == place:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            disk.write_image(scratch, rng)
            yield scratch, mark
            made += 1


async def files_in(store: SQLiteStore, folder: str) -> Files:
    """Return every file of a folder, read through the gate."""
    listing = await store.names.list(f"{folder}/")
    found = {}
    for file in listing.files:
        content = await store.contents.read(file.manifest, 0, file.manifest.size)
        assert str(Digest.of(content)) == str(file.manifest.digest)
        found[str(file.name).removeprefix(f"{folder}/")] = content
    return found


def described(files: Files) -> dict[str, str]:
    return {name: f"{len(content)}:{Digest.of(content)!s:.8}" for name, content in files.items()}


def check_files(folder: str, found: Files, possible: Sequence[Files]) -> None:
    expected = " or ".join(str(described(files)) for files in possible)
    assert found in possible, f"{folder}/ holds {described(found)}, not {expected}"


async def check_upload(store: SQLiteStore, upload: Unfinished, files: Files) -> None:
    """Check that what was confirmed of an upload is there, unless it has become its file."""
    if upload.name in files:
        return
    found = await store.uploads.get(upload.id)
    assert upload.offset <= found.offset <= len(upload.content)
    assert found.chunks is not None
    size = found.offset - len(found.tail)
    kept = await store.contents.read(found.chunks, 0, size) + found.tail
    assert kept == upload.content[: found.offset]


async def check_store(path: Path, possible: Mapping[str, Sequence[Files]]) -> SQLiteStore:
    """Open a store and check it; return it open."""
    store = await SQLiteStore.open(path)
    try:
        for folder, files in possible.items():
            check_files(folder, await files_in(store, folder), files)
        assert [damage async for step in store.maintenance.scrub() for damage in step.damage] == []
    except BaseException:
        await store.close()
        raise
    return store


def keep_inodes(folder: Path) -> None:
    """Let the image's files be those that were recorded, as they are after a loss of power."""
    for owner in folder.glob("*-owner"):
        database = owner.with_name(owner.name.removesuffix("-owner"))
        with suppress(ValueError, FileNotFoundError):
            record = json.loads(owner.read_bytes())
            place = database.stat()
            owner.write_text(json.dumps(record | {"device": place.st_dev, "inode": place.st_ino}))


async def check_image(folder: Path, account: Account, mark: int) -> int:
    """Check that everything acknowledged is there and whole, and all else is sound.

    Return how many segments there are.
    """
    keep_inodes(folder)
    segments = 0
    owed = account.owed(mark)
    if owed:
        possible = {folder: each.possible for folder, each in owed.items()}
        store = await check_store(folder / DATABASE, possible)
        try:
            if (upload := owed[RESUMED].upload if RESUMED in owed else None) is not None:
                await check_upload(store, upload, await files_in(store, RESUMED))
        finally:
            await store.close()
        check_integrity(folder / DATABASE)
        segments += check_segments(folder / DATABASE)
    if (backed_up := account.of_backup(mark)) is not None:
        await (await check_store(folder / BACKUP, backed_up)).close()
        check_integrity(folder / BACKUP)
        segments += check_segments(folder / BACKUP)
    return segments


def check_integrity(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


async def check_served(folder: Path, account: Account, mark: int) -> None:
    """Check an image by the answers of a new server."""
    keep_inodes(folder)
    with served(folder, *OPTIONS) as server:
        async with session_with(server) as session:
            for name, owed in account.owed(mark).items():
                check_files(name, await read_folder(session, name), owed.possible)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorder")
    library = compile_recorder(folder)
    require_recordable(library, sys.executable, folder)
    return library


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Return where images go: in memory where that can be, for their own syncs do not matter."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder) / "image"


@dataclass
class Images:
    """What the images came to."""

    figures: Figures = field(default_factory=Figures)
    images: int = 0
    served: int = 0
    segments: int = 0

    def __str__(self) -> str:
        return (
            f"{self.images:,} images, {self.served} of them served, with {self.segments:,} segments"
            f" in all; {self.figures}"
        )


@pytest.mark.fault(
    "The power goes, also after syncs that failed",
    "a real server is recorded under PUT, DELETE, COPY, MOVE, resumable uploads, collection,"
    " checkpoints and backups; images of its disk have what was synced up to some moment, and of"
    " the rest any blocks of 4 KiB, in any order; opened, each must have all that was acknowledged",
)
@pytest.mark.parametrize("failing", [False, True], ids=["power_loss", "beside_failing_syncs"])
async def test_what_was_acknowledged_outlives_a_loss_of_power(
    tmp_path: Path,
    scratch: Path,
    recorder: Path,
    power_cuts: Iterator[tuple[int, int]],
    report_figures: Callable[[object], None],
    failing: bool,
) -> None:
    told = Images()
    for seed, count in power_cuts:
        folder = tmp_path / str(seed)
        folder.mkdir()
        recording = Recording(recorder, folder, tmp_path / f"{seed}.log")
        account, records = await record(recording, told.figures, seed, failing=failing)
        cuts = images(records, recording.folder, scratch, random.Random(seed), count)
        for number, (image, mark) in enumerate(cuts):
            try:
                if number % (count // SERVED_IMAGES + 1) == count // (SERVED_IMAGES + 1):
                    copy = shutil.copytree(image, tmp_path / f"{seed}-{number}")
                    await check_served(copy, account, mark)
                    told.served += 1
                told.segments += await check_image(image, account, mark)
            except BaseException as error:
                error.add_note(f"Image {number} of the recording with seed {seed}, mark {mark}")
                raise
            told.images += 1
        shutil.rmtree(folder)
    report_figures(told)


@pytest.mark.fault(
    "Syncs fail",
    "each sync of a real server's log fails for a while; nothing is acknowledged meanwhile, reading"
    " goes on, and so does the same process once the log has been written again",
)
async def test_nothing_is_acknowledged_while_syncs_fail(tmp_path: Path, recorder: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    recording = Recording(recorder, folder, tmp_path / "log")
    with served(folder, "--collect-every", "0", wrapper=recording.wrapper) as server:
        async with session_with(server) as session:
            assert await put(session, "x/old") == HTTPStatus.CREATED
            recording.fail_syncs(1_000, DATABASE + "-wal")
            for name in ("x/new", "x/new", "x/old"):
                assert await put(session, name) == HTTPStatus.SERVICE_UNAVAILABLE
            async with session.get("files/x/old") as response:
                assert await response.read() == b"x/old"
            async with session.get("files/x/new") as response:
                assert response.status == HTTPStatus.NOT_FOUND
            recording.fail_syncs(0, "none")
            assert await put(session, "x/new") == HTTPStatus.CREATED
            assert await read_folder(session, "x") == {"old": b"x/old", "new": b"x/new"}


async def put(session: aiohttp.ClientSession, name: str) -> int:
    async with session.put(f"files/{name}", data=name.encode()) as response:
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
            await require_problem(response)
            assert "Retry-After" in response.headers
        return response.status
