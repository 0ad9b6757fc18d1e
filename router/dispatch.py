"""Sends a decided request to its destination, with the obligations that policy put on it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from router.decision import Decision, Outcome, Request, Result
from router.errors import DestinationError, LockgateError, PolicyError
from router.masking import Masker, masked
from router.obligations import added_headers, for_sockets, named, read
from router.ports import Destination, Headers, Outbound, Reply, Socket
from router.redaction import READABLE, redacted
from router.stages.canary import place


class Mirrors(Protocol):
    def offer(self, name: str, share: int, outbound: Outbound) -> None:
        """Returns at once and raises nothing. `share` in percent; the body was read whole."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """`destinations` by route name, since a route may override its destination's time-outs; `others`, by route and name, of routes that
    have a second one. `mirrors`: where copies go; `copies`: what is copied without policy's asking, name and share by route."""

    destinations: Mapping[str, Destination]
    mask: Masker
    mirrors: Mirrors | None = None
    others: Mapping[tuple[str, str], Destination] = field(default_factory=dict)
    copies: Mapping[str, tuple[str, float]] = field(default_factory=dict)

    async def send(self, decision: Decision, outbound: Outbound) -> Reply:
        """Raises DestinationError, PolicyError (`obligation_failed`). The reply has a status that is one and is final (RFC 9110 §15)."""
        destination, obliged = self.destination(decision), self.oblige(decision, outbound)
        self.copy(decision, obliged)
        reply = await destination.send(obliged)
        if not 200 <= reply.status <= 599:
            await reply.close()
            detail = f"The upstream answered with the status {reply.status}, which nobody can be told."
            raise DestinationError(detail, "upstream_protocol", sent=True, attempts=reply.attempts, upstream=reply.upstream)
        return reply

    def copy(self, decision: Decision, obliged: Outbound) -> None:
        """Offers the copies that policy and the route want. Raises PolicyError."""
        if decision.verdict.obligations:
            self.mirror(decision, obliged)
        if self.copies:
            self._copy(decision, obliged)

    def check_copies(self, decision: Decision) -> None:
        """Of a body that was read whole: raises PolicyError where policy wants copies and nobody makes any."""
        if self.mirrors is None and any(named(decision.verdict.obligations, "mirror")):
            raise PolicyError("The request cannot be copied as policy asks.", "obligation_failed")

    async def connect(self, decision: Decision, target: str, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        """A WebSocket with the same obligations; its messages are a body and an answer that nobody has read. Raises as `send`."""
        obliged = self.oblige_socket(decision, target, headers)
        return await self.destination(decision).connect(obliged.target, obliged.headers, subprotocols)

    def destination(self, decision: Decision) -> Destination:
        if decision.route is None or decision.route.name not in self.destinations:
            raise DestinationError("The decision names no destination that is configured.", "destination_unknown", 502)
        if decision.route.split:
            return self.others.get((decision.route.name, decision.route.destination)) or self.destinations[decision.route.name]
        return self.destinations[decision.route.name]

    def _copy(self, decision: Decision, obliged: Outbound) -> None:
        """What the route has copied. Which requests these are follows from their ids, so that it can be told afterwards."""
        copied = self.copies.get(decision.route.name) if decision.route is not None else None
        if copied is not None and self.mirrors is not None and place("mirror", decision.id) < copied[1]:
            self.mirrors.offer(copied[0], 100, obliged)

    def oblige(self, decision: Decision, outbound: Outbound) -> Outbound:
        """The request as policy wants it to go out. Raises PolicyError where it cannot be made so."""
        obligations = decision.verdict.obligations
        if not obligations:
            return outbound
        for each in obligations:
            read(each.name, each.params)
        if added := added_headers(obligations):
            fields = [(name.encode(), value.encode()) for name, value in added.items()]
            outbound = replace(outbound, headers=_replaced(outbound.headers, fields))
        if wanted := named(obligations, "redact_fields"):
            outbound = replace(outbound, body=redacted(_readable(outbound, decision.request), decision.request.content_type, wanted))
        if named(obligations, "mask_body"):
            outbound = replace(outbound, body=masked(_readable(outbound, decision.request), decision.request.content_type, self.mask))
        return outbound

    def oblige_socket(self, decision: Decision, target: str, headers: Headers) -> Outbound:
        """The handshake as policy wants it to go out. Raises PolicyError where it cannot be made so."""
        obliged = self.oblige(decision, Outbound("GET", target, headers, _Unread()))
        for_sockets(decision.verdict.obligations)
        return obliged

    def mirror(self, decision: Decision, obliged: Outbound) -> None:
        """Offers the copies that policy wants. Raises PolicyError."""
        for each in named(decision.verdict.obligations, "mirror"):
            if self.mirrors is None or not isinstance(obliged.body, bytes):
                raise PolicyError("The request cannot be copied as policy asks.", "obligation_failed")
            self.mirrors.offer(each["destination"], each.get("share", 100), obliged)


def undeliverable() -> DestinationError:
    """Of a route that is delivered, where nobody could answer for it."""
    return DestinationError("Requests on this route are delivered, which is not possible here.", "delivery_unsupported", 501)


def failure(error: DestinationError, total_ns: int) -> Outcome:
    return Outcome(
        Result.FAILED, error.status, error.code, upstream=error.upstream, attempts=error.attempts, total_ns=total_ns, complete=False
    )


def unheld(error: LockgateError) -> Outcome:
    """Of a request that could not be held. Where nobody knows whether it is, it has failed, and is not one that may simply be made again:
    a person might be asked about both."""
    return Outcome(Result.FAILED if error.unsettled else Result.DENIED, 503, error.code)


def content_digest(outbound: Outbound) -> str:
    """SHA-256 over everything of a held request that reaches the upstream; an approval is bound to it."""
    if not isinstance(outbound.body, bytes):
        raise PolicyError("Only a request whose body was read whole can be held.", "body_truncated")
    digest = hashlib.sha256()
    head = [outbound.method.encode(), outbound.target.encode(), *(name + b":" + value for name, value in outbound.headers)]
    for part in (*head, outbound.body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _replaced(headers: Headers, added: Headers) -> Headers:
    """What policy says takes the place of what the caller said under that name: an upstream might take either of two."""
    names = {name for name, _ in added}
    return [field for field in headers if field[0].lower() not in names] + added


class _Unread:
    """Messages that are still to come: there are bytes, and nobody has seen them."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


def _readable(outbound: Outbound, request: Request) -> bytes:
    """The body, where it is the one that was understood."""
    if not isinstance(outbound.body, bytes):
        raise PolicyError("A body that was not read whole cannot be changed.", "obligation_failed")
    if outbound.body and request.body.problem not in READABLE:  # the upstream would read something else than we did
        raise PolicyError("The body could not be read, so it could not be changed.", "obligation_failed")
    return outbound.body
