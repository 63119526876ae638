"""A file server that keeps files as deduplicated chunks in a database."""

__version__ = "0.1.0"
