"""Remotes: short names for servers, in a file of the user's own."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from platformdirs import user_config_path

from chunkstore.client.errors import InvalidPlace
from chunkstore.client.places import REMOTE_NAME, parse_url

_TABLE: Final = "remotes"


def remotes_path() -> Path:
    """Return where the file is, whether there is one or not."""
    return user_config_path("chunkstore") / "remotes.toml"


def read_remotes(path: Path | None = None) -> dict[str, str]:
    """Return the URL of each remote by its name.

    Raises:
        InvalidPlace: the file cannot be read, or has another form.
    """
    path = path or remotes_path()
    try:
        remotes = tomllib.loads(path.read_text(encoding="utf-8")).get(_TABLE, {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidPlace(f"{path} cannot be read: {error}.") from error
    if not isinstance(remotes, dict) or not all(isinstance(url, str) for url in remotes.values()):
        raise InvalidPlace(f'{path} has other lines than NAME = "URL" below [{_TABLE}].')
    return remotes


def write_remotes(remotes: Mapping[str, str], path: Path | None = None) -> None:
    """Write the file anew, whole or not at all.

    Raises:
        InvalidPlace: a name or a URL is none, or the file cannot be written.
    """
    path = path or remotes_path()
    lines = [f"[{_TABLE}]\n"]
    for name, url in sorted(remotes.items()):
        if not REMOTE_NAME.fullmatch(name):
            raise InvalidPlace(
                f"{name!r} is no name for a remote; it has two or more letters, digits, _ . and -."
            )
        parse_url(url)
        # A string of JSON is one of TOML, too.
        lines.append(f"{json.dumps(name)} = {json.dumps(url)}\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A URL may have a password in it.
        with NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as file:
            file.writelines(lines)
        os.replace(file.name, path)
    except OSError as error:
        raise InvalidPlace(f"{path} cannot be written: {error.strerror}.") from error
