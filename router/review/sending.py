"""A held request as it is sent, and what is kept of the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from router.decision import Outcome, Result
from router.errors import DestinationError
from router.ports import Headers, Outbound, Reply
from router.quick import quickly_made
from router.review.packing import Answer

KEPT_BYTES = 16 * 1024
MOST_BYTES = 4 * 1024 * 1024
MOST_SECONDS = 30.0
HEADER_BYTES = 16 * 1024
RESPONSE_BYTES = "response_bytes"  # of a held request's summary: how long policy lets the answer be
IDEMPOTENCY_KEY = b"idempotency-key"


@quickly_made
@dataclass(frozen=True, slots=True)
class Received:
    """`reason` says why the answer's end was not seen, if it was not."""

    status: int
    upstream: str
    attempts: int
    content_type: str
    body: bytes
    total_bytes: int
    reason: str = ""
    work: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def answer(self) -> Answer:
        whole = not self.reason and len(self.body) == self.total_bytes
        return Answer(self.status, self.content_type, self.body, whole, self.headers)

    def outcome(self, request_digest: str, total_ns: int, upstream_ns: int = 0) -> Outcome:
        return Outcome(
            Result.FAILED if self.reason else Result.ROUTED,
            self.status,
            self.reason,
            upstream=self.upstream,
            attempts=self.attempts,
            total_ns=total_ns,
            upstream_ns=upstream_ns,
            request_digest=request_digest,
            response_bytes=self.total_bytes,
            complete=not self.reason,
            work=self.work,
        )


def with_key(outbound: Outbound, decision_id: str, *, deduplicates: bool) -> Outbound:
    """Every sending of one held request carries the same key: the caller's own, else the decision's id."""
    own = next((value for name, value in outbound.headers if name.lower() == IDEMPOTENCY_KEY), None)
    headers = outbound.headers if own is not None else [*outbound.headers, (IDEMPOTENCY_KEY, decision_id.encode())]
    key = own.decode("latin-1") if own is not None else decision_id
    return Outbound(outbound.method, outbound.target, headers, outbound.body, outbound.idempotent or deduplicates, key)


async def received(reply: Reply, limit: int | None = None, kept_bytes: int = KEPT_BYTES) -> Received:
    """The upstream has acted once it answers, so nothing here fails: an answer that breaks off or does not end is noted. `limit`: bytes of
    it that policy allows; nothing is kept of one that is longer, and else the first `kept_bytes`."""
    kept, total, reason = bytearray(), 0, ""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            async for chunk in reply.chunks():
                total += len(chunk)
                if limit is not None and total > limit:
                    reason = "response_too_large"
                    kept.clear()
                    break
                kept += chunk[: kept_bytes - len(kept)]
                if total > MOST_BYTES:
                    reason = "response_too_long"
                    break
    except DestinationError as error:
        reason = error.code
    except TimeoutError:
        reason = "response_too_slow"
    finally:
        await reply.close()
    content_type = next((value for name, value in reply.headers if name.lower() == b"content-type"), b"").decode("latin-1")
    return Received(
        reply.status, reply.upstream, reply.attempts, content_type, bytes(kept), total, reason, reply.work, _bounded(reply.headers)
    )


def _bounded(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """None where they are more than any server takes: what is kept is kept for long."""
    size = sum(len(name) + len(value) for name, value in headers)
    return tuple((bytes(name), bytes(value)) for name, value in headers) if size <= HEADER_BYTES else ()
