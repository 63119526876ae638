"""What stores keep as JSON: the report of a scrub."""

from __future__ import annotations

import json
from datetime import datetime

from chunkstore.store.contract.reports import ScrubReport


def format_report(report: ScrubReport) -> str:
    """Return the text that keeps a report."""
    fields = {
        "started": report.started.isoformat(),
        "finished": report.finished.isoformat(),
        "chunks": report.chunks,
        "size": report.size,
        "damaged": report.damaged,
    }
    return json.dumps(fields)


def parse_report(text: str) -> ScrubReport:
    """Return the report that a text keeps."""
    fields = json.loads(text)
    for time in ("started", "finished"):
        fields[time] = datetime.fromisoformat(fields[time])
    return ScrubReport(**fields)
