"""An answer that Envoy shows part by part, kept for whoever repeats its request: see `router.doors.repeating`, whose steps these are.

Envoy's own answers look like a service's. Which it is says Envoy's attribute `response.code_details` with the answer's head, or its access
log afterwards; where neither comes the answer is not kept, and nobody takes a 503 of Envoy's for the service's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from router.decision import Outcome, Result
from router.doors.repeating import Claim, packed
from router.ports import Headers

VIA_UPSTREAM = "via_upstream"  # the details of an answer that is not Envoy's own
_PREFIXES = (b":", b"x-lockgate-", b"x-envoy-")
_NOT_KEPT = frozenset((b"content-length", b"date", b"server"))  # Envoy says them anew


@dataclass(slots=True)
class Keeping:
    """`details`: what Envoy says of who answered; empty where it does not say."""

    claim: Claim
    status: int = 0
    details: str = ""
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    long: bool = False

    def began(self, status: int, fields: Sequence[tuple[bytes, bytes]], details: str, *, ended: bool) -> bool:
        """Whether the body is to be shown."""
        self.status, self.details, self.whole = status, details, ended
        self.headers = [(name, value) for name, value in fields if name not in _NOT_KEPT and not name.startswith(_PREFIXES)]
        length = next((value for name, value in fields if name == b"content-length"), b"")
        self.long = not ended and length.isdigit() and int(length) > self.claim.settings.most
        return not (ended or self.long or self._is_envoys)

    def came(self, part: bytes, *, ended: bool) -> None:
        self.long = self.long or len(self.body) + len(part) > self.claim.settings.most
        if self.long:
            self.body.clear()
        else:
            self.body += part
        self.whole = ended

    @property
    def ready(self) -> bool:
        """Whether nothing has to be waited for: the service's answer is here, or too long."""
        return self.whole and self.details == VIA_UPSTREAM

    async def keep(self) -> None:
        await self.claim.end(Outcome(Result.ROUTED, self.status), self._packed())

    async def settle(self, outcome: Outcome, *, reported: bool) -> None:
        """How it ended. `reported`: by Envoy's access log, which knows who answered."""
        if outcome.attempts > 1 and outcome.result is Result.FAILED:  # the last was not sent perhaps, and an earlier one was
            await self.claim.end(None, None)
            return
        known = self.details == VIA_UPSTREAM or (reported and not self.details)
        await self.claim.end(outcome, self._packed() if known else None)

    @property
    def _is_envoys(self) -> bool:
        return self.details not in ("", VIA_UPSTREAM)

    def _packed(self) -> bytes | None:
        return packed(self.status, self.headers, bytes(self.body)) if self.whole and not self.long else None
