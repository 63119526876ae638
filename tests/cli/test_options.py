"""Options and arguments: what `--help` says of them, and how wrong ones are refused."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cli.main import program
from chunkstore.cli.program import Option
from chunkstore.cli.serve import serve_command
from chunkstore.server.config import ServeConfig
from tests.process import COMMAND, clean_environment, run_command

COMMANDS = program.list_commands(click.Context(program))
SECTIONS = [
    "Store", "Network", "Single sign-on", "Limits", "Housekeeping", "Logs", "Options",
]  # fmt: skip


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line by which a command line is refused."""
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("chunkstore: ")
    return line


def help_of(command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name="it", **command.context_settings))


def test_help_of_serve_has_its_options_in_sections() -> None:
    text = help_of(serve_command)
    headings = [
        line.removesuffix(":")
        for line in text.splitlines()
        if line.endswith(":") and not line.startswith(" ")
    ]
    assert headings == SECTIONS
    positions = [text.index(option) for option in ("--db", "--port", "--memory", "--grace")]
    assert positions == sorted(positions)


def test_help_shows_defaults_as_they_are_given() -> None:
    text = " ".join(help_of(serve_command).split())
    for default in ("zstd:1", "512MiB", "64MiB", "1d", "30d", "1KiB", "100GiB", "20s", "1h"):
        assert f"[default: {default}]" in text
    assert "[default: (" not in text
    assert "Minimum age before unused data is removed." in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_help_and_a_variable(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.name == name
    assert len(command.get_short_help_str(200)) < 70
    for param in command.params:
        if isinstance(param, click.Option):
            assert isinstance(param, Option)
            assert param.help
            assert param.help.endswith(".")
            assert str(param.envvar).startswith("CHUNKSTORE_")


def test_defaults_make_a_configuration() -> None:
    context = serve_command.make_context("serve", [])
    config = ServeConfig(**context.params)
    assert (config.min_free, config.scrub_seconds, config.tune_malloc) == (1 << 29, 2592000, True)
    assert config.allowed_hosts == config.cors_origins == ()


def test_no_command_is_an_invitation_to_help(tmp_path: Path) -> None:
    shown = run_command(tmp_path)
    assert shown.returncode == 2
    assert "Commands:" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--prot",), "No such option '--prot'."),
        (("stat",), "No such command 'stat'. Did you mean 'stats'?"),
        (("stat",), "Try 'python -m chunkstore --help'."),
        (("serve", "x"), "Try 'python -m chunkstore serve --help'."),
        (("",), "No such command ''."),
        (("serve", "--prot", "1"), "'--port'"),
        (("serve", "--port"), "'--port' requires an argument"),
        (("serve", "--oidc-issuer", "http://login.example.org"), "not a URL like https://login"),
        (("serve", "--oidc-issuer", "https://login.example.org"), "go together"),
        (("serve", "--oidc-create"), "--oidc-create needs --oidc-issuer"),
        (("serve", "--oidc-name", "a\nb"), "is not a name of 1 to 64 characters"),
        (("serve", "--port", ""), "'' is not a number from 0 to 65535."),
        (("serve", "--port", "9" * 5000), "--port"),
        (("serve", "--port", "-1"), "'-1' is not a number from 0 to 65535"),
        (("serve", "--max-connections", "9" * 30), "is not a number from 1 to 1000000"),
        (("serve", "--workers", "\u0663"), "is not a number from 1 to 64"),
        (("serve", "--max-file-size", "1e9"), "'1e9' is not a size like"),
        (("serve", "--grace", "9" * 400 + "d"), "--grace"),
        (("serve", "--scrub-every", "999999999999d"), "--scrub-every"),
        (("serve", "--memory", "9" * 30 + "TiB"), "--memory"),
        (("serve", "--base-path", "/ä/"), "is not a path like /store/"),
        (("serve", "--base-path", "a\nb"), "is not a path like /store/"),
        (("serve", "--allow-host", ""), "neither a host name"),
        (("serve", "--host", ""), "--host"),
        (("serve", "--db", ""), "it is empty"),
        (("serve", "extra"), "Got unexpected extra argument"),
        (("serve", "--", "--port"), "Got unexpected extra argument"),
        (("stats", "--json=1"), "'--json' does not take a value"),
        (("copy", "a.db"), "Missing argument 'DESTINATION'."),
        (("copy", "", "b.db"), "it is empty"),
        (("import",), "Missing argument 'FOLDER'."),
        (("export", ""), "'FOLDER'"),
        (("import", "--into", "a//b", "."), "The name has an empty segment."),
        (("import", "--into", "../a", "."), "'..'"),
        (("export", "--from", "x" * 2000, "out"), "at most 1024"),
        (("serve", "--\x1b[31m"), "No such option"),
        (("serve", "--a\nb"), "No such option"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    line = refusal(run_command(tmp_path, *arguments))
    assert says in line
    assert "\x1b" not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--chunk-size", "5000"),
        ("--chunk-size", "2MiB"),
        ("--max-file-size", "much"),
        ("--port", "70000"),
        ("--shutdown-timeout", "soon"),
        ("--compression", "gzip"),
        ("--min-free", "-1"),
        ("--scrub-rate", "0"),
        ("--max-connections", "0"),
        ("--memory", "1KiB"),
        ("--grace", "5"),
        ("--min-rate", "fast"),
        ("--cors-origin", "example.org"),
        ("--cors-origin", "https://example.org/page"),
    ],
)
def test_an_option_that_makes_no_sense(tmp_path: Path, options: tuple[str, str]) -> None:
    assert options[0] in refusal(run_command(tmp_path, "serve", *options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "param", [param for param in serve_command.params if param.name != "db"], ids=lambda p: p.name
)
@given(text=st.text(max_size=20) | st.from_regex(r"-?[0-9]{1,400}(\.[0-9]+)?[a-zA-Z]{0,3}"))
def test_any_text_is_a_value_or_refused(param: click.Parameter, text: str) -> None:
    with suppress(click.BadParameter):
        param.type.convert(text, param, None)


def test_of_a_repeated_option_the_last_one_holds() -> None:
    context = serve_command.make_context("serve", ["--port", "1", "--port", "2"])
    assert context.params["port"] == 2


def test_bytes_that_are_no_text_are_refused_or_shown(tmp_path: Path) -> None:
    for arguments in ([b"serve", b"--port", b"\xff"], [b"stats", b"--db", b"\xff.db"]):
        result = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            check=False,
        )
        [line] = result.stderr.splitlines()
        assert line.startswith(b"chunkstore: ")


