"""A server as the client sees it."""
