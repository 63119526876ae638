"""The works that subjects are held against each other in, by the names that `--only` takes."""

from __future__ import annotations

from typing import Final

from benchmarks.works.downloads import DOWNLOAD, SLOW
from benchmarks.works.growth import GROWTH
from benchmarks.works.huge import FIRST_BYTE, START
from benchmarks.works.lists import LIST
from benchmarks.works.small import SMALL
from benchmarks.works.stage import Task
from benchmarks.works.stalls import STALLS
from benchmarks.works.uploads import SUSTAINED, UPLOAD

TASKS: Final[dict[str, Task]] = {
    task.name: task
    for task in (
        SUSTAINED, STALLS, UPLOAD, SMALL, GROWTH, START, DOWNLOAD, FIRST_BYTE, LIST, SLOW,
    )
}  # fmt: skip
