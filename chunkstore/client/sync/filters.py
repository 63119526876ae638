"""Which files of a tree take part: rules with globs, of which the first that matches decides.

A glob that begins with `/` is of the whole path below the root of the tree; another one is of the
end of it, from the beginning of a segment on. `*` and `?` match within a segment, `**` across
segments, `[a-z]` and `[!a-z]` one character, `{a,b}` either. `\\` takes the next character as it
is. A glob that ends in `/` is of everything in a folder. What no rule matches takes part, unless
all rules are to include: then it does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_IN_SEGMENT: Final = "[^/]"
_COMMENTS: Final = ("#", ";")


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether what a glob matches takes part."""

    glob: str
    include: bool
    pattern: re.Pattern[str]
    of_folder: bool

    @classmethod
    def including(cls, glob: str) -> Rule:
        """Return the rule that includes what `glob` matches.

        Raises:
            ValueError: it is no glob.
        """
        return cls(glob, include=True, pattern=_compile(glob), of_folder=_is_of_folder(glob))

    @classmethod
    def excluding(cls, glob: str) -> Rule:
        """Return the rule that excludes what `glob` matches.

        Raises:
            ValueError: it is no glob.
        """
        return cls(glob, include=False, pattern=_compile(glob), of_folder=_is_of_folder(glob))


@dataclass(frozen=True, slots=True)
class Filter:
    """Rules in their order."""

    rules: Sequence[Rule] = ()

    def includes(self, path: str) -> bool:
        """Whether the file at `path`, relative to the root of the tree, takes part."""
        for rule in self.rules:
            if rule.pattern.fullmatch(path):
                return rule.include
        return not self.rules or not all(rule.include for rule in self.rules)

    def excludes_folder(self, path: str) -> bool:
        """Whether nothing below the folder `path`, without a last `/`, can take part.

        False may also mean that this cannot be told without looking at its files.
        """
        for rule in self.rules:
            if rule.include:
                return False
            if rule.of_folder and rule.pattern.fullmatch(f"{path}/"):
                return True
        return False


EVERYTHING: Final = Filter()


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of a file that has a glob to exclude on each line.

    Empty lines and those that begin with `#` or `;` have no meaning. A line that begins with `+ `
    includes, one that begins with `- ` excludes, as in files of rclone and rsync.

    Raises:
        OSError: the file cannot be read; ValueError: a line is no glob, or is not UTF-8.
    """
    rules = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if text and not text.startswith(_COMMENTS):
            try:
                rules.append(_parse_line(text))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return rules


def _parse_line(text: str) -> Rule:
    if text.startswith("+ "):
        return Rule.including(text[2:].lstrip())
    return Rule.excluding(text.removeprefix("- ").lstrip())


def _is_of_folder(glob: str) -> bool:
    """Whether a glob that matches a folder's path and `/` matches everything below it, too."""
    return glob.endswith(("/", "/**")) or glob in ("**", "/**")


def _compile(glob: str) -> re.Pattern[str]:
    body = glob.removeprefix("/")
    if not body:
        raise ValueError("a glob has a character at least besides /")
    start = "" if glob.startswith("/") else "(?:.*/)?"
    stop = "**" if body.endswith("/") else ""
    return re.compile(start + _Translation(body + stop).pattern(), re.DOTALL)


class _Translation:
    """Translates one glob into a regular expression."""

    def __init__(self, glob: str) -> None:
        self._glob = glob
        self._at = 0
        self._depth = 0

    def pattern(self) -> str:
        """Return the expression.

        Raises:
            ValueError: a bracket, a brace or a backslash has no end.
        """
        parts = []
        while self._at < len(self._glob):
            parts.append(self._part(self._take()))
        if self._depth:
            raise ValueError(f"a {{ of {self._glob!r} is not closed")
        return "".join(parts)

    def _take(self) -> str:
        if self._at == len(self._glob):
            raise ValueError(f"{self._glob!r} ends within an expression")
        self._at += 1
        return self._glob[self._at - 1]

    def _next_is(self, character: str) -> bool:
        return self._glob.startswith(character, self._at)

    def _part(self, character: str) -> str:
        match character:
            case "*":
                return self._stars()
            case "?":
                return _IN_SEGMENT
            case "\\":
                return re.escape(self._take())
            case "[":
                return self._one_of()
            case "{":
                self._depth += 1
                return "(?:"
            case "}" if self._depth:
                self._depth -= 1
                return ")"
            case "," if self._depth:
                return "|"
        return re.escape(character)

    def _stars(self) -> str:
        if not self._next_is("*"):
            return f"{_IN_SEGMENT}*"
        while self._next_is("*"):
            self._at += 1
        return ".*"

    def _one_of(self) -> str:
        """Return a class of characters: `[!a-z]`; a `]` that comes first is one of them."""
        negated = self._next_is("!") or self._next_is("^")
        self._at += negated
        members: list[str] = []
        while not (members and self._next_is("]")):
            members.append(self._member())
        self._at += 1
        inner = "".join(members)
        return f"(?!/)[^{inner}]" if negated else f"(?!/)[{inner}]"

    def _member(self) -> str:
        low = self._literal()
        if not self._next_is("-") or self._glob.startswith("-]", self._at):
            return re.escape(low)
        self._at += 1
        high = self._literal()
        if high < low:
            raise ValueError(f"{low}-{high} of {self._glob!r} is no range of characters")
        return f"{re.escape(low)}-{re.escape(high)}"

    def _literal(self) -> str:
        character = self._take()
        return self._take() if character == "\\" else character
