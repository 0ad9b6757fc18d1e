"""Where services are."""

from __future__ import annotations

from urllib.parse import urlsplit


def service_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError("must be a URL without a path such as http://127.0.0.1:4566")
    return value.rstrip("/")


def far(url: str | None) -> bool:
    """Whether it would be spoken to unencrypted at another machine."""
    parts = urlsplit(url or "https://")
    return parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost")
