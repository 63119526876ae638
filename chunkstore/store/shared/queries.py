"""Loading `.sql` files in which each query is named and described.

A query begins with a line `-- name: query_name`; the comment lines after it describe it.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_NAME_LINE: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT_LINE: Final = re.compile(r"^--.*\n", re.MULTILINE)


def load_script(package: str, filename: str) -> str:
    """Return the text of an SQL file in the folder `sql` of `package`."""
    return files(package).joinpath("sql", filename).read_text(encoding="utf-8")


def load_queries(package: str, filename: str = "queries.sql") -> dict[str, str]:
    """Return the queries of an SQL file in the folder `sql` of `package`, by name."""
    _, *parts = _NAME_LINE.split(load_script(package, filename))
    texts = (_COMMENT_LINE.sub("", text).strip().removesuffix(";") for text in parts[1::2])
    return dict(zip(parts[::2], texts, strict=True))
