"""The program `chunkstore`: which commands there are."""

from __future__ import annotations

import sys
from typing import Final

import click

import chunkstore
from chunkstore.cli.program import SETTINGS, Program

_MODULES: Final = {
    "allow": "chunkstore.cli.access",
    "audit": "chunkstore.cli.audit",
    "backup": "chunkstore.cli.backups",
    "cache": "chunkstore.cli.remotes",
    "cat": "chunkstore.cli.exchange",
    "collect": "chunkstore.cli.administration",
    "copy": "chunkstore.cli.transfer",
    "cp": "chunkstore.cli.names",
    "export": "chunkstore.cli.transfer",
    "group": "chunkstore.cli.access",
    "health": "chunkstore.cli.health",
    "import": "chunkstore.cli.transfer",
    "init": "chunkstore.cli.administration",
    "link": "chunkstore.cli.links",
    "locks": "chunkstore.cli.locks",
    "ls": "chunkstore.cli.names",
    "mv": "chunkstore.cli.names",
    "pull": "chunkstore.cli.exchange",
    "push": "chunkstore.cli.exchange",
    "quota": "chunkstore.cli.quotas",
    "remote": "chunkstore.cli.remotes",
    "restore": "chunkstore.cli.backups",
    "rm": "chunkstore.cli.names",
    "rules": "chunkstore.cli.access",
    "scrub": "chunkstore.cli.administration",
    "serve": "chunkstore.cli.serve",
    "stats": "chunkstore.cli.administration",
    "sync": "chunkstore.cli.sync",
    "token": "chunkstore.cli.access",
    "user": "chunkstore.cli.access",
    "verify": "chunkstore.cli.exchange",
    "who-can": "chunkstore.cli.access",
}


@click.group(cls=Program, modules=_MODULES, context_settings=SETTINGS)
@click.version_option(chunkstore.__version__, prog_name="chunkstore")
def program() -> None:
    """A file server that keeps files as deduplicated chunks in a database.

    Each option can also be set in the environment: --max-file-size as CHUNKSTORE_MAX_FILE_SIZE.
    """


def main() -> None:
    """Run the program and end with its exit status."""
    sys.exit(program.run())
