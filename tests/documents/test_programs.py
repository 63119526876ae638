"""Programs that the documents show whole, and the wheel that they have people install."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from tests.documents.blocks import ROOT, file_block, section_of
from tests.documents.nginx import free_port
from tests.process import clean_environment


def test_the_server_in_an_application_of_your_own(tmp_path: Path) -> None:
    port = free_port()
    program = tmp_path / "application.py"
    program.write_text(file_block("application.py").replace("8080", str(port)))
    process = subprocess.Popen([sys.executable, str(program)], cwd=tmp_path)
    url = f"http://127.0.0.1:{port}/artefacts/files/a"
    try:
        wait_for_answer(process, url)
        with urlopen(Request(url, data=b"a", method="PUT")) as response:
            assert response.status == 201
        with urlopen(url) as response:
            assert response.read() == b"a"
        elsewhere = Request(url, headers={"Host": "evil.example"})
        with pytest.raises(HTTPError, match="421"):
            urlopen(elsewhere)
    finally:
        process.terminate()
        process.wait(60)


def wait_for_answer(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the URL is answered, whatever with."""
    while process.poll() is None:
        try:
            urlopen(url)
        except URLError as error:
            if not isinstance(error.reason, OSError):
                return
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the program ended")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel that was made from the checkout, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = folder.glob("chunkstore-*.whl")
    return wheel


def test_an_upgrade_installs_a_wheel_of_the_same_version(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    pip = f"{sys.executable} -m pip --python {tmp_path}/venv/bin/python"
    found = section_of("docs/operations.md: Upgrade").commands
    installs = [command for command in found if "pip install" in command]
    assert len(installs) == 2
    # Its packages would come from the network.
    environment = {**clean_environment(), "PIP_NO_INDEX": "yes", "PIP_NO_DEPS": "yes"}

    def upgrade() -> None:
        for command in installs:
            line = command.replace("sudo /opt/chunkstore/bin/pip", pip)
            subprocess.run(line, shell=True, check=True, cwd=wheel.parent, env=environment)

    upgrade()
    [program] = (tmp_path / "venv").rglob("chunkstore/__init__.py")
    now = program.read_bytes()
    program.write_bytes(b"# The old one, of the same number.")
    upgrade()
    assert program.read_bytes() == now


def test_the_wheel_has_all_that_serves(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    files = {path for path in (ROOT / "chunkstore").rglob("*") if path.is_file()}
    needed = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert needed <= shipped
    environment = {**clean_environment(), "PYTHONPATH": str(tmp_path / "installed")}
    module = "from chunkstore import cli; print(cli.__file__)"
    command = [sys.executable, "-c", module]
    shown = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert shown.startswith(str(tmp_path))
    command = [sys.executable, "-m", "chunkstore", "init", "--db", "new.db"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)


def test_the_wheel_brings_a_file_system(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = {**clean_environment(), "PYTHONPATH": str(tmp_path / "installed")}
    program = (
        "import fsspec\nfor scheme in ('chunkstore', 'chunkstores'):"
        " print(fsspec.get_filesystem_class(scheme).__name__)"
    )
    command = [sys.executable, "-c", program]
    shown = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert shown.split() == ["ChunkstoreFileSystem"] * 2
