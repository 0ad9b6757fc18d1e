"""The place that bundles are asked from, as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from router.config.bundle_places import OCI, S3, S3Settings, oci_reference, s3_object
from router.config.bundles import BundleConfig
from router.errors import BundleError

if TYPE_CHECKING:
    from adapters.bundle_s3 import S3Keys
    from adapters.bundle_source import Given


class Place(Protocol):
    async def ask(self, etag: str | None, wait_s: float | None) -> Given:
        """Raises BundleError."""

    async def close(self) -> None: ...


def make_place(settings: BundleConfig, root: Path, environment: Mapping[str, str]) -> Place:
    """Raises ConfigError for secrets and files that cannot be read."""
    ca = root / settings.ca if settings.ca is not None else None
    token = settings.token.reveal(root) if settings.token is not None else None
    if settings.source.startswith(OCI):
        from adapters.bundle_oci import Login, OciBundle  # only what is asked is loaded

        login = Login(token)
        if settings.registry is not None:
            login = Login(None, settings.registry.user, settings.registry.password.reveal(root))
        return OciBundle(*oci_reference(settings.source), login, ca, settings.timeout)
    if settings.source.startswith(S3):
        from adapters.bundle_s3 import S3Object

        s3 = settings.s3 or S3Settings()
        bucket, key = s3_object(settings.source)
        return S3Object(bucket, key, s3.region, lambda: s3_keys(s3, root, environment), s3.endpoint, ca, settings.timeout)
    from adapters.bundle_http import BundleServer

    return BundleServer(settings.source, token, ca, settings.timeout)


def s3_keys(settings: S3Settings, root: Path, environment: Mapping[str, str]) -> S3Keys:
    """Of the configuration, or else of the environment. Raises ConfigError."""
    if settings.access_key is not None and settings.secret_key is not None:
        session = settings.session_token.reveal(root) if settings.session_token is not None else None
        return _sendable(settings.access_key.reveal(root), settings.secret_key.reveal(root), session)
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        raise BundleError(
            "The bundle's bucket needs keys: policy.bundle.s3, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.", "bundle_unavailable"
        )
    return _sendable(access, secret, environment.get("AWS_SESSION_TOKEN") or None)


def _sendable(access: str, secret: str, session: str | None) -> S3Keys:
    from adapters.bundle_s3 import S3Keys

    if not all(each.isascii() and each.isprintable() and each for each in (access, secret, session or "-")):
        raise BundleError("A key for the bundle's bucket is empty or not one line.", "bundle_unavailable")
    return S3Keys(access, secret, session)
