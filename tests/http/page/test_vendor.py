"""Code of others that the page runs is what its authors published, and says whose it is."""

from __future__ import annotations

import re
import tomllib

from chunkstore.core.digest import Digest
from chunkstore.http.page.render import VENDOR

ORIGINS = tomllib.loads((VENDOR / "origins.toml").read_text(encoding="utf-8"))


def test_files_of_others_are_as_they_were_published() -> None:
    named = {
        f"{name}/{file}": digest
        for name, origin in ORIGINS.items()
        for file, digest in origin["blake3"].items()
    }
    there = {
        path.relative_to(VENDOR).as_posix(): str(Digest.of(path.read_bytes()))
        for path in VENDOR.rglob("*.*")
        if path.name != "origins.toml"
    }
    assert there == named


def test_their_version_and_licence_are_told() -> None:
    assert ORIGINS
    for name, origin in ORIGINS.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", origin["version"])
        licence = (VENDOR / name / "LICENSE").read_text(encoding="utf-8")
        assert licence.startswith(f"{origin['licence']} License\n")
        assert "Copyright" in licence
