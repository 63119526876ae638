"""What is recognised as an archive or a dump: by files that the real programs make."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from chunkstore.core.archives import DECIDING_SIZE, is_shifting

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FOLDER = "a folder/"


class Pipe(io.RawIOBase):
    """What can only be written to."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: ReadableBuffer) -> int:
        self.content += memoryview(piece)
        return memoryview(piece).nbytes


def zip_of(names: Sequence[str], method: int, *, seekable: bool = True, size: int = 9000) -> bytes:
    """Return a zip; what is not seekable has the sizes of its entries behind them."""
    pipe, buffer = Pipe(), io.BytesIO()
    with zipfile.ZipFile(buffer if seekable else pipe, "w", method) as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else b"abc" * (size // 3))
    return buffer.getvalue() if seekable else bytes(pipe.content)


def tar_of(name: str, form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["a", "a/" * 60 + "é"])
def test_a_tar_is_recognised_unless_it_is_compressed(form: int, name: str) -> None:
    tar = tar_of(name, form)
    assert is_shifting(tar)
    assert not is_shifting(gzip.compress(tar))
    assert not is_shifting(tar[:256])


@pytest.mark.parametrize("size", [30, 9000])
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("folders", [[], [FOLDER, f"{FOLDER}inner/"]])
def test_a_zip_is_recognised_if_it_stores_its_files(
    folders: Sequence[str], *, seekable: bool, size: int
) -> None:
    names = [*folders, *(f"{number}" for number in range(100))]
    assert is_shifting(zip_of(names, zipfile.ZIP_STORED, seekable=seekable, size=size))
    assert not is_shifting(zip_of(names, zipfile.ZIP_DEFLATED, seekable=seekable, size=size))


def test_a_book_is_compressed_though_its_type_is_stored() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("a.xhtml", b"abc" * 3000)
    assert not is_shifting(buffer.getvalue())


def test_a_dump_of_sqlite_is_recognised() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE a (b)")
    # The shell's .dump has this line in front of what the library gives.
    dump = "PRAGMA foreign_keys=OFF;\n" + "\n".join(database.iterdump())
    database.close()
    assert is_shifting(dump.encode())


@pytest.mark.parametrize(
    "first",
    [
        b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n",
        b"--\n-- PostgreSQL database cluster dump\n--\n",
        b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n",
        b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n",
        b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n",
        b"\xef\xbb\xbf-- phpMyAdmin SQL Dump\n-- version 5.2.1\n",
    ],
)
def test_dumps_of_databases_are_recognised(first: bytes) -> None:
    assert is_shifting(first)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"PK",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        bytes(DECIDING_SIZE),
        b"/*! jQuery v3.7.1 */",
        b"-- a script\nSELECT 1;\n",
        b"SQLite format 3\0",
        b"PGDMP\x01",
        bytes(DECIDING_SIZE) + b"-- MySQL dump 10.13",
    ],
)
def test_all_else_is_not(first: bytes) -> None:
    assert not is_shifting(first)


@pytest.mark.parametrize("stop", range(0, 400, 7))
def test_a_beginning_of_any_length_is_looked_at(stop: int) -> None:
    assert not is_shifting(zip_of([FOLDER, "a"], zipfile.ZIP_DEFLATED)[:stop])
