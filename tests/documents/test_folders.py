"""The ways that the documents show for a whole folder bring back what went up."""

from __future__ import annotations

from pathlib import Path

from tests.documents.blocks import file_block, section_of
from tests.documents.shell import Shell


def commands(section: str) -> list[str]:
    """Return the commands of a section that are about the folder `build`."""
    return [command for command in section_of(section).commands if "build" in command]


def tree(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def put_more_than_a_page(machine: Shell) -> dict[str, bytes]:
    """Put more files into `build` than a page of a list has; return their contents."""
    machine.run("curl -T build/program 'http://127.0.0.1:8080/files/build/[0-1004]'")
    content = (machine.folder / "build" / "program").read_bytes()
    return {str(number): content for number in range(1005)}


def test_a_form_and_wget(machine: Shell) -> None:
    up, _, back, *_ = commands("docs/http.md: Many files")
    machine.run(up)
    # The second time it finds another content, of the same size and older.
    for content in (b"old", b"new"):
        (machine.folder / "build" / "changed").write_bytes(content)
        machine.run(up)
        machine.run(back)
        assert tree(machine.folder / "back" / "build") == tree(machine.folder / "build")


def test_wget_takes_names_on_all_pages_and_no_file_for_one(machine: Shell) -> None:
    up, _, back, *_ = commands("docs/http.md: Many files")
    machine.run(up)
    more = put_more_than_a_page(machine)
    machine.run(back)
    assert tree(machine.folder / "back" / "build") == tree(machine.folder / "build") | more


def test_many_requests_at_once(machine: Shell) -> None:
    _, many, back, *_ = commands("docs/http.md: Many files")
    machine.run(many)
    machine.run(back)
    assert tree(machine.folder / "back" / "build") == {
        name: content
        for name, content in tree(machine.folder / "build").items()
        if name in ("program", "index.html", "lib/plain.so")
    }


def test_export_and_import(machine: Shell) -> None:
    form, _, _, _, export, import_ = commands("docs/http.md: Many files")
    machine.run(form)
    machine.run(export)
    assert tree(machine.folder / "copy-of-build") == tree(machine.folder / "build")
    assert "of which 0 bytes were new" in machine.run(import_)


def test_a_program_for_all_names(machine: Shell) -> None:
    form, _, _, download, *_ = commands("docs/http.md: Many files")
    build = machine.folder / "build"
    for name in ("50%25", ".list", "? #&+;=", "~$'", " a ", "日本"):
        (build / name).write_text(name)
    machine.run(form)
    more = put_more_than_a_page(machine)
    machine.write("download.py", file_block("download.py"))
    machine.run(download)
    assert tree(machine.folder / "back" / "build") == tree(build) | more
