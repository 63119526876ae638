"""What `deploy/` has for containers fits the program; its own tools check the form."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chunkstore.cli.serve import serve_command
from chunkstore.server.config import ServeConfig
from tests.documents.blocks import ROOT
from tests.process import clean_environment, served

DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final = (DEPLOY / "compose.yaml", DEPLOY / "compose.postgres.yaml")
KUBERNETES: Final = (DEPLOY / "kubernetes.yaml", DEPLOY / "kubernetes.postgres.yaml")
LOCKS: Final = (DEPLOY / "requirements.txt", DEPLOY / "build-requirements.txt")
CONTAINERFILE: Final = (DEPLOY / "Containerfile").read_text()
# What compose takes from its own environment.
GIVEN: Final = {"SITE": "files.example.org"}


def run_tool(*command: str) -> None:
    """Run a program of the development environment, which must find nothing."""
    found = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_containerfile_has_no_finding_of_hadolint() -> None:
    run_tool("hadolint", str(DEPLOY / "Containerfile"))


def test_the_compose_files_are_of_the_specification() -> None:
    run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, COMPOSE))


def test_kubernetes_knows_its_resources() -> None:
    run_tool("kubernetes-validate", "--strict", *map(str, KUBERNETES))


def containers() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the environment of each container that serves."""
    variables = dict(re.findall(r"(CHUNKSTORE_\w+)=(\S+)", CONTAINERFILE))
    yield "Containerfile", variables
    for path in COMPOSE:
        given = yaml.safe_load(path.read_text())["services"]["chunkstore"]["environment"]
        filled = {name: re.sub(r"\$\{(\w+).*?\}", lambda m: GIVEN[m[1]], value)
                  for name, value in given.items()}  # fmt: skip
        yield path.name, {**variables, **filled}
    for path in KUBERNETES:
        for pod in pods_in(path):
            [container] = pod["containers"]
            listed = {one["name"]: one["value"] for one in container["env"]}
            yield path.name, {**variables, **listed}


def pods_in(path: Path) -> Iterator[dict[str, Any]]:
    for resource in yaml.safe_load_all(path.read_text()):
        if resource["kind"] in ("StatefulSet", "Deployment"):
            yield resource["spec"]["template"]["spec"]


@pytest.mark.parametrize(("name", "given"), list(containers()))
def test_each_variable_is_an_option_and_its_value_one(
    name: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = {str(p.envvar): p for p in serve_command.params if isinstance(p, click.Option)}
    for variable, value in given.items():
        assert variable.removesuffix("_FILE") in options
        told = value
        if variable.endswith("_FILE"):
            secret = tmp_path / "secret"
            secret.write_text("postgresql://u:p@host/db\n")
            told = str(secret)
        monkeypatch.setenv(variable, told)
    config = ServeConfig(**serve_command.make_context("serve", []).params)
    assert config.host == "0.0.0.0"
    if name.endswith(".postgres.yaml"):
        assert config.db == "postgresql://u:p@host/db"


def grace_seconds() -> Iterator[tuple[float, float]]:
    """Yield how long each platform waits for the end, and how long the server may take."""
    shutdown = 30.0
    compose = yaml.safe_load(COMPOSE[0].read_text())["services"]["chunkstore"]
    drain = float(compose["environment"]["CHUNKSTORE_DRAIN"].removesuffix("s"))
    yield float(compose["stop_grace_period"].removesuffix("s")), drain + shutdown
    for path in KUBERNETES:
        for pod in pods_in(path):
            listed = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
            drain = float(listed["CHUNKSTORE_DRAIN"].removesuffix("s"))
            yield pod["terminationGracePeriodSeconds"], drain + shutdown


def test_nobody_kills_a_server_that_ends_its_requests() -> None:
    waits = list(grace_seconds())
    assert len(waits) == 3
    for patience, needed in waits:
        assert patience > needed


def test_no_container_has_rights_that_it_does_not_need() -> None:
    assert re.search(r"^USER \d+:\d+$", CONTAINERFILE, re.MULTILINE)
    compose = yaml.safe_load(COMPOSE[0].read_text())["services"]["chunkstore"]
    assert compose["read_only"]
    assert compose["cap_drop"] == ["ALL"]
    assert "ports" not in compose
    for path in KUBERNETES:
        for pod in pods_in(path):
            assert pod["securityContext"]["runAsNonRoot"]
            for container in (*pod["initContainers"], *pod["containers"]):
                rights = container["securityContext"]
                assert rights["readOnlyRootFilesystem"]
                assert not rights["allowPrivilegeEscalation"]
                assert rights["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_a_pod_adds_the_first_account_and_starts_again(path: Path, tmp_path: Path) -> None:
    for pod in pods_in(path):
        [container] = pod["initContainers"]
        shell, option, script = container["command"]
        secret = tmp_path / "password"
        secret.write_text("correct horse battery")
        command = script.replace("/run/secrets/admin/password", str(secret))
        path_of_program = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        for _ in range(2):
            subprocess.run(
                [shell, option, command],
                cwd=tmp_path,
                env={**clean_environment(), "PATH": path_of_program},
                check=True,
            )
        with served(tmp_path, "--host", "0.0.0.0"):
            pass


def test_all_that_the_image_copies_is_sent_to_its_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    for line in re.findall(r"^COPY ((?!--).+)$", CONTAINERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert any(Path(source).match(one) for one in sent), source
            assert (ROOT / source).exists()


def locked_in(path: Path) -> dict[str, list[tuple[str, str | None]]]:
    """Return the versions of each package, with the marker of each, and check their digests."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    for entry in re.split(r"\n(?=\w)", path.read_text()):
        if entry.startswith("#"):
            continue
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
        match = re.match(r"([\w.-]+)==([\w.]+)(?: ; ([^\\]+?))? \\", entry)
        assert match is not None, entry
        name, pinned, marker = match.groups()
        found.setdefault(canonicalize_name(name), []).append((pinned, marker))
    return found


def needed_by(path: Path) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if path.name.startswith("build"):
        return [Requirement(one) for one in project["build-system"]["requires"]]
    extra = project["project"]["optional-dependencies"]["server"]
    return [Requirement(one) for one in (*project["project"]["dependencies"], *extra)]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_the_lock_has_what_the_project_needs(path: Path) -> None:
    locked = locked_in(path)
    wanted, seen = needed_by(path), set[str]()
    assert wanted
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        # Also what only another version of Python needs.
        assert name in locked, f"deploy/lock.sh has to run: {requirement}"
        for pinned, _ in locked[name]:
            assert requirement.specifier.contains(pinned), f"deploy/lock.sh has to run: {name}"
        if name not in seen:
            seen.add(name)
            wanted += needed_here_by(name, {pinned for pinned, _ in locked[name]})
    assert seen == set(locked)


def needed_here_by(name: str, versions: set[str]) -> Iterator[Requirement]:
    """Yield what a package needs, as far as that version of it is installed."""
    try:
        if version(name) not in versions:
            return
    except PackageNotFoundError:
        return
    for text in requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def test_python_of_the_image_is_one_that_the_project_takes() -> None:
    images = re.findall(r"^FROM python:(\d+\.\d+)-slim", CONTAINERFILE, re.MULTILINE)
    assert len(images) == 2
    assert len(set(images)) == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(f"{images[0]}.0")
    assert json.loads(re.findall(r"^CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)[0]) == ["serve"]
