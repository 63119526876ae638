"""The ways that the documents show for a whole folder bring back what went up."""

from __future__ import annotations

from pathlib import Path

from tests.documents.blocks import section_of
from tests.documents.shell import Shell


def commands(section: str) -> list[str]:
    """Return the commands of a section that are about the folder `build`."""
    return [command for command in section_of(section).commands if "build" in command]


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder, but for pages that wget leaves."""
    files = [path for path in folder.rglob("*") if path.is_file() and "index.html" not in path.name]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_form_and_wget(machine: Shell) -> None:
    up, back = commands("README.md: Quick start")
    machine.run(up)
    machine.run(back)
    assert tree(machine.folder / "files" / "build") == tree(machine.folder / "build")


def test_many_requests_at_once(machine: Shell) -> None:
    _, many, back, *_ = commands("docs/http.md: Many files")
    machine.run(many)
    machine.run(back)
    assert tree(machine.folder / "files" / "build") == {
        name: content
        for name, content in tree(machine.folder / "build").items()
        if name in ("program", "lib/plain.so")
    }


def test_export_and_import(machine: Shell) -> None:
    form, _, _, export, import_ = commands("docs/http.md: Many files")
    machine.run(form)
    machine.run(export)
    assert tree(machine.folder / "copy-of-build") == tree(machine.folder / "build")
    assert "of which 0 bytes were new" in machine.run(import_)
