"""The wheel and the sdist, each in an environment that has nothing but what it asks for."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.documents.blocks import ROOT
from tests.process import clean_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT: tuple[str, ...] = tuple(PROJECT["dependencies"])
SERVER: tuple[str, ...] = (*CLIENT, *PROJECT["optional-dependencies"]["server"])


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an sdist of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    [sdist] = folder.glob("chunkstore-*.tar.gz")
    return sdist


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Return the wheel that pip makes of the sdist, without the network."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "-w", str(sdist.parent), str(sdist)]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = sdist.parent.glob("chunkstore-*.whl")
    return wheel


def closure_of(texts: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of all packages that these requirements come to here."""
    seen, wanted = set[str](), [(Requirement(text), "") for text in texts]
    while wanted:
        requirement, extra = wanted.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in seen:
            seen.add(name)
            yield name
        needed = distribution(name).requires or ()
        if (key := f"{name}[{','.join(sorted(requirement.extras))}]") not in seen:
            seen.add(key)
            for inner in requirement.extras or {""}:
                wanted += [(Requirement(text), inner) for text in needed]


def environment(folder: Path, wheel: Path, texts: tuple[str, ...]) -> Path:
    """Make an environment that has these packages, linked, and the wheel; return its programs."""
    venv.create(folder)
    [site] = (folder / "lib").glob("python*/site-packages")
    for name in closure_of(texts):
        for file in distribution(name).files or ():
            source = Path(str(distribution(name).locate_file(file)))
            if ".." in file.parts or not source.is_file():
                continue
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(source, target)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    command += ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True)
    return folder / "bin"


def run(programs: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(programs / "chunkstore"), *arguments],
        env=bare(), cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def bare() -> dict[str, str]:
    """Return an environment by which no program finds the checkout."""
    return {**clean_environment(), "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}


def test_the_sdist_has_all_that_the_wheel_is_made_of(sdist: Path, wheel: Path) -> None:
    with tarfile.open(sdist) as archive:
        packed = {one.name.partition("/")[2] for one in archive if one.isfile()}
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    assert {name for name in tracked if name.startswith(("chunkstore/", "docs/"))} <= packed
    assert {"LICENSE", "README.md", "CHANGELOG.md", "deploy/Containerfile"} <= packed
    assert not {name for name in packed if name.endswith((".db", ".pyc")) or ".hypothesis" in name}
    with zipfile.ZipFile(wheel) as wheeled:
        names = {name for name in wheeled.namelist() if name.startswith("chunkstore/")}
    assert names == {name for name in packed if name.startswith("chunkstore/")}


def test_the_server_works_with_what_it_asks_for(wheel: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "venv", wheel, SERVER)
    command = [str(programs / "chunkstore"), "serve", "--port", "0", "--metrics", "127.0.0.1:0"]
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(
        command, cwd=tmp_path, env=bare(), stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        with urlopen(Request(f"{url}files/a", data=b"hello", method="PUT")) as response:
            assert response.status == 201
        with urlopen(f"{url}files/") as response:
            assert response.status == 200
        # The client of a machine that has no server.
        client = environment(tmp_path / "client", wheel, CLIENT)
        (tmp_path / "b").write_bytes(b"there")
        pushed = run(client, tmp_path, "push", "b", f"{url}files/b")
        assert pushed.returncode == 0, pushed.stderr
        pulled = run(client, tmp_path, "pull", f"{url}files/a", "c")
        assert pulled.returncode == 0, pulled.stderr
        assert (tmp_path / "c").read_bytes() == b"hello"
        refused = run(client, tmp_path, "serve")
        assert refused.returncode == 1
        assert "Only the client is installed here" in refused.stderr
    finally:
        server.terminate()
        server.communicate(timeout=60)
        log.close()
    assert server.returncode == 0
