"""Every command that the documents show is run, as it stands there.

The commands of a section are run one after the other on a machine of its own (`Shell`). A block in
`json` behind them is what the last one prints, but for times. What cannot be run is listed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.documents.blocks import ROOT, Section, all_sections, section_of
from tests.documents.nginx import free_port, nginx_before
from tests.documents.shell import Shell, shell
from tests.postgres import Cluster

# Commands that are not run, each with the reason.
NOT_RUN: Final = {
    "python3 -m venv .venv && .venv/bin/pip install -q '.[server]' && .venv/bin/chunkstore serve": (
        "installs all packages anew, from the network; test_packages.py tries the wheel"
    ),
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest": (
        "runs this test; .ci/run takes it from README"
    ),
    "pip install tuspy": "comes from the network; it is a package that these tests have",
    "pip wheel --no-deps -w dist .": "takes a build system from the network; see test_packages.py",
    'pipx install "$(ls chunkstore-*.whl)[server]"': "installs all packages anew, from the network",
    "sudo python3 -m venv /opt/chunkstore": "needs root",
    'sudo /opt/chunkstore/bin/pip install "$(ls chunkstore-*.whl)[server]"': (
        "needs root and the network"
    ),
    "sudo /opt/chunkstore/bin/pip install --force-reinstall --no-deps chunkstore-*.whl": (
        "needs root; test_programs.py runs it in an environment of its own"
    ),
    "sudo ln -s /opt/chunkstore/bin/chunkstore /usr/local/bin/chunkstore": "needs root",
    "sudo useradd --system chunkstore": "needs root",
    'printf "alice:$(openssl passwd -apr1)\\n" | sudo tee -a /etc/nginx/chunkstore.users': (
        "asks for a password; the tests of nginx write one"
    ),
    **dict.fromkeys(
        section_of("docs/clients.md: desync").commands,
        "desync is in no registry; its requests are tried by test_stores_of_chunks.py",
    ),
    "sudo nginx -t && sudo systemctl reload nginx": "needs root; Shell starts nginx",
}
# Sections of which another test runs every command, because success alone says little.
RUN_ELSEWHERE: Final = {
    "docs/clients.md: ccache": "test_ccache",
    "docs/clients.md: Bazel": "test_bazel",
    "docs/clients.md: Turborepo": "test_turborepo",
    "docs/clients.md: Nx": "test_nx",
    "docs/clients.md: Nix": "test_nix",
    "docs/clients.md: casync": "test_casync",
    "docs/clients.md: zsync": "test_zsync",
    "docs/clients.md: zchunk": "test_zchunk",
    "docs/operations.md: Backup and restore": "test_backup_and_restore_bring_back_what_there_was",
    "docs/operations.md: Disk": "test_deleted_files_give_their_space_back",
    "docs/operations.md: Upgrade": "test_the_upgrade_can_be_taken_back",
    "docs/resumable.md: The IETF's draft": "test_the_draft_goes_on_where_it_was",
}
POSTGRES: Final = "postgresql://chunkstore@db.example/files"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_SECTIONS: Final = [
    section
    for section in all_sections()
    if set(section.commands) - set(NOT_RUN) and str(section) not in RUN_ELSEWHERE
]


def test_what_is_not_run_here_is_in_the_documents() -> None:
    sections = list(all_sections())
    assert set(NOT_RUN) <= {command for section in sections for command in section.commands}
    assert set(RUN_ELSEWHERE) <= {str(section) for section in sections}
    folders = (ROOT / "tests" / "documents", ROOT / "tests" / "clients")
    tests = [path.read_text() for folder in folders for path in folder.glob("test_*.py")]
    assert all(f"def {test}(" in "".join(tests) for test in RUN_ELSEWHERE.values())


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Return the machine for the section that is the test's parameter, with what it needs."""
    port = free_port()
    text = "\n".join(request.getfixturevalue("section").commands)
    substitutions: dict[str, str] = {}
    with ExitStack() as stack:
        if POSTGRES in text:
            cluster: Cluster = request.getfixturevalue("postgres")
            substitutions[POSTGRES] = cluster.create_database(f"documents{port}")
        if "https://" in text:
            substitutions |= stack.enter_context(nginx_before(tmp_path, port))
        yield stack.enter_context(shell(tmp_path, port, substitutions))


@pytest.mark.parametrize("section", _SECTIONS, ids=str)
def test_commands_work_as_they_stand(section: Section, machine: Shell) -> None:
    printed = ""
    for block, shown in zip(section.blocks, [*section.blocks[1:], None], strict=True):
        if block.file_name is not None:
            machine.write(block.file_name, block.text)
        if block.language != "sh":
            continue
        expected = json.loads(shown.text) if shown and shown.language == "json" else None
        for command in block.commands:
            if command not in NOT_RUN:
                printed = machine.run(command, may_fail=_tells_of_a_problem(expected))
        if expected is not None:
            assert _timeless(json.loads(printed)) == _timeless(expected)


def _tells_of_a_problem(expected: Mapping[str, Any] | None) -> bool:
    return expected is not None and "status" in expected and "type" in expected


def _timeless(value: object) -> object:
    return json.loads(_TIME.sub("TIME", json.dumps(value)))
