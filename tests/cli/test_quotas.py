"""`chunkstore quota` and `audit`, as people run them: alone, beside a server, on PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_access import PASSWORD, result, run
from tests.cli.test_command_line import fails_with_one_line
from tests.postgres import Cluster
from tests.process import run_command, served


def use(folder: Path, *db: str) -> None:
    """Go through the commands."""
    made = result(folder, "quota", "set", "d", "--size", "10GB", "--files", "3", *db)
    assert made == {
        "folder": "/d/", "max_size": 10**10, "max_files": 3, "size": 0, "files": 0
    }  # fmt: skip
    result(folder, "quota", "set", "/", "--size", "1 MiB", *db)
    shown = run(folder, "quota", "ls", *db)
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["folder", "size", "max_size", "files", "max_files"],
        ["/", "0", "1.0", "MiB", "0", "-"],
        ["/d/", "0", "9.3", "GiB", "0", "3"],
    ]
    assert [quota["folder"] for quota in result(folder, "stats", *db)["quotas"]] == ["/", "/d/"]
    assert "/d/: 0 bytes of 9.3 GiB, 0 files of 3" in run(folder, "stats", *db).stdout
    result(folder, "quota", "remove", "d/", *db)
    # Nothing of that is told before there are accounts.
    assert run(folder, "audit", *db).stdout == ""
    result(folder, "user", "add", "anna", "--admin", *db, text=PASSWORD)
    result(folder, "quota", "set", "/d/e/", "--files", "7", *db)
    lines = run(folder, "audit", "--json", *db).stdout.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["user add", "quota set"]
    [line] = run(folder, "audit", "--name", "d/", "--since", "2020-01-01", *db).stdout.splitlines()
    assert line.endswith("- (command line) quota set /d/e/ files=7")


def test_quotas_and_the_audit_log_without_a_server(tmp_path: Path) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    use(tmp_path)
    assert "has no quota" in fails_with_one_line(run(tmp_path, "quota", "remove", "d"))
    for wrong in ([], ["--size", "-1"], ["--files", "-1"], ["--size", str(2**63)]):
        assert run(tmp_path, "quota", "set", "d", *wrong).returncode != 0, wrong
    assert run(tmp_path, "quota", "set", "../d", "--size", "1").returncode != 0
    assert "no time like" in fails_with_one_line(run(tmp_path, "audit", "--since", "soon"))


def test_quotas_and_the_audit_log_beside_a_server(tmp_path: Path) -> None:
    with served(tmp_path):
        use(tmp_path)


def test_quotas_and_the_audit_log_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.create_database("quotas_and_audit")
    assert run_command(tmp_path, "init", "--db", url).returncode == 0
    use(tmp_path, "--db", url)
