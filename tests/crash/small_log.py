"""Runs a chunkstore command with a log that is carried into the database, and flushed, often.

`python small_log.py BYTES python -m chunkstore ...`: it is the real program but for its bounds, so
that a short run has many checkpoints in it, and many segments.
"""

from __future__ import annotations

import sys

from chunkstore.cli.main import main
from chunkstore.store.sqlite.engine import early_sync
from chunkstore.store.sqlite.segments import compaction
from chunkstore.store.sqlite.segments.segments import SegmentBounds
from chunkstore.store.sqlite.store import SQLiteStore

_FLUSHES_IN_A_LOG = 8
# Of segments, some for each larger upload.
_LEAST = 16 * 1024
_SIZE = 48 * 1024
_MERGED_AT_ONCE = 4

bound = int(sys.argv[1])
defaults = SQLiteStore.open.__func__.__kwdefaults__  # type: ignore[attr-defined]
defaults["log_bound"] = bound
defaults["segment_bounds"] = SegmentBounds(_LEAST, _SIZE)
early_sync._STEP_SIZE = bound // _FLUSHES_IN_A_LOG  # type: ignore[misc]
compaction._MERGED_AT_ONCE = _MERGED_AT_ONCE  # type: ignore[misc]
sys.argv = ["chunkstore", *sys.argv[5:]]
main()
