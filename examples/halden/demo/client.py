"""Talks to the gateway as a caller does, and to the control API as an auditor does."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from examples.halden.demo.requests import Asking
from examples.halden.demo.show import Seen

TIMEOUT_S = 30.0


class Caller:
    def __init__(self, gateway: int, control: int, credentials: Mapping[str, str], auditor: str) -> None:
        self._gateway = gateway
        self._control = control
        self._credentials = credentials
        self._auditor = auditor

    def ask(self, asking: Asking) -> Seen:
        """Sends the request, then reads in the trail what was decided about it."""
        body, content_type = asking.content
        headers = dict(asking.headers)
        if content_type is not None:
            headers["content-type"] = content_type
        if asking.who is not None:
            headers["authorization"] = self._credentials[asking.who]
        began = time.perf_counter()
        status, told, answer = self._send(self._gateway, asking.method, asking.path, headers, body)
        millis = (time.perf_counter() - began) * 1000
        decision = told.get("x-lockgate-decision-id")
        return Seen(status, _code(answer), millis, answer, self.trail(decision) if decision is not None else ())

    def trail(self, decision: str) -> tuple[dict[str, Any], ...]:
        """The decision's records. The outcome is written when the answer is through, so it may come a moment after it, and a second or two
        where Envoy tells of it."""
        for turn in range(70):
            records = tuple(each["leaf"] for each in self.control("GET", f"/v1/audit/decisions/{decision}")["records"])
            if len(records) > 1 or records[0]["outcome"] is not None:
                break
            time.sleep(0.01 if turn < 20 else 0.1)
        return records

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


def _code(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("type", "")).rpartition(":")[2]
    except (ValueError, AttributeError):
        return ""
