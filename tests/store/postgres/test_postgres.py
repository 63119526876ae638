"""The store contract on PostgreSQL, and what only PostgreSQL promises."""

from __future__ import annotations

from tests.conftest import on_postgres
from tests.store.audit_conformance import AuditConformance
from tests.store.checksum_conformance import ChecksumConformance
from tests.store.chunk_conformance import ChunkConformance
from tests.store.conformance import StoreConformance
from tests.store.edit_conformance import EditConformance
from tests.store.lock_conformance import LockConformance
from tests.store.pack_conformance import PackConformance
from tests.store.part_conformance import PartConformance
from tests.store.quota_conformance import QuotaConformance
from tests.store.record_conformance import RecordConformance
from tests.store.strict_conformance import StrictConformance
from tests.store.subtree_conformance import SubtreeConformance
from tests.store.upload_conformance import UploadConformance


@on_postgres
class TestPostgres(
    StoreConformance,
    EditConformance,
    UploadConformance,
    PartConformance,
    PackConformance,
    StrictConformance,
    SubtreeConformance,
    ChecksumConformance,
    RecordConformance,
    QuotaConformance,
    LockConformance,
    AuditConformance,
    ChunkConformance,
):
    """The conformance suites."""

    shares_manifests = False
