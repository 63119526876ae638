"""A certificate that is renewed, also in the worst order, and one that cannot be used."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chunkstore.server.certificate import Certificate, CertificateUnusable, find_not_after
from tests.http.steps import wait_until
from tests.process import run_command
from tests.programs import require_program
from tests.server.certificates import Pair, make_pair

_TIMES = itertools.count(1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    return make_pair(folder, "first"), make_pair(folder, "second")


@pytest.fixture
def live(tmp_path: Path, pairs: tuple[Pair, Pair]) -> Pair:
    """Return the files that a server uses, which a test replaces."""
    pair = Pair(tmp_path / "live.crt", tmp_path / "live.key")
    pairs[0].copy_over(pair)
    return pair


@pytest.fixture
async def followed(live: Pair) -> AsyncIterator[Certificate]:
    """Return a certificate whose files are looked at all the time."""
    certificate = await asyncio.to_thread(
        lambda: Certificate(live.chain, live.key, rest_seconds=0.01)
    )
    following = asyncio.create_task(certificate.follow())
    yield certificate
    following.cancel()


async def test_files_that_change_are_loaded(
    followed: Certificate, live: Pair, pairs: tuple[Pair, Pair]
) -> None:
    before = followed.context
    pairs[1].copy_over(live)

    async def is_loaded() -> bool:
        return followed.context is not before

    await wait_until(is_loaded)


async def test_half_a_pair_is_not_used_and_the_other_half_makes_it_whole(
    followed: Certificate, live: Pair, pairs: tuple[Pair, Pair], caplog: pytest.LogCaptureFixture
) -> None:
    before = followed.context
    live.chain.write_bytes(pairs[1].chain.read_bytes())

    async def is_told() -> bool:
        return "is not the key of the certificate" in caplog.text

    await wait_until(is_told)
    assert followed.context is before
    assert "The certificate loaded before stays in use." in caplog.text
    live.key.write_bytes(pairs[1].key.read_bytes())

    async def is_loaded() -> bool:
        return followed.context is not before

    await wait_until(is_loaded)


async def test_what_is_wrong_is_told_once_until_it_changes(
    followed: Certificate, live: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    live.chain.write_text("nothing")

    async def is_told() -> bool:
        return len(caplog.records) >= 1

    await wait_until(is_told)
    # A missing file is another state, so the first one has been looked at again by then.
    live.chain.unlink()

    async def is_told_again() -> bool:
        return "cannot be read" in caplog.text

    await wait_until(is_told_again)
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2


async def test_files_that_go_on_changing_are_not_loaded(live: Pair) -> None:
    looked = 0

    class Restless(Certificate):
        def _stamps(self) -> tuple[tuple[int, int, int], ...]:
            nonlocal looked
            looked += 1
            return ((next(_TIMES), 0, 0),)

    certificate = await asyncio.to_thread(lambda: Restless(live.chain, live.key, rest_seconds=0))
    before = certificate.context
    following = asyncio.create_task(certificate.follow())

    async def has_looked() -> bool:
        return looked > 20

    await wait_until(has_looked)
    following.cancel()
    assert certificate.context is before


async def test_a_storm_of_reloads_ends_with_what_there_is(
    live: Pair, pairs: tuple[Pair, Pair]
) -> None:
    certificate = await asyncio.to_thread(Certificate, live.chain, live.key)

    async def replace() -> None:
        for number in range(20):
            await asyncio.to_thread(pairs[number % 2].copy_over, live)

    results, _ = await asyncio.gather(
        asyncio.gather(*(certificate.reload() for _ in range(50))), replace()
    )
    assert await certificate.reload()
    assert len(results) == 50


def encrypt(key: Path) -> None:
    openssl = require_program("openssl")
    encrypted = key.with_suffix(".encrypted")
    arguments = ["pkey", "-aes256", "-passout", "pass:x", "-in", str(key), "-out", str(encrypted)]
    subprocess.run([openssl, *arguments], check=True, capture_output=True)
    encrypted.replace(key)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no key", "cannot be read: No such file or directory."),
        ("a folder", "Is a directory"),
        ("another key", "is not the key of the certificate"),
        ("an encrypted key", "is encrypted; give a key without a passphrase."),
        ("nothing in it", "no certificate and key in PEM"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, live: Pair, pairs: tuple[Pair, Pair], fault: str, says: str
) -> None:
    match fault:
        case "no key":
            live.key.unlink()
        case "a folder":
            live.key.unlink()
            live.key.mkdir()
        case "another key":
            shutil.copy(pairs[1].key, live.key)
        case "an encrypted key":
            encrypt(live.key)
        case "nothing in it":
            live.chain.write_text("")
    result = run_command(tmp_path, "serve", "--port", "0", *live.options)
    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("chunkstore: ")
    assert says in line
    assert not list(tmp_path.glob("chunkstore.db*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_key_that_may_not_be_read_is_refused(live: Pair) -> None:
    live.key.chmod(0)
    with pytest.raises(CertificateUnusable, match="Permission denied"):
        Certificate(live.chain, live.key)


@pytest.mark.parametrize("days", [1, 20000])
def test_the_end_of_a_certificate_is_read_as_openssl_does(tmp_path: Path, days: int) -> None:
    openssl, chain = require_program("openssl"), tmp_path / "chain.pem"
    # fmt: off
    subprocess.run(
        [openssl, "req", "-x509", "-nodes", "-days", str(days), "-newkey", "rsa:2048",
         "-subj", f"/CN={'long' * 12}", "-keyout", str(tmp_path / "key.pem"), "-out", str(chain)],
        check=True, capture_output=True,
    )
    # fmt: on
    command = [openssl, "x509", "-in", str(chain), "-noout", "-enddate"]
    told = subprocess.check_output(command, text=True).strip().removeprefix("notAfter=")
    seconds = ssl.cert_time_to_seconds(told)
    # What is before it, and what follows, is not it.
    text = chain.read_text()
    assert find_not_after(f"Subject: a\n{text}{text}").timestamp() == seconds


def test_an_end_that_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    text = pair.chain.read_text().replace("CERTIFICATE", "TRUSTED CERTIFICATE")
    pair.chain.write_text(text)
    assert Certificate(pair.chain, pair.key).not_after is None
