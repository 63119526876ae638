"""The benchmarks of accounts, checksums and TLS run, tiny."""

from __future__ import annotations

from pathlib import Path

from benchmarks import access, checksums, tls
from tests.server.certificates import make_pair

KIB = 1024


def test_accounts_are_held_against_an_open_store(tmp_path: Path) -> None:
    scale = access.Scale(rules=200, requests=12, lists=2, names=20, clients=3, repetitions=2)
    outcomes = access.measure(tmp_path, scale)
    lines = list(access.table(outcomes))
    assert [outcome.work.by for outcome in outcomes] == [
        *("a token", "a password", "a token", "a token")
    ]
    assert all(len(outcome.ratios) == 2 for outcome in outcomes)
    assert len(lines) == 2 + len(outcomes)
    assert sum(line.count("met") + line.count("MISSED") for line in lines) == 3


def test_checksums_are_held_against_none(tmp_path: Path) -> None:
    scale = checksums.Scale(large=256 * KIB, small=8, clients=2, repetitions=2)
    for outcomes in checksums.measure(tmp_path, scale):
        assert [outcome.option for outcome in outcomes] == ["", "sha1", "md5", "md5,sha1"]
        assert all(len(outcome.rates) == len(outcome.spent) == 2 for outcome in outcomes)
        lines = list(checksums.table(outcomes, "PUT", 1, "per s", 1, "s"))
        assert lines[2].startswith("| none |")
        assert " 1.00 (1.00 to 1.00) " in lines[2]
        assert len(lines) == 6


def test_tls_is_held_against_nginx(tmp_path: Path) -> None:
    scale = tls.Scale(connections=4, body=64 * KIB, large=256 * KIB, repetitions=2)
    pair = make_pair(tmp_path)
    rows = list(tls.measure_memory(tmp_path, pair, scale))
    assert [row.kind for row in rows] == ["HTTP", "HTTPS"]
    found = tls.measure_downloads(tmp_path, pair, scale)
    assert found[0].name == "chunkstore"
    # The same cipher, or their rates say nothing.
    assert len({downloads.cipher for downloads in found}) == 1
    assert all(len(downloads.rates) == 2 for downloads in found)
    assert len(list(tls.download_table(found))) == 2 + len(found)
