"""The examples of docs/resumable.md go on where they were, and begin nothing anew."""

from __future__ import annotations

from tests.documents.blocks import file_block, section_of
from tests.documents.shell import Shell

# Runs a program whose upload is interrupted before its third request that brings bytes.
INTERRUPTED = """
import runpy, sys
from tusclient.uploader import Uploader

upload, count = Uploader.upload_chunk, 0

def upload_chunk(self):
    global count
    count += 1
    if count == 3:
        sys.exit("interrupted")
    upload(self)

Uploader.upload_chunk = upload_chunk
runpy.run_path("upload.py", run_name="__main__")
"""


def requests(machine: Shell, method: str) -> int:
    return machine.log.read_text().count(f'"{method} /uploads')


def test_the_program_for_tus_goes_on_where_it_was(machine: Shell) -> None:
    # Ten requests instead of one, for a file as small as this.
    machine.write("upload.py", file_block("upload.py").replace("16 * 1024 * 1024", "300_000"))
    machine.write("interrupted.py", INTERRUPTED)
    url = f"http://127.0.0.1:{machine.port}/files/models/model.bin"
    machine.run(f"! curl -o none {url.replace(str(machine.port), '8080')}")
    machine.run("python interrupted.py", may_fail=True)
    assert (requests(machine, "POST"), requests(machine, "PATCH")) == (1, 2)
    machine.run("python upload.py")
    assert (requests(machine, "POST"), requests(machine, "PATCH")) == (1, 10)
    machine.run(f"curl -o back.bin {url} && cmp back.bin model.bin")


def test_the_draft_goes_on_where_it_was(machine: Shell) -> None:
    begin, url_of, offset_of, patch, at_once = section_of(
        "docs/resumable.md: The IETF's draft"
    ).commands
    files = f"http://127.0.0.1:{machine.port}/files/models"
    for command in (begin, url_of, offset_of):
        machine.run(command)
    assert machine.run("echo $offset") == "1000000\n"
    machine.run(f"! curl -o none {files}/model.bin")
    machine.run(patch)
    machine.run(f"curl -o back.bin {files}/model.bin && cmp back.bin model.bin")
    assert "HTTP/1.1 104" in machine.run(at_once.replace("curl ", "curl -i ", 1))
