"""What stores keep as JSON: an upload's spec and failure, and the report of a scrub."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chunkstore.core.conditional import Conditions
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import ScrubReport
from chunkstore.store.contract.uploads import Failure, UploadKind, UploadSpec


def spec_columns(spec: UploadSpec) -> dict[str, Any]:
    """Return the columns that keep a spec, but for its parts."""
    checks = {name: b64encode(value).decode() for name, value in spec.checks.items()}
    return {
        "kind": spec.kind.value,
        "target": spec.target,
        "media_type": spec.media_type,
        "conditions": json.dumps(spec.conditions.to_headers()),
        "checks": json.dumps(checks),
        "metadata": spec.metadata,
    }


def to_spec(columns: Sequence[Any], parts: Sequence[str]) -> UploadSpec:
    """Return the spec that columns, in the order of `spec_columns`, keep."""
    kind, target, media_type, conditions, checks, metadata = columns
    headers: dict[str, str] = json.loads(conditions)
    return UploadSpec(
        kind=UploadKind(kind),
        target=None if target is None else FileName(target),
        media_type=media_type,
        conditions=Conditions.from_headers(
            lambda field: [headers[field]] if field in headers else []
        ),
        checks={name: b64decode(value) for name, value in json.loads(checks).items()},
        metadata=metadata,
        parts=tuple(parts),
    )


def format_failure(failure: Failure) -> str:
    """Return the text that keeps a failure."""
    return json.dumps({"reason": failure.reason, "detail": failure.detail})


def parse_failure(text: str) -> Failure:
    """Return the failure that a text keeps."""
    return Failure(**json.loads(text))


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
