"""Servers that are drives by WebDAV, each with the best settings that are reasonable for it.

Why each setting is as it is stands in `benchmarks/README.md`.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.dialects import CHUNKSTORE, Dialect
from benchmarks.peers import COPYPARTY, DUFS, NGINX, RCLONE
from benchmarks.subjects import Subject, Unavailable, chunkstore, output_of

_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")


def _nginx_version() -> str:
    if not _MODULE.exists():
        raise Unavailable("nginx has no PROPFIND: Debian's libnginx-mod-http-dav-ext")
    return NGINX.version()


NGINX_DAV: Final = replace(
    NGINX,
    name="nginx-dav-ext",
    package="Debian's nginx and libnginx-mod-http-dav-ext",
    version=_nginx_version,
    configuration=f"load_module {_MODULE};\n"
    + NGINX.configuration.replace(
        "dav_methods PUT DELETE;", "dav_methods PUT DELETE; dav_ext_methods PROPFIND OPTIONS;"
    ),
)

WSGIDAV: Final = Subject(
    "wsgidav",
    package="PyPI's wsgidav and cheroot",
    command=shlex.split(
        "wsgidav -q --no-config --host 127.0.0.1 --port {port} --root {folder}"
        " --auth anonymous --server cheroot"
    ),
    version=lambda: output_of("wsgidav", "--version").split("/")[-1].split()[-1],
    dialect=Dialect(),
    settings="cheroot, quiet",
)

DRIVES: Final = {
    subject.name: subject for subject in (chunkstore(), RCLONE, DUFS, NGINX_DAV, COPYPARTY, WSGIDAV)
}
IN_PYTHON: Final = (COPYPARTY.name, WSGIDAV.name)


def path_of(subject: Subject, name: str) -> str:
    """Return the path of a file, or with a slash at its end of a folder, in a server's drive."""
    return f"/dav/{name}" if subject.dialect is CHUNKSTORE else f"/{name}"
