"""The options of `chunkstore serve` that say with whom people can sign in besides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, Final

import click

from chunkstore.cli.program import Option
from chunkstore.cli.values import PATH, Parsed
from chunkstore.server.config import ServeConfig
from chunkstore.service.access.oidc import check_issuer

_LONGEST_NAME: Final = 64


def _parse_name(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"{text!r} is not a name of 1 to {_LONGEST_NAME} characters")
    return text


ISSUER: Final = Parsed("URL", check_issuer)
NAME: Final = Parsed("name", _parse_name)

_option: Final = partial(click.option, cls=Option, section="Single sign-on")

_OPTIONS: Final = (
    _option(
        "--oidc-issuer",
        type=ISSUER,
        show_default="none",
        help="Let accounts sign in with this provider of OpenID Connect too, such as"
        " https://login.example.org. It sends browsers back to /login/oidc.",
    ),
    _option(
        "--oidc-client-id",
        type=NAME,
        show_default="none",
        metavar="ID",
        help="What this server is to the provider.",
    ),
    _option(
        "--oidc-client-secret-file",
        type=PATH,
        show_default="none",
        help="The file with the secret that goes with that.",
    ),
    _option(
        "--oidc-name",
        type=NAME,
        default="single sign-on",
        help="What people call the provider: `Sign in with NAME`.",
    ),
    _option(
        "--oidc-create/--no-oidc-create",
        default=False,
        help="Add an account, without rights, for whoever the provider signs in and has none. Only"
        " where people cannot choose the names that it tells.",
    ),
)


def sign_on_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, in this order."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


def check_sign_on(config: ServeConfig) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: they do not.
    """
    needed = (config.oidc_issuer, config.oidc_client_id, config.oidc_client_secret_file)
    if len({option is None for option in needed}) > 1:
        raise click.UsageError(
            "--oidc-issuer, --oidc-client-id and --oidc-client-secret-file go together."
        )
    if config.oidc_create and config.oidc_issuer is None:
        raise click.UsageError("--oidc-create needs --oidc-issuer.")
