"""The store contract over a PostgreSQL database."""