def test_a_name_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    latin = {"PYTHONIOENCODING": "latin-1"}
    shown = run_command(tmp_path, "init", "--db", "ω.db", environment=latin)
    assert (shown.returncode, shown.stderr) == (0, "")
    shown = run_command(tmp_path, "restore", "--db", "ω.db", "none.db", environment=latin)
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    shown = run_command(tmp_path, "backup", "--db", "ω.db", "backup.db", environment=latin)
    assert shown.returncode == 0
    shown = run_command(tmp_path, "restore", "--db", "ω.db", "backup.db", environment=latin)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\\u03c9.db-before-" in shown.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("stats",)])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


def test_output_that_is_closed_is_no_error(tmp_path: Path) -> None:
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *COMMAND, "init"],
        cwd=tmp_path,
        env=clean_environment(),
        check=False,
    )
    assert result.returncode == 0


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{tmp_path}/there.db\n")
    given = {"CHUNKSTORE_DB_FILE": str(secret)}
    assert run_command(tmp_path, "init", environment=given).returncode == 0
    assert (tmp_path / "there.db").exists()
    # The command line comes first, as it does before the variable itself.
    assert run_command(tmp_path, "init", "--db", "b.db", environment=given).returncode == 0
    both = refusal(run_command(tmp_path, "init", environment={**given, "CHUNKSTORE_DB": "c.db"}))
    assert "CHUNKSTORE_DB and CHUNKSTORE_DB_FILE are both given." in both
    secret.write_bytes(b"\xff")
    assert "cannot be read: it is no text." in refusal(
        run_command(tmp_path, "init", environment=given)
    )
    secret.unlink()
    assert "No such file" in refusal(run_command(tmp_path, "init", environment=given))
