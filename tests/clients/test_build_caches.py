"""Build caches: what one machine has built, another one takes from the server.

The commands are those of docs/clients.md, and the programs are real, but for Gradle.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.clients.conftest import Machine
from tests.documents.blocks import section_of
from tests.process import served
from tests.programs import require_node_package, require_program

BUILD = "mkdir -p dist && echo built > dist/out"
GRADLE_TYPE = "application/vnd.gradle.build-cache-artifact.v2"


def write_tree(folder: Path, files: Mapping[str, object]) -> None:
    """Write files; what is no text becomes JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def install_from_npm(machine: Machine, package: str, program: str) -> Path:
    """Let commands find the program of a package; return the folder of all packages."""
    modules = require_node_package(package) / "node_modules"
    machine.install(program, str(modules / ".bin" / program))
    return modules


@pytest.mark.parametrize("layout", ["", "|layout=bazel"])
def test_ccache(machine: Machine, layout: str) -> None:
    for program in ("ccache", "cc"):
        require_program(program)
    write_tree(machine.folder, {"program.c": "int seven(void) { return 7; }\n"})
    hits = []
    for cache in ("here", "there"):
        machine.run(
            "ccache", f"export CCACHE_DIR=$PWD/{cache}", replacing=("ccache'", f"ccache{layout}'")
        )
        stats = machine.shell.run(f"CCACHE_DIR=$PWD/{cache} ccache --print-stats")
        hits += re.findall(r"^remote_storage_hit\t(\d+)$", stats, re.MULTILINE)
        assert "remote_storage_error\t0" in stats
        (machine.folder / "program.o").unlink()
    assert hits == ["0", "1"]
    told = [(one.method, one.status) for one in machine.requests()]
    assert told == [("GET", 404)] * 2 + [("PUT", 201)] * 2 + [("GET", 200)] * 2


def test_bazel(machine: Machine) -> None:
    modules = require_node_package("@bazel/bazel-linux_x64") / "node_modules"
    # Without a server of its own, which would stay.
    machine.install(
        "bazel", str(modules / ".bin" / "bazel"), "--output_user_root=$HOME/bazel", "--batch"
    )
    rule = 'genrule(name = "out", outs = ["dist/out"], cmd = "echo built > $@")\n'
    printed = []
    for place in ("here", "there"):
        write_tree(machine.folder / place, {"WORKSPACE": "", "BUILD": rule})
        printed.append(machine.run("Bazel", f"cd {place}"))
        assert (machine.folder / place / "bazel-bin/dist/out").read_text() == "built\n"
    assert ["remote cache hit" in text for text in printed] == [False, True]
    told = machine.requests()
    assert {one.status for one in told if one.method == "PUT"} == {201}
    assert any(one.path.startswith("/files/bazel/ac/") for one in told if one.status == 200)
    shutil.rmtree(machine.folder / "bazel")


@pytest.mark.parametrize("signed", [False, True])
def test_turborepo(machine: Machine, signed: bool) -> None:
    modules = install_from_npm(machine, "turbo", "turbo")
    lock = {"": {"workspaces": ["a"]}, "a": {}, "node_modules/a": {"resolved": "a", "link": True}}
    workspace: Mapping[str, object] = {
        "package.json": {"name": "w", "packageManager": "npm@10.0.0", "workspaces": ["a"]},
        "package-lock.json": {"name": "w", "lockfileVersion": 3, "packages": lock},
        "turbo.json": {
            "tasks": {"build": {"outputs": ["dist/**"]}},
            "remoteCache": {"signature": signed},
        },
        "a/package.json": {"name": "a", "version": "1.0.0", "scripts": {"build": BUILD}},
    }
    settings = "export TURBO_TELEMETRY_DISABLED=1 TURBO_REMOTE_CACHE_SIGNATURE_KEY=secret"
    printed = []
    for place in ("here", "there"):
        write_tree(machine.folder / place, workspace)
        (machine.folder / place / "node_modules").symlink_to(modules)
        printed.append(machine.run("Turborepo", f"cd {place}\n{settings}"))
        assert (machine.folder / place / "a/dist/out").read_text() == "built\n"
    assert all("Remote caching enabled" in text for text in printed)
    # The document says that signatures are not kept.
    assert ["cache hit" in text for text in printed] == [False, not signed]
    told = {(one.method, one.status) for one in machine.requests()}
    assert told == {("PUT", 201), ("PUT", 200), ("GET", 404), ("GET", 200), ("POST", 400)}


def test_nx(machine: Machine) -> None:
    modules = install_from_npm(machine, "nx", "nx")
    target = {"cache": True, "outputs": ["{projectRoot}/dist"]}
    workspace: Mapping[str, object] = {
        "package.json": {
            "name": "w", "scripts": {"build": BUILD}, "nx": {"targets": {"build": target}},
        },
        "nx.json": {"analytics": False},
        ".gitignore": "dist\n",
    }  # fmt: skip
    settings = "export NX_DAEMON=false NX_TUI=false NX_NO_CLOUD=true"
    printed = []
    for place in ("here", "there"):
        write_tree(machine.folder / place, workspace)
        (machine.folder / place / "node_modules").symlink_to(modules)
        printed.append(machine.run("Nx", f"cd {place}\n{settings}"))
        assert (machine.folder / place / "dist/out").read_text() == "built\n"
    assert ["remote cache" in text for text in printed] == [False, True]
    told = [(one.method, one.status) for one in machine.requests()]
    # After a 201 it would send everything again.
    assert told == [("GET", 404), ("PUT", 200), ("GET", 200)]


def test_nix(machine: Machine) -> None:
    machine.install("nix", require_program("nix"), "--extra-experimental-features", "nix-command")
    here, there = [f'NIX_REMOTE="local?root=$PWD/{place}"\n' for place in ("here", "there")]
    machine.run("Nix", here, replacing=("nix copy --from", f"{there}nix copy --from"))
    [copied] = (machine.folder / "there/nix/store").glob("*-build")
    assert (copied / "program").read_bytes() == (machine.folder / "build/program").read_bytes()
    told = {(one.method, one.status) for one in machine.requests()}
    assert told == {("GET", 404), ("HEAD", 404), ("PUT", 201), ("GET", 200)}


def test_what_gradle_asks(tmp_path: Path) -> None:
    # As gradle/gradle has it, HttpBuildCacheService.java: a miss is 404, success any 2xx.
    [block] = section_of("docs/clients.md: Gradle").blocks
    [address] = re.findall(r'uri\("(\S+)"\)', block.text)
    key, content = "0123456789abcdef0123456789abcdef", b"entry"
    with served(tmp_path, "--max-file-size", "1MiB") as server:
        entry = address.replace(":8080", f":{server.port}") + key
        load = Request(entry, headers={"Accept": f"{GRADLE_TYPE}, */*"})
        with pytest.raises(HTTPError, match="404"):
            urlopen(load)
        for status in (201, 200):
            store = Request(entry, content, {"Content-Type": GRADLE_TYPE}, method="PUT")
            with urlopen(store) as response:
                assert response.status == status
        with urlopen(load) as response:
            assert (response.status, response.read()) == (200, content)
        large = tmp_path / "large"
        large.write_bytes(bytes(2 * 1024 * 1024))
        curl = [require_program("curl"), "-s", "-w", "%{http_code} %{size_upload}", "-o", "answer"]
        expecting = ["-H", "Expect: 100-continue", "-T", str(large), entry]
        shown = subprocess.run([*curl, *expecting], cwd=tmp_path, capture_output=True, check=True)
        assert shown.stdout == b"413 0"
