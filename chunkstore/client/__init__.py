"""Copies files to and from servers of chunkstore, and sends only what is missing."""
