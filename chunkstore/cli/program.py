"""click's commands as this program shows them: loaded when they run, and refused in one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

_ENVIRONMENT: Final = "CHUNKSTORE"
# What the extra `server` has; see pyproject.toml.
_OF_SERVER: Final = frozenset(
    {"aiohttp", "aiohttp_jinja2", "aiosqlite", "argon2", "asyncpg", "filelock", "http_sf", "jinja2"}
    | {"multipart", "numpy", "uvloop", "yarl"}
)
_INTERRUPTED: Final = 130  # 128 and the number of SIGINT, as shells have it
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "show_default": True}


class Option(click.Option):
    """An option that `--help` lists under `section`, and that can be set in the environment.

    The variable has the option's own name, as CHUNKSTORE_MAX_FILE_SIZE for --max-file-size, and
    with _FILE behind it that of a file with the value. A
    `show_default` that is a text is shown as it is, where click puts it in parentheses.
    """

    def __init__(self, *arguments: Any, section: str = "Options", **settings: Any) -> None:  # noqa: ANN401 - what click takes
        super().__init__(*arguments, **settings)
        self.section = section
        if self.envvar is None:
            longest = max(self.opts, key=len)
            self.envvar = f"{_ENVIRONMENT}_{longest.strip('-').replace('-', '_').upper()}"

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value in the variable, or in the file that CHUNKSTORE_…_FILE names.

        A secret is given as a file where the environment can be seen by others.

        Raises:
            UsageError: both are given, or the file cannot be read.
        """
        value = super().resolve_envvar_value(ctx)
        variable = f"{self.envvar}_FILE"
        path = os.environ.get(variable)
        if not path:
            return value
        if value is not None:
            raise click.UsageError(f"{self.envvar} and {variable} are both given.", ctx)
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().strip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise click.UsageError(f"{variable}: {path} cannot be read: {reason}.", ctx) from error

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default
        return extra


class Command(click.Command):
    """A command whose options `--help` lists by section, in the order in which these come."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if isinstance(param, click.Option) and record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


class Program(click.Group):
    """The commands of `modules`: by the name of each, the module that has it as `NAME_command`.

    There a `-` of the name is a `_`. A module is imported when its command runs, so that none waits
    for what only others need.
    """

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **settings: Any) -> None:  # noqa: ANN401 - what click takes
        super().__init__(*arguments, **settings)
        # click lists these names, and suggests them in the place of a wrong one.
        self.commands = {name: click.Command(name) for name in modules}
        self._modules = modules

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._modules:
            return None
        try:
            module = import_module(self._modules[cmd_name])
            command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        except ModuleNotFoundError as error:
            return _without_server(cmd_name, error)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - what a command returns
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            _refuse_without_server(error)
        except click.BadParameter as error:
            if error.ctx is not None and error.param is not None and error.param.name is not None:
                source = error.ctx.get_parameter_source(error.param.name)
                if source is ParameterSource.ENVIRONMENT:
                    error.param_hint = str(error.param.envvar)
            raise

    def run(self) -> int:
        """Run the program and return its exit status; what is refused is one line on stderr."""
        _open_standard_files()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name may have characters that the encoding lacks.
                stream.reconfigure(errors="backslashreplace")
        try:
            status = self.main(standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except click.ClickException as error:
            click.echo(f"chunkstore: {_to_line(error)}", err=True)
            return error.exit_code
        except click.Abort:
            click.echo("chunkstore: Interrupted.", err=True)
            return _INTERRUPTED
        return status if isinstance(status, int) else 0


def _without_server(name: str, error: ModuleNotFoundError) -> click.Command:
    """Return what stands for a command that only the server has."""
    if error.name not in _OF_SERVER:
        raise error
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(
        name,
        callback=lambda: _refuse_without_server(error),
        context_settings=settings,
        add_help_option=False,
        short_help="Only with the extra `server`.",
    )


def _refuse_without_server(error: ModuleNotFoundError) -> NoReturn:
    """Say that what a command needs is not installed.

    Raises:
        ClickException: always, if it is something of the server.
    """
    if error.name not in _OF_SERVER:
        raise error
    raise click.ClickException(
        "Only the client is installed here; install the extra `server`, too, which serves files and"
        " opens stores: `pip install '.[server]'` in a checkout."
    ) from error


def _open_standard_files() -> None:
    """Open those of the files 0 to 2 that are closed, or a database would get their numbers.

    Whoever writes to standard error would write into it; libuv refuses to work with such a file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _to_line(error: click.ClickException) -> str:
    """Return the message on one line, with the command that tells what would be right."""
    message = " ".join(error.format_message().split())
    if not message.endswith((".", "?", ")")):
        message += "."
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message} Try '{error.ctx.command_path} --help'."
    return message
