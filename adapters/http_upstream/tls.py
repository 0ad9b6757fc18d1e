"""TLS towards upstreams, for the clients that take Python's own context."""

from __future__ import annotations

import ssl

from router.errors import ConfigError


def context(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """PEM files; without `ca` the system's authorities are trusted."""
    try:
        made = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files of a destination cannot be used: {error}") from error
    return made
