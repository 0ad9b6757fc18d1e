"""Requests to AWS, signed (Signature Version 4), of services that speak JSON."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import Field

from adapters.workflows.access import Ask, revealed
from adapters.workflows.client import Call
from router.secret import Secret
from router.settings import Strict, Text

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = frozenset({"traceparent", "tracestate"})  # what may be changed on the way, by proxies that take part in a trace


class AwsKeys(Strict):
    """An access key; one that expires comes with a session token. Files may be exchanged at any time."""

    access_key: Text = Field(description="Id of the access key.")
    secret_key: Secret = Field(description="The secret key.")
    session_token: Secret | None = Field(default=None, description="Token of a session.")


class Signed:
    """Implements `adapters.workflows.access.Access`: everything that is in the call is signed, but the trace."""

    renews = False

    def __init__(
        self, name: str, service: str, region: str, keys: AwsKeys, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._name = name
        self._service = service
        self._region = region
        self._keys = keys
        self._now = now

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        secret = await revealed(self._keys.secret_key, self._name)
        stamp = self._now().strftime("%Y%m%dT%H%M%SZ")
        own = {"x-amz-date": stamp}
        if self._keys.session_token is not None:
            own["x-amz-security-token"] = await revealed(self._keys.session_token, self._name)
        parts = urlsplit(call.url)
        given = {name.lower(): value for name, value in call.headers.items() if name.lower() not in UNSIGNED}
        headers = {**given, **own, "host": parts.netloc}
        names, digest = ";".join(sorted(headers)), hashlib.sha256(call.body).hexdigest()
        lines = (f"{name}:{headers[name].strip()}" for name in sorted(headers))
        canonical = "\n".join((call.method, parts.path or "/", "", *lines, "", names, digest))
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        signing = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        signature = hmac.digest(signing, text.encode(), "sha256").hex()
        credential = f"{self._keys.access_key}/{scope}"
        return {**own, "authorization": f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"}
