"""Talks to the gateway as a caller does, and to the control API as an auditor does."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from examples.halden.demo.company import Company
from examples.halden.demo.requests import Asking
from examples.halden.demo.show import Seen

T = TypeVar("T")
TIMEOUT_S = 60.0


class Mail(Protocol):
    """How the company's services tell of events, and where notices arrive."""

    def send(self, event: Mapping[str, Any]) -> None:
        """Returns when whoever carries it has it on a disk."""

    def notices(self) -> list[str]:
        """Decisions of those that arrived."""


class Caller:
    """`mail` where events do not come over HTTP."""

    def __init__(self, company: Company, front: str, credentials: Mapping[str, str], auditor: str, mail: Mail | None = None) -> None:
        self._company = company
        self._ports = {**company.ports, "gateway": company.ports[front]}
        self._control = company.ports["control"]
        self._credentials = credentials
        self._auditor = auditor
        self._mail = mail

    def ask(self, asking: Asking) -> Seen:
        """Sends the request, then reads in the trail what was decided about it, and what came of it where that is waited for."""
        seen = self._told(asking) if asking.event is not None and self._mail is not None else self._asked(asking)
        then = asking.expected.then
        if then is None or not seen.records:
            return seen
        if then == "replayed":
            return replace(seen, then="replayed" if seen.outcome.get("reason") == "idempotency_replayed" else "sent again")
        if then == "arrived":
            return replace(seen, then="arrived" if self._arrived(str(seen.decision["id"])) else "nothing arrived")
        records = self.trail(str(seen.decision["id"]), "lockgate.evidence.v1")
        told = next((leaf["evidence"] for leaf in records if leaf["schema"] == "lockgate.evidence.v1"), None)
        return replace(seen, records=records, then=_phase(told), by=_teller(told))

    def _told(self, asking: Asking) -> Seen:
        """By the broker. The event carries a trace, by which its decision is found."""
        assert self._mail is not None
        trace = secrets.token_hex(16)
        began = time.perf_counter()
        self._mail.send({**(asking.event or {}), "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"})
        millis = (time.perf_counter() - began) * 1000
        decision = self._eventually(lambda: self.control("GET", f"/v1/audit/records?kind=decision&trace_id={trace}")["records"])
        records = self.trail(str(decision[0]["leaf"]["id"])) if decision else ()
        return Seen(202, "", millis, b"", records, by_broker=True)

    def _arrived(self, decision: str) -> bool:
        if self._mail is not None:
            mail = self._mail
            return bool(self._eventually(lambda: decision in mail.notices()))
        port = self._ports["backoffice"]
        return bool(self._eventually(lambda: decision in [each["decision"] for each in self.service(port, "/notices")["notices"]]))

    @staticmethod
    def _eventually(question: Callable[[], T]) -> T:
        """Its first answer that is true, or the last one."""
        until = time.monotonic() + TIMEOUT_S
        while not (answer := question()) and time.monotonic() < until:
            time.sleep(0.05)
        return answer

    def _asked(self, asking: Asking) -> Seen:
        body, content_type = asking.content
        headers = dict(asking.headers)
        if content_type is not None:
            headers["content-type"] = content_type
        if asking.who is not None:
            headers["authorization"] = self._credentials[asking.who]
        began = time.perf_counter()
        status, told, answer = self._send(self._ports[asking.door], asking.method, asking.path, headers, body)
        millis = (time.perf_counter() - began) * 1000
        decision = told.get("x-lockgate-decision-id")
        return Seen(status, _code(answer), millis, answer, self.trail(decision) if decision is not None else ())

    def trail(self, decision: str, last: str = "lockgate.outcome.v1") -> tuple[dict[str, Any], ...]:
        """The decision's records, once `last` is among them. The outcome is written when the answer is through, so it may come a moment
        after it, a second or two where Envoy tells of it, and evidence when the work has ended."""
        until, turn = time.monotonic() + TIMEOUT_S, 0
        while True:
            records = tuple(each["leaf"] for each in self.control("GET", f"/v1/audit/decisions/{decision}")["records"])
            ended = last == "lockgate.outcome.v1" and records[0]["outcome"] is not None
            if ended or last in [leaf["schema"] for leaf in records] or time.monotonic() > until:
                return records
            time.sleep(0.01 if turn < 20 else 0.1)
            turn += 1

    def latest_checkpoint(self) -> str:
        """The signed note; the first one comes a moment after the first record."""
        for _ in range(200):
            status, _, answer = self._send(self._control, "GET", "/v1/audit/checkpoint", self._as_auditor, None)
            if status == 200:
                return str(json.loads(answer)["note"])
            time.sleep(0.05)
        raise RuntimeError("no checkpoint was signed")

    @property
    def _as_auditor(self) -> dict[str, str]:
        return {"authorization": self._credentials[self._auditor], "content-type": "application/json"}

    def control(self, method: str, path: str, body: Any = None) -> Any:
        status, _, answer = self._send(self._control, method, path, self._as_auditor, None if body is None else json.dumps(body).encode())
        if status >= 400:
            raise RuntimeError(f"{method} {path} was answered {status}: {answer.decode()}")
        return json.loads(answer)

    def service(self, port: int, path: str) -> Any:
        """Straight to a service, past the gateway."""
        return json.loads(self._send(port, "GET", path, {}, None)[2])

    def _send(
        self, port: int, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while it was sent; the answer is there all the same
                connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def _phase(told: Mapping[str, Any] | None) -> str:
    return str(told["phase"]) if told is not None else "no evidence"


def _teller(told: Mapping[str, Any] | None) -> str:
    """Lockgate where it asked, else the service, by the name of its destination."""
    if told is None:
        return ""
    return str(told["sender"] if told["sender"].startswith("lockgate.") else told["destination"])


def _code(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("type", "")).rpartition(":")[2]
    except (ValueError, AttributeError):
        return ""
