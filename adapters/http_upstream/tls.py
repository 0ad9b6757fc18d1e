"""TLS towards upstreams, for the clients that take Python's own context."""

from __future__ import annotations

import ssl

from router.errors import ConfigError


def context(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """PEM files. Authorities in `ca` are trusted besides the system's. Raises ConfigError when a file cannot be used."""
    made = ssl.create_default_context()
    try:
        if ca is not None:
            made.load_verify_locations(ca)
        if certificate is not None:
            made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS files of a destination cannot be used: {error}") from error
    return made
