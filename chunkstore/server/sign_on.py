"""What this server is to the provider that signs people in, as its configuration says."""

from __future__ import annotations

from chunkstore.core.errors import ChunkstoreError
from chunkstore.server.config import ServeConfig
from chunkstore.service.access.oidc import Registration


class SecretUnusable(ChunkstoreError):
    """The file with the client's secret cannot be used."""


def load_registration(config: ServeConfig) -> Registration | None:
    """Return the registration, None if nobody else signs people in.

    Raises:
        SecretUnusable: the file with its secret cannot be read, or has none.
    """
    path = config.oidc_client_secret_file
    if config.oidc_issuer is None or config.oidc_client_id is None or path is None:
        return None
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretUnusable(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SecretUnusable(f"{path} is no text.") from error
    if not secret:
        raise SecretUnusable(f"{path} is empty.")
    return Registration(
        config.oidc_issuer, config.oidc_client_id, secret, config.oidc_name, config.oidc_create
    )
