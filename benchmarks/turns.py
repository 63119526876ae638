"""Works and subjects in turn: the repetitions are the outer loop, the subjects the inner one.

Each repetition begins with another subject: whatever else the machine does meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks.figures import Figure, Results
from benchmarks.report import note
from benchmarks.subjects import Running, Subject
from benchmarks.works.stage import Stage, Task
from benchmarks.works.uploads import UPLOAD

Pair = tuple[Task, Subject]
Done = tuple[Task, Subject, Figure | Exception]
_NOT_ITS_OWN: Final = "not one of its works"


def pair(
    stage: Stage, tasks: Sequence[Task], subjects: Sequence[Subject], results: Results
) -> list[Pair]:
    """Return each task and subject that go together, when all that these need is there."""
    if any(task.name == UPLOAD.name for task in tasks):
        stage.version()
    return [found for subject in subjects for found in _pairs_of(stage, tasks, subject, results)]


def _pairs_of(
    stage: Stage, tasks: Sequence[Task], subject: Subject, results: Results
) -> Iterator[Pair]:
    able = []
    for task in tasks:
        if subject.works and task.name not in subject.works:
            results.skipped[subject.name, task.name] = _NOT_ITS_OWN
        elif reason := task.refuses(subject):
            print(f"Skipped: {task.about}, by {subject.name}: {reason}")
            results.skipped[subject.name, task.name] = reason
        else:
            able.append(task)
    if plants := dict.fromkeys(plant for task in able for plant in task.plants):
        note(f"preparing {subject.name}")
        stage.plant(subject, plants)
    yield from ((task, subject) for task in able)


def repeat_all(
    stage: Stage, pairs: Sequence[Pair], repetitions: int, within: float, results: Results
) -> None:
    """Do all so many times, or as often as there is time for `within` so many seconds, if any."""
    begun = time.monotonic()
    for repetition in range(repetitions):
        spent = time.monotonic() - begun
        # Another one takes as long as each of those before it.
        if repetition and within and spent * (1 + 1 / repetition) > within:
            print(f"Repetitions: {repetition}, for there is no time for more (--within).")
            return
        note(f"repetition {repetition + 1} of {repetitions}")
        for task, subject, outcome in _repeat(stage, pairs, repetition):
            _take(results, repetition, task, subject, outcome)


def _take(
    results: Results, repetition: int, task: Task, subject: Subject, outcome: Figure | Exception
) -> None:
    if isinstance(outcome, Figure):
        results.add(subject.name, repetition, outcome)
    else:
        print(f"Failed: {task.about}, by {subject.name}: {outcome!r}")
        results.skipped[subject.name, task.name] = repr(outcome)


def _repeat(stage: Stage, pairs: Sequence[Pair], repetition: int) -> Iterator[Done]:
    """Do all tasks once: each that needs a fresh folder by itself, then those of one folder."""
    tasks = list(dict.fromkeys(task for task, _ in pairs))
    groups = [[task] for task in tasks if not task.plants]
    groups.append([task for task in tasks if task.plants])
    for group in groups:
        subjects = list(dict.fromkeys(subject for task, subject in pairs if task in group))
        turn = repetition % max(1, len(subjects))
        for subject in [*subjects[turn:], *subjects[:turn]]:
            yield from _serve(stage, subject, [task for task in group if (task, subject) in pairs])


def _serve(stage: Stage, subject: Subject, tasks: Sequence[Task]) -> Iterator[Done]:
    plants = list(dict.fromkeys(plant for task in tasks for plant in task.plants))
    with ExitStack() as stack:
        server: Running | None = None
        for task in tasks:
            # One that fails is told of, and keeps no other from being measured.
            try:
                if server is None:
                    server = stack.enter_context(stage.serving(subject, plants, task.options))
                note(f"{subject.name}: {task.about}")
                for figure in task.measure(stage, server):
                    yield task, subject, figure
            except (OSError, RuntimeError) as error:
                yield task, subject, error
