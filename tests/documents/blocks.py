"""What stands in the documents: sections, their blocks of code, and the commands in these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
)

# Within a list it is indented.
_BLOCK: Final = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
# A block that is the content of a file names it in its first line.
_FILE_NAME: Final = re.compile(r"(?:# |<!-- )(\S*\w\.\w+)\s*\n")
_UNFINISHED: Final = ("\\", "|")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code, in a language as `sh` or `json`."""

    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The name of the file that the block is the content of, None if it is none."""
        match = _FILE_NAME.match(self.text) if self.language != "sh" else None
        return match and match[1]

    @property
    def commands(self) -> Sequence[str]:
        """The commands of a block in `sh`, each with the lines that go on with it."""
        commands: list[str] = []
        unfinished = False
        for line in self.text.splitlines():
            if unfinished:
                commands[-1] += "\n" + line
            elif line and not line.startswith("#"):
                commands.append(line)
            else:
                continue
            unfinished = line.endswith(_UNFINISHED)
        return commands


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a document, from its `## ` heading to the next."""

    document: str
    title: str
    blocks: Sequence[Block]

    def __str__(self) -> str:
        """Return how reports of tests call it."""
        return f"{self.document}: {self.title}"

    @property
    def commands(self) -> list[str]:
        """All commands of the section, in their order."""
        return [
            command for block in self.blocks if block.language == "sh" for command in block.commands
        ]


def read_sections(document: Path) -> Iterator[Section]:
    """Yield the sections of a document; what stands before the first is one with its name."""
    name = document.relative_to(ROOT).as_posix()
    parts = _SECTION.split(document.read_text(encoding="utf-8"))
    for title, text in zip([document.stem, *parts[1::2]], parts[::2], strict=True):
        yield Section(name, title, list(_blocks(text)))


def _blocks(text: str) -> Iterator[Block]:
    for _, language, content in _BLOCK.findall(text):
        yield Block(language, dedent(content))


def all_sections() -> Iterator[Section]:
    """Yield the sections of all documents."""
    for document in DOCUMENTS:
        yield from read_sections(document)


def section_of(name: str) -> Section:
    """Return the section that reports call `name`, as `docs/http.md: Lists`."""
    [section] = [section for section in all_sections() if str(section) == name]
    return section


def file_block(name: str) -> str:
    """Return the one block of all documents that is the content of the file `name`."""
    [text] = [
        block.text
        for section in all_sections()
        for block in section.blocks
        if block.file_name == name
    ]
    return text
