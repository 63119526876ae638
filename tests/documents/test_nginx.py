"""Who may do what behind the nginx of docs/operations.md, and behind its variants."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.documents.blocks import file_block
from tests.documents.nginx import CONFIGURATION, HOST, PASSWORD, USER, nginx_before
from tests.process import served
from tests.programs import require_program

_LOGIN: Final = ("-u", f"{USER}:{PASSWORD}")
_LIMIT: Final = "limit_except GET {"

Ask = Callable[..., int]


@contextmanager
def asking(folder: Path, configuration: str) -> Iterator[Ask]:
    """Return what sends a request by curl through nginx and returns its status."""
    with (
        served(folder, "--allow-host", HOST) as server,
        nginx_before(folder, server.port, configuration) as substitutions,
    ):
        assert subprocess.run(
            ["curl", "-sfT", "-", f"{server.url}files/a"], input=b"a", check=False
        ).returncode == 0  # fmt: skip
        yield lambda path, *options: _status(substitutions, path, *options)


def _status(substitutions: Mapping[str, str], path: str, *options: str) -> int:
    *resolve, url = substitutions[f"https://{HOST}"].split()
    curl = [require_program("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code}", *resolve]
    command = [*curl, *(option.replace(f"https://{HOST}", url) for option in options), url + path]
    shown = subprocess.run(command, input=b"b", capture_output=True, check=True)
    return int(shown.stdout)


_BEGIN: Final = [
    "-XPOST", "-HTus-Resumable: 1.0.0", "-HUpload-Length: 5", "-HUpload-Metadata: filename Zg==",
]  # fmt: skip
# Each with the status that it has where it is allowed.
WRITES: Final[Sequence[tuple[int, Sequence[str]]]] = [
    (201, ["/files/b", "-T", "-"]),
    (201, ["/files/a", "-X", "COPY", "-H", "Destination: /files/c"]),
    (204, ["/files/a", "-X", "DELETE"]),
    (201, ["/files/", "-F", "file=@-;filename=d"]),
    (201, ["/files/e/", "-X", "MKCOL"]),
    (201, ["/uploads", *_BEGIN]),
]


def test_everybody_may_read_and_users_may_write(tmp_path: Path) -> None:
    with asking(tmp_path, file_block(CONFIGURATION)) as ask:
        for path in ("/", "/files/", "/files/a", "/health/ready"):
            assert ask(path) == ask(path, "-I") == 200
        for _, write in WRITES:
            assert ask(*write) == ask(*write, "-u", f"{USER}:wrong") == 401
        assert ask("/files/b") == 404
        for status, write in WRITES:
            assert ask(*write, *_LOGIN) == status


def test_a_destination_has_the_port_that_people_use(tmp_path: Path) -> None:
    # nginx listens on another port than 443.
    passed_on = "Host $http_host;"
    for folder, host, status in (("full", passed_on, 201), ("bare", "Host $host;", 502)):
        home = tmp_path / folder
        home.mkdir()
        configuration = file_block(CONFIGURATION)
        assert configuration.count(passed_on) == 1
        with asking(home, configuration.replace(passed_on, host)) as ask:
            destination = f"Destination: https://{HOST}/files/b"
            assert ask("/files/a", "-X", "COPY", "-H", destination, *_LOGIN) == status


def only_users() -> str:
    """Return the configuration with the first change that the document names."""
    lines = file_block(CONFIGURATION).splitlines()
    [start] = [number for number, line in enumerate(lines) if _LIMIT in line]
    end = lines.index("        }", start)
    return "\n".join(line for number, line in enumerate(lines) if number not in (start, end))


def nobody_writes() -> str:
    """Return the configuration with the second one."""
    first, second = [
        line for line in file_block(CONFIGURATION).splitlines() if "auth_basic" in line
    ]
    return file_block(CONFIGURATION).replace(first, "deny all;").replace(second, "")


def test_only_users_may_read(tmp_path: Path) -> None:
    with asking(tmp_path, only_users()) as ask:
        assert ask("/files/a") == 401
        assert ask("/files/a", *_LOGIN) == 200
        for _, write in WRITES:
            assert ask(*write) == 401


def test_nobody_may_write(tmp_path: Path) -> None:
    # With a password file that is not read any more.
    configuration = nobody_writes() + "# /etc/nginx\n"
    with asking(tmp_path, configuration) as ask:
        assert ask("/files/a") == 200
        for _, write in WRITES:
            assert ask(*write, *_LOGIN) == 403


@pytest.fixture(autouse=True)
def _programs() -> None:
    for program in ("nginx", "curl", "openssl"):
        require_program(program)
