"""Requests to AWS, signed (Signature Version 4), of services that speak JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Self

from pydantic import Field, model_validator

from adapters.aws.places import far
from adapters.aws.roles import AssumedRole, WebIdentity, check_known_by_one
from adapters.aws.signing import Keys, signed
from adapters.messaging.destination import failure
from adapters.workflows.access import ROOT, Ask, revealed
from adapters.workflows.client import Call
from router.secret import Secret
from router.settings import Strict, Text
from router.system import SystemClock

UNSIGNED = frozenset({"traceparent", "tracestate"})  # what may be changed on the way, by proxies that take part in a trace


class AwsKeys(Strict):
    """An access key; one that expires comes with a session token. Files may be exchanged at any time. Or a role instead."""

    access_key: Text | None = Field(default=None, description="Id of the access key.")
    secret_key: Secret | None = Field(default=None, description="The secret key.")
    session_token: Secret | None = Field(default=None, description="Token of a session.")
    web_identity: WebIdentity | None = Field(default=None, description="A role that is assumed with a token, instead of keys.")

    @model_validator(mode="after")
    def _known_by_one(self) -> Self:
        check_known_by_one(self.access_key, self.secret_key, self.session_token, self.web_identity)
        if self.web_identity is not None and far(self.web_identity.endpoint):
            raise ValueError("has a 'web_identity' whose token would be sent unencrypted to another machine; use https")
        return self


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
        self._role: AssumedRole | None = None

    def expired(self) -> None:
        """The service says that the keys are good no more."""
        if self._role is not None:
            self._role.refused()

    async def _own_keys(self) -> Keys:
        made = self._keys
        if made.access_key is None or made.secret_key is None:
            raise failure("upstream_denied", f"there are no keys for {self._name}")
        token = await revealed(made.session_token, self._name) if made.session_token is not None else None
        return Keys(made.access_key, await revealed(made.secret_key, self._name), token)

    async def _assumed(self, settings: WebIdentity, ask: Ask) -> Keys:
        async def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            answer = await ask(Call("POST", url, body, headers))
            return answer.status, answer.content

        if self._role is None:
            self._role = AssumedRole(settings, self._region, ROOT, SystemClock(), self._name, post)
        return await self._role.keys()

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        keys = await self._own_keys() if self._keys.web_identity is None else await self._assumed(self._keys.web_identity, ask)
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
