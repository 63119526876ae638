"""What the commands of docs/operations.md come to, where success alone says little."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

from tests.documents.blocks import ROOT, section_of
from tests.documents.shell import Shell


def commands(title: str) -> list[str]:
    """Return the commands of a section."""
    return section_of(f"docs/operations.md: {title}").commands


def test_backup_and_restore_bring_back_what_there_was(machine: Shell) -> None:
    found = commands("Backup and restore")
    start, put, back_up, scrub, try_it, stats, stop, restore, *rest = found
    start_again, health, get, again, remove, serve = rest
    url = f"http://127.0.0.1:{machine.port}/files"
    for command in (start, put):
        machine.run(command)
    assert re.fullmatch(r"Copied 12 new chunks, .*\n", machine.run(back_up))
    assert "all whole" in machine.run(scrub)
    machine.run(try_it)
    assert re.search(r"^files +1$", machine.run(stats), re.MULTILINE)
    machine.run(f"printf x | curl -T - {url}/lost")
    machine.run(stop)
    assert "is kept as" in machine.run(restore)
    machine.run(start_again)
    assert '"status": "ok"' in machine.run(health)
    machine.run(get)
    assert (machine.folder / "back.bin").read_bytes() == (machine.folder / "model.bin").read_bytes()
    assert (
        machine.run(f"curl -s -o /dev/null -w '%{{http_code}}' {url}/lost", may_fail=True) == "404"
    )
    machine.run(f"printf b | curl -T - {url}/b")
    assert machine.run(again) == "Copied 1 new chunk, 1 bytes.\n"
    machine.run(remove)
    assert not list(machine.folder.rglob("*before*"))
    machine.run(serve)
    assert machine.run(f"curl {url}/b") == "b"


def test_the_line_for_cron_is_the_backup_that_was_tried() -> None:
    section = section_of("docs/operations.md: Backup and restore")
    [line] = [block.text for block in section.blocks if block.language == "cron"]
    command = line.split(maxsplit=5)[5].strip().removeprefix("/usr/local/bin/")
    assert f"sudo -u chunkstore {command}" in section.commands


def test_a_line_of_the_log_looks_like_that(machine: Shell) -> None:
    line = section_of("docs/operations.md: Logs").blocks[0].text
    machine.run("curl http://127.0.0.1:8080/stats")
    numbers = re.compile(r"\b[0-9a-f]{16}$|\d+", re.MULTILINE)
    assert numbers.sub("0", line) in numbers.sub("0", machine.log.read_text())


def test_the_fields_of_readiness_are_those(machine: Shell) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("on these fields of it:")[2].partition("The fields of")[0]
    told = json.loads(machine.run("curl http://127.0.0.1:8080/health/ready"))
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(told)


def test_deleted_files_give_their_space_back(machine: Shell) -> None:
    start, put, delete, collect = commands("Disk")
    database = machine.folder / "var/lib/chunkstore/files.db"
    for command in (start, put, delete):
        machine.run(command)
    log = database.with_name("files.db-wal")
    assert database.stat().st_size + log.stat().st_size > 3_000_000
    assert "12 chunks" in machine.run(collect)
    machine.run("sudo systemctl stop chunkstore")
    assert database.stat().st_size < 500_000


def test_the_upgrade_can_be_taken_back(machine: Shell) -> None:
    found = [command for command in commands("Upgrade") if "pip install" not in command]
    start, back_up, stop, start_again, health, stats, usual = found
    machine.run(start)
    machine.run(f"printf a | curl -T - http://127.0.0.1:{machine.port}/files/a")
    assert "Copied 1 new chunk" in machine.run(back_up)
    for command in (stop, start_again, health):
        machine.run(command)
    versions = json.loads(machine.run(stats))["versions"]
    assert versions["chunkstore"] == version("chunkstore")
    assert "schema" in versions
    machine.run(usual)
    machine.run(stop)
    [restore] = [one for one in commands("Backup and restore") if "restore --db /var" in one]
    machine.run(restore.replace("/mnt/backup/files.db", "/mnt/backup/before.db"))
    machine.run(start)
    assert machine.run(f"curl http://127.0.0.1:{machine.port}/files/a") == "a"
