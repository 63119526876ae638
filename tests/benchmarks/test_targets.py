"""What counts as having reached a target."""

from __future__ import annotations

import pytest

from benchmarks.figures import LONGEST, RATE, Figure, Quantity, Results, Work
from benchmarks.targets import Target, judge

DOWNLOAD, UPLOAD = Work("download", "a download"), Work("upload", "an upload")


def results_of(**values: list[float]) -> Results:
    """Return results of DOWNLOAD: the rates of each subject, repetition by repetition."""
    results = Results()
    for subject, rates in values.items():
        for repetition, rate in enumerate(rates):
            results.add(subject, repetition, Figure(DOWNLOAD, RATE, rate))
    return results


@pytest.mark.parametrize(("rates", "met"), [([1, 3, 3], True), ([1, 1, 3], False)])
def test_a_ratio_is_judged_by_its_median(rates: list[float], met: bool) -> None:
    target = Target("a download", ("download",), RATE, 2.0, "nginx", "sendfile")
    outcome = judge(target, results_of(chunkstore=rates, nginx=[1, 1, 1]))
    assert (outcome.against, outcome.reach, outcome.met) == ("nginx: sendfile", "≥ 2", met)


@pytest.mark.parametrize(("longest", "met"), [([9, 10, 10], True), ([1, 1, 11], False)])
def test_what_is_bounded_is_judged_by_its_worst(longest: list[float], met: bool) -> None:
    results = Results()
    for repetition, value in enumerate(longest):
        results.add("chunkstore", repetition, Figure(UPLOAD, LONGEST, value))
    outcome = judge(Target("an upload", ("upload",), LONGEST, 10), results)
    assert (outcome.reach, outcome.met) == ("≤ 10", met)


def test_of_several_works_the_worst_counts_and_is_named() -> None:
    change = Quantity("change", 2, more_is_better=True)
    results = Results()
    results.add("chunkstore", 0, Figure(DOWNLOAD, change, 1.0))
    results.add("chunkstore", 0, Figure(UPLOAD, change, 0.5))
    for works in ((), ("download", "upload")):
        outcome = judge(Target("both", works, change, 0.9), results)
        assert (outcome.name, outcome.met) == ("both; worst: an upload", False)


def test_what_was_not_measured_says_why() -> None:
    target = Target("a download", ("download",), RATE, 2.0, "nginx")
    assert judge(target, Results()).reason == "the work was not done"
    results = results_of(chunkstore=[1])
    assert judge(target, results).reason == "not among the subjects, or it failed"
    results.skipped["nginx", ""] = "nginx is not installed"
    assert (judge(target, results).reason, judge(target, results).met) == (
        "nginx is not installed",
        None,
    )
