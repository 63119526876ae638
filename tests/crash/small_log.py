"""Runs a chunkstore command with a log that is carried into the database, and flushed, often.

`python small_log.py BYTES python -m chunkstore ...`: it is the real program but for its bounds, so
that a short run has many checkpoints in it.
"""

from __future__ import annotations

import sys

from chunkstore.cli.main import main
from chunkstore.store.sqlite.engine import early_sync
from chunkstore.store.sqlite.store import SQLiteStore

_FLUSHES_IN_A_LOG = 8

bound = int(sys.argv[1])
SQLiteStore.open.__func__.__kwdefaults__["log_bound"] = bound  # type: ignore[attr-defined]
early_sync._STEP_SIZE = bound // _FLUSHES_IN_A_LOG  # type: ignore[misc]
sys.argv = ["chunkstore", *sys.argv[5:]]
main()
