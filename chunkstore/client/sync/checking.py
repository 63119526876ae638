"""Whether a plan that was made before is still what has to be done."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from chunkstore.client.errors import ConditionFailed
from chunkstore.client.sync.plan import CopyFile, DeleteFile, DigestsOf, Plan, PutFile
from chunkstore.client.sync.tree import Tree
from chunkstore.core.digest import Digest

_Expected = tuple[str, Digest | None]


def require_current(
    plan: Plan,
    source: Tree,
    target: Tree,
    digests_in_source: DigestsOf,
    digests_in_target: DigestsOf,
) -> None:
    """Make sure that each file that a plan is about is as the plan has it.

    Raises:
        ConditionFailed: one is not.
    """
    for step in plan.steps:
        if isinstance(step, PutFile | CopyFile) and step.is_new and step.name in target.files:
            raise ConditionFailed(f"{step.name} is there, which the plan does not know.")
    puts = [(step.name, step.digest) for step in plan.transfers]
    _require(puts, source, digests_in_source)
    _require(list(chain(_replaced(plan), _copied(plan))), target, digests_in_target)


def _replaced(plan: Plan) -> Iterator[_Expected]:
    """Yield what is in the target now, and is not to be any more."""
    for step in plan.steps:
        match step:
            case PutFile() | CopyFile() if not step.is_new:
                yield step.name, step.replaces
            case DeleteFile():
                yield step.name, step.digest


def _copied(plan: Plan) -> Iterator[_Expected]:
    for step in plan.steps:
        if isinstance(step, CopyFile):
            yield step.source, step.digest


def _require(expected: list[_Expected], tree: Tree, compute: DigestsOf) -> None:
    there = [name for name, _ in expected if name in tree.files]
    found = compute([name for name in there if tree.files[name].digest is None])
    for name, digest in expected:
        file = tree.files.get(name)
        if digest is None or file is None or (file.digest or found.get(name)) != digest:
            raise ConditionFailed(f"{name} is not any more as the plan has it; make a new one.")
