"""The HTTP face of a store."""

from chunkstore.http.app import create_app

__all__ = ["create_app"]
