"""Places, as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.client.errors import InvalidPlace
from chunkstore.client.places import LocalPlace, Pipe, RemotePlace, parse_place, parse_url
from chunkstore.client.remotes import read_remotes, write_remotes
from chunkstore.core.errors import InvalidName
from chunkstore.core.names import parse_file_name

REMOTES = {"work": "http://host:8080/", "deep": "https://host/base/files/models/"}


@pytest.mark.parametrize(
    ("text", "base", "name"),
    [
        ("http://host:8080/files/models/model.bin", "http://host:8080/", "models/model.bin"),
        ("http://host/files/models/", "http://host/", "models/"),
        ("http://host/files/", "http://host/", ""),
        ("http://host/files", "http://host/", ""),
        ("http://host", "http://host/", ""),
        ("http://host/base/", "http://host/base/", ""),
        ("http://host/base/files/a%20b%3f", "http://host/base/", "a b?"),
        ("http://u:p@host/files/files/x", "http://u:p@host/", "files/x"),
        ("work:models/model.bin", "http://host:8080/", "models/model.bin"),
        ("work:", "http://host:8080/", ""),
        ("work:models/", "http://host:8080/", "models/"),
        ("work:/model.bin", "http://host:8080/", "model.bin"),
        ("deep:a%20b", "https://host/base/", "models/a%20b"),
        (":x", "http://default/", "x"),
    ],
)
def test_what_is_on_a_server(text: str, base: str, name: str) -> None:
    place = parse_place(text, REMOTES, "http://default/")
    assert isinstance(place, RemotePlace)
    assert (place.base, place.name, str(place)) == (base, name, text.replace("u:p@", ""))
    assert "@" not in place.url
    assert not place.is_foreign
    assert place.is_folder == (name == "" or name.endswith("/"))


def test_a_url_without_files_is_a_foreign_servers() -> None:
    place = parse_url("http://host/dav/a%20b.bin")
    assert place.is_foreign
    assert (place.base, place.name, place.url) == (
        "http://host/dav/", "a b.bin", "http://host/dav/a%20b.bin",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["a", "./work:x", "/a/b:c", "x:y", "a/", "…"])
def test_what_is_a_path(text: str) -> None:
    assert parse_place(text, REMOTES) == LocalPlace(Path(text), text.endswith("/"))


def test_a_file_that_is_there_is_no_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidPlace, match="remote 'none'"):
        parse_place("none:x", REMOTES)
    Path("none:x").touch()
    assert parse_place("none:x", REMOTES) == LocalPlace(Path("none:x"))


def test_a_pipe() -> None:
    assert parse_place("-", REMOTES) == Pipe()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":x",
        "http:///files/x",
        "http://host/files/a?b",
        "http://host/files/a#b",
        "http://host/files/a//b",
        "http://host/files/../x",
        "http://host/files/%2e%2e/x",
        "http://host/files/%ff",
        "http://host:99999/files/x",
        "work:a/../b",
    ],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(InvalidPlace):
        parse_place(text, REMOTES)


@given(st.text(min_size=1, max_size=30))
def test_each_name_has_a_url_that_means_it(text: str) -> None:
    try:
        name = parse_file_name(text)
    except InvalidName:
        return
    place = RemotePlace("http://host/", name)
    found = parse_url(place.url)
    assert (found.base, found.name, found.folder) == (place.base, place.name, place.folder)


@pytest.mark.parametrize("text", ["ftp://files.lan/files/a", "127.0.0.1:8080/files/a", "lan:80/"])
def test_who_writes_another_url_is_told_how_they_begin(text: str) -> None:
    with pytest.raises(InvalidPlace, match="begins with http://"):
        parse_place(text, {})
    # Not if there is such a remote.
    assert isinstance(parse_place(text, {text.partition(":")[0]: "http://h/"}), RemotePlace)


def test_remotes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config" / "remotes.toml"
    assert read_remotes(path) == {}
    remotes = {"work": "http://h/", "a.b-c_1": 'http://h/"x\\'}
    write_remotes(remotes, path)
    assert read_remotes(path) == remotes
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["[remotes", "remotes = 1", "[remotes]\na = 1", "\xff"])
def test_a_damaged_file_of_remotes_is_told_of(tmp_path: Path, text: str) -> None:
    path = tmp_path / "remotes.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidPlace, match=r"remotes\.toml"):
        read_remotes(path)


@pytest.mark.parametrize("name", ["", "x", "a:b", "a/b", "-a", "ä"])
def test_what_is_no_name_for_a_remote(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidPlace):
        write_remotes({name: "http://h/"}, tmp_path / "remotes.toml")
