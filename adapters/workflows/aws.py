"""Requests to AWS, signed (Signature Version 4), of services that speak JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pydantic import Field

from adapters.aws.signing import Keys, signed
from adapters.workflows.access import Ask, revealed
from adapters.workflows.client import Call
from router.secret import Secret
from router.settings import Strict, Text

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
        token = self._keys.session_token
        keys = Keys(
            self._keys.access_key,
            await revealed(self._keys.secret_key, self._name),
            await revealed(token, self._name) if token is not None else None,
        )
        given = {name.lower(): value.strip() for name, value in call.headers.items() if name.lower() not in UNSIGNED}
        made = signed(
            call.method,
            call.url,
            service=self._service,
            region=self._region,
            keys=keys,
            now=self._now(),
            headers=given,
            body=call.body,
            tells_digest=False,
        )
        return {name: value for name, value in made.items() if name not in given and name != "host"}
