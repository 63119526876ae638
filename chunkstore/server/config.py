"""The settings of `chunkstore serve` as typed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from chunkstore.core.chunkers import Chunking
from chunkstore.core.compression import Compression
from chunkstore.core.hosts import Host
from chunkstore.core.proxies import Proxy
from chunkstore.service.access.audit import Audited

# Space for the database's log, so that files can still be deleted and collected.
DEFAULT_MIN_FREE: Final = 512 * 1024 * 1024


# The owner and the group, as a proxy's user is in that.
DEFAULT_UNIX_MODE: Final = 0o660


# A host and a port.
Address: TypeAlias = tuple[str, int]


class LogFormat(StrEnum):
    """How the log is written: lines for people, or a JSON object a line for programs."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How to serve. Sizes are in bytes; None sets no limit, or leaves a setting as it is.

    - `db` is where the store is, `read_db` a PostgreSQL standby to read chunks from.
    - `chunk_size`, `chunking` and `compression` are for what is new. Uploads are refused if they
      would leave less than `min_free` on the disk.
    - `checksums` are kept by these algorithms, beside the store's own digests.
    - With `one_file` also large contents go to the file of an SQLite database.
    - `host` and `port` are listened on by `workers` processes, or the Unix socket `unix` instead,
      which has `unix_mode`; all URLs begin with `base_path`.
    - `tls_cert` and `tls_key` are PEM files (`certificate`); the port speaks TLS then.
      Browsers that come over TLS are told to use nothing else for `hsts_seconds`; 0 is not at all.
    - A store without accounts is served beyond this machine only if it `may_be_open` (`admission`).
      `insecure_login` lets others than this machine sign in without TLS.
    - `trusted_proxies` are believed about whom they forward requests of (`proxies`).
    - People can also sign in with the provider `oidc_name`, of `oidc_issuer`; to it the server is
      `oidc_client_id`, with the secret in `oidc_client_secret_file`. With `oidc_create` whoever it
      signs in has an account (`sign_on`).
    - `memory` is for the file content that all requests hold, and for `hot_files` where it is free.
      `tune_malloc`: see `malloc`.
    - Resumable uploads expire `upload_expiry_seconds` after their last progress; the unfinished
      ones have `max_unfinished` together.
    - Pages of `cors_origins` may use the server; requests may be for `allowed_hosts` (`hosts`).
    - Every `collect_seconds` unused data older than `grace_seconds` is removed. `scrub_seconds`
      after a scrub there is another one, which reads `scrub_rate` a second. 0 is never, for both.
    - `max_connections`, `head_seconds`, `idle_seconds`, `min_rate`: see `client_limits`.
    - A server that is to stop is not ready for `drain_seconds`, and goes on serving. Then requests
      have `shutdown_seconds` to finish.
    - `metrics` is where they are shown (`metrics`).
    - `access_log`: each request has a line in the log, which is in `log_format`.
    """

    db: str
    read_db: str | None
    workers: int
    host: str
    port: int
    unix: Path | None
    unix_mode: int
    tls_cert: Path | None
    tls_key: Path | None
    hsts_seconds: float
    may_be_open: bool
    insecure_login: bool
    trusted_proxies: tuple[Proxy, ...]
    base_path: str
    oidc_issuer: str | None
    oidc_client_id: str | None
    oidc_client_secret_file: Path | None
    oidc_name: str
    oidc_create: bool
    chunk_size: int | None
    chunking: Chunking
    checksums: Sequence[str]
    compression: Compression
    one_file: bool | None
    min_free: int
    max_file_size: int | None
    memory: int
    hot_files: bool
    tune_malloc: bool
    upload_expiry_seconds: float
    max_unfinished: int
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[Host, ...]
    drain_seconds: float
    shutdown_seconds: float
    collect_seconds: float
    grace_seconds: float
    scrub_seconds: float
    scrub_rate: int
    audited: Audited
    audit_seconds: float
    max_connections: int
    head_seconds: float
    idle_seconds: float
    min_rate: int
    metrics: Address | None
    access_log: bool
    log_format: LogFormat

    @property
    def scheme(self) -> str:
        """The scheme of the server's URLs."""
        return "http" if self.tls_cert is None else "https"
