"""`chunkstore remote` and `chunkstore cache`: what the client keeps on this machine.

What they need is imported when they run, so that `--help` does not wait for it.
"""

from __future__ import annotations

from datetime import datetime

import click

from chunkstore.cli.client_program import ended_by
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.values import DURATION
from chunkstore.client.errors import ConditionFailed, Missing
from chunkstore.core.units import format_count, format_size


@click.group("remote", context_settings=SETTINGS, short_help="Give servers short names.")
def remote_command() -> None:
    """Give servers short names, so that NAME:models/ is a place on one."""


@remote_command.command("add", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@click.argument("url")
@ended_by
def add_command(name: str, url: str) -> None:
    """Call the server, or the folder on it, at URL by NAME."""
    from chunkstore.client.credentials import without_credentials
    from chunkstore.client.remotes import read_remotes, write_remotes

    remotes = read_remotes()
    if name in remotes:
        raise ConditionFailed(
            f"{name} is {without_credentials(remotes[name])} already; `chunkstore remote rm` it."
        )
    write_remotes({**remotes, name: url})


@remote_command.command("ls", cls=Command, context_settings=SETTINGS)
@ended_by
def list_command() -> None:
    """List the names, each with its URL, without passwords."""
    from chunkstore.client.credentials import without_credentials
    from chunkstore.client.remotes import read_remotes

    remotes = read_remotes()
    width = max(map(len, remotes), default=0)
    for name, url in sorted(remotes.items()):
        click.echo(f"{name:{width}}  {without_credentials(url)}")


@remote_command.command("rm", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@ended_by
def remove_command(name: str) -> None:
    """Forget NAME."""
    from chunkstore.client.remotes import read_remotes, write_remotes

    remotes = read_remotes()
    if name not in remotes:
        raise Missing(f"There is no remote {name!r}.")
    del remotes[name]
    write_remotes(remotes)


@click.group("cache", context_settings=SETTINGS, short_help="Look after the digest cache.")
def cache_command() -> None:
    """Look after the digest cache, by which files are not read again that have not changed."""


@cache_command.command("ls", cls=Command, context_settings=SETTINGS)
@click.option("--files", cls=Option, is_flag=True, help="List each file, those used last first.")
def list_cache_command(*, files: bool) -> None:
    """Tell where the cache is, how many files it knows and how large it is."""
    from chunkstore.client.cache import DigestCache

    cache = DigestCache()
    known = cache.files()
    for file in known if files else ():
        used = f"{datetime.fromtimestamp(file.used).astimezone():%Y-%m-%d %H:%M}"
        click.echo(f"{file.digest}  {format_size(file.size):>11}  {used}  {file.path}")
    click.echo(f"{cache.path}: {format_count(len(known), 'file')}, {format_size(cache.size())}")
    cache.close()


@cache_command.command("prune", cls=Command, context_settings=SETTINGS)
@click.option(
    "--older-than",
    "seconds",
    cls=Option,
    type=DURATION,
    default="30d",
    help="Forget what was not used for so long; 0 for everything.",
)
def prune_cache_command(seconds: float) -> None:
    """Forget files that were not used lately; they are read again when they are needed."""
    from chunkstore.client.cache import DigestCache

    cache = DigestCache()
    count = cache.prune(seconds)
    click.echo(f"Forgot {count:,} files and lists.")
    cache.close()
