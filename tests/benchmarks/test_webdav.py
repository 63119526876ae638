"""The benchmark of PROPFIND runs, tiny."""

from __future__ import annotations

from pathlib import Path

from benchmarks import webdav
from tests.programs import require_program


def test_lists_are_held_against_other_drives(tmp_path: Path) -> None:
    require_program("rclone")
    scale = webdav.Scale(names=30, requests=8, clients=3, repetitions=2)
    outcomes = webdav.measure(tmp_path, scale, ["chunkstore", "rclone"])
    assert [(outcome.name, outcome.refusal) for outcome in outcomes] == [
        ("chunkstore", ""),
        ("rclone", ""),
    ]
    for outcome in outcomes:
        assert all(len(lists.seconds) == 2 for lists in outcome.lists.values())
        assert len(outcome.rates) == 2
    compressed = outcomes[0].lists["allprop, gzip"]
    assert 0 < compressed.size < outcomes[0].lists["allprop"].size / 3
    lines = list(webdav.report(outcomes))
    assert sum(line.count("met") + line.count("MISSED") for line in lines) == 1 + len(webdav.WORKS)


def test_a_server_that_tells_of_too_few_is_not_measured(tmp_path: Path) -> None:
    require_program("rclone")
    scale = webdav.Scale(names=3, requests=2, clients=1, repetitions=1)
    (tmp_path / "rclone" / "files" / "listed" / "more").mkdir(parents=True)
    with_one_more = webdav.measure(tmp_path, scale, ["rclone"])
    assert with_one_more[0].refusal == "tells of 5 resources"
    assert any("is not measured: it tells of 5" in line for line in webdav.report(with_one_more))
