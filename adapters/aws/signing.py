"""Signature Version 4 of a request whose body is known."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def signed(
    method: str,
    url: str,
    *,
    service: str,
    region: str,
    keys: Keys,
    now: datetime,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    tells_digest: bool = True,
) -> dict[str, str]:
    """The headers of the request, its own and the signature's; names in lower case. The URL has no query, and its path is as it is sent.
    `tells_digest`: the body's digest is a header of its own, as S3 wants it."""
    parts = urlsplit(url)
    stamp, digest = now.strftime("%Y%m%dT%H%M%SZ"), hashlib.sha256(body).hexdigest()
    told = {**(headers or {}), "host": parts.netloc, "x-amz-date": stamp}
    if tells_digest:
        told["x-amz-content-sha256"] = digest
    if keys.session_token is not None:
        told["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(told))
    canonical = "\n".join((method, parts.path or "/", "", *(f"{name}:{told[name]}" for name in sorted(told)), "", names, digest))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {**told, "authorization": f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"}
