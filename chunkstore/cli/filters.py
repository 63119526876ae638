"""Options that say which files take part, in the order in which they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from chunkstore.cli.program import Command, Option
from chunkstore.cli.values import PATH
from chunkstore.client.sync.filters import Filter, Rule, read_rules

_GIVEN: Final = "chunkstore.rules"
_OPTIONS: Final = ("include", "exclude", "exclude_from")
_RULE: Final = {"include": Rule.including, "exclude": Rule.excluding}


class FilteringCommand(Command):
    """A command that knows in which order `--include`, `--exclude` and `--exclude-from` came."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The parser tells each option as often as it comes; the values are kept by option only.
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[_GIVEN] = [param.name for param in order if param.name in _OPTIONS]
        return super().parse_args(ctx, args)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--include`, `--exclude` and `--exclude-from`, for `filter_of`."""
    for option in (
        click.option(
            "--exclude-from",
            cls=Option,
            section="Which",
            multiple=True,
            type=PATH,
            metavar="FILE",
            help="Leave out what matches a line of FILE.",
        ),
        click.option(
            "--exclude",
            cls=Option,
            section="Which",
            multiple=True,
            metavar="GLOB",
            help="Leave out what matches GLOB, as '*.tmp', '/a/**' or 'node_modules/'.",
        ),
        click.option(
            "--include",
            cls=Option,
            section="Which",
            multiple=True,
            metavar="GLOB",
            help="Take what matches GLOB.",
        ),
    ):
        command = option(command)
    return command


def filter_of(
    ctx: click.Context, include: Sequence[str], exclude: Sequence[str], files: Sequence[Path]
) -> Filter:
    """Return the rules in the order in which they were given; those of the environment first.

    Raises:
        UsageError: one is no glob, or a file cannot be read.
    """
    given: dict[str, Iterator[Any]] = {
        "include": iter(include),
        "exclude": iter(exclude),
        "exclude_from": iter(files),
    }
    order = ctx.meta[_GIVEN]
    counts = Counter(order)
    from_environment = [
        name
        for name, values in (("include", include), ("exclude", exclude), ("exclude_from", files))
        for _ in range(len(values) - counts[name])
    ]
    rules: list[Rule] = []
    for name in [*from_environment, *order]:
        value = next(given[name])
        try:
            if name == "exclude_from":
                rules += read_rules(value)
            else:
                rules.append(_RULE[name](value))
        except ValueError as error:
            raise click.UsageError(f"{value}: {error}", ctx) from error
        except OSError as error:
            raise click.UsageError(f"{value}: {error.strerror or error}", ctx) from error
    return Filter(rules)
