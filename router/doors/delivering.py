"""Requests on routes that are delivered: answered once the decision and the delivery are durable, and sent until that is done."""

from __future__ import annotations

import hashlib

import orjson

from router.decision import Decision, Outcome, Result
from router.doors.body import BodyReader
from router.doors.following import follows, place_of
from router.doors.head import Head
from router.doors.onward import Ahead, Onward
from router.doors.relay import Exchange, Relay, outbound
from router.doors.responses import Send, respond
from router.doors.runtime import Runtime
from router.ports import Beside

ACCEPTED = 202


class Delivering:
    """Of one request. `beside` is called when its decision is about to be recorded."""

    def __init__(self, onward: Onward, runtime: Runtime, head: Head, reader: BodyReader, started_ns: int) -> None:
        self._onward = onward
        self._runtime = runtime
        self._head = head
        self._reader = reader
        self._started_ns = started_ns
        self.ahead: Ahead | None = None
        self.failed: Outcome | None = None

    def beside(self, decision: Decision, key_id: str, key: bytes) -> Beside:
        route = decision.route
        if decision.outcome is not None or route is None or route.name not in self._runtime.deliveries:
            return Beside()
        if not self._reader.complete:
            self.failed = Outcome(Result.DENIED, 413, "body_truncated")
            return Beside()
        exchange = Exchange(self._runtime, self._head, decision, self._started_ns, self._reader)
        order = self._order(decision)
        found = self._onward.ahead(self._runtime, decision, lambda _: outbound(exchange), key_id, key, order)
        if isinstance(found, Outcome):
            self.failed = found
        else:
            self.ahead = found
        return Beside(delivery=self.ahead.delivery if self.ahead is not None else None)

    def _order(self, decision: Decision) -> bytes:
        route, subject = decision.route, decision.request.subject
        by = self._runtime.deliveries[route.name].order if route is not None else ""
        told = {"subject": subject.id, "tenant": subject.tenant or "", "route": ""}.get(by)
        if route is None or told is None:
            return b""
        return hashlib.sha256("\x00".join((route.name, by, told)).encode("utf-8", "surrogatepass")).digest()

    async def act(self, exchange: Exchange, relay: Relay, send: Send) -> bool:
        """Whether the request was answered here."""
        if self.failed is not None:
            await relay.fail(exchange, self.failed, "The request cannot be delivered as it is.", send)
            return True
        if self.ahead is None:
            return False
        self._onward.begin(self._runtime, exchange.decision, self.ahead)
        told = {"decision_id": exchange.decision.id, "status": "accepted"}
        headers = [(b"content-type", b"application/json"), (b"x-lockgate-decision-id", exchange.decision.id.encode())]
        if follows(exchange.decision.request.subject):
            headers.append((b"location", place_of(exchange.decision.id)))
        await respond(send, ACCEPTED, orjson.dumps(told), headers)
        return True
