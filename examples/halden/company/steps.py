"""Single steps of Halden's workflows: each asks one service for one thing, and may be tried again."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from examples.halden.services.common import Answer, RefusedError

TIMEOUT_S = 10.0
ALONE = {"payments": 9101, "people": 9102, "itdesk": 9103}
_DEVICE = re.compile(r"\b(?:LT|PH|TB|BD)-?\d{3,6}\b", re.IGNORECASE)


class UnavailableError(Exception):
    """The service did not answer, or not now: the step is worth another attempt."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a workflow is about. `decision` is the id under which Lockgate allowed it; `data` is an event's."""

    decision: str
    subject: str
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Services(Protocol):
    def call(self, service: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Raises RefusedError where the service will not, UnavailableError where it cannot now."""


class HttpServices:
    """Where `HALDEN_<NAME>_URL` says, else where each is when it is started alone."""

    def call(self, service: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        url = os.environ.get(f"HALDEN_{service.upper()}_URL", f"http://127.0.0.1:{ALONE[service]}") + path
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310  # an address of the configuration
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  # as above
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise UnavailableError(f"{service} answered {error.code}") from None
            raise RefusedError(error.code, str(json.loads(error.read()).get("error", ""))) from None
        except OSError as error:
            raise UnavailableError(f"{service} does not answer: {error}") from None


def open_case(services: Services, task: Task) -> Answer:
    return _asked(services, "payments", "dispute_charge", task, task.text)


def block_card(services: Services, task: Task) -> Answer:
    return _told(services, "payments", f"/cards/{quote(task.subject)}/block", task)


def block_device(services: Services, task: Task) -> Answer:
    """A device with its tag is blocked; without one the IT desk gets a ticket."""
    return _asked(services, "itdesk", "report_lost_device", task, task.text)


def reset_password(services: Services, task: Task) -> Answer:
    return _asked(services, "itdesk", "reset_password", task, "")


def order_replacement(services: Services, task: Task) -> Answer:
    found = _DEVICE.search(task.text)
    return _asked(services, "itdesk", "request_hardware", task, f"replacement for {found[0].upper() if found else 'a lost device'}")


def look_up_payment(services: Services, task: Task) -> Answer:
    """Raises RefusedError where the payment has not failed, whatever the event says."""
    number = str(task.data.get("payment", ""))
    payment = dict(services.call("payments", "GET", f"/payments/{quote(number)}", _headers(task), None)["payment"])
    if payment["status"] != "failed":
        raise RefusedError(409, f"payment {number} is {payment['status']}, and has not failed")
    return payment


def open_recovery(services: Services, task: Task) -> Answer:
    return _told(services, "payments", "/cases", task, kind="failed_payment", payment=str(task.data["payment"]))


def tell(services: Services, task: Task, whom: str, text: str) -> Answer:
    return _told(services, "people", f"/notes/{quote(whom)}", task, text=text)


STEPS = (open_case, block_card, block_device, reset_password, order_replacement, look_up_payment, open_recovery, tell)


def _asked(services: Services, service: str, intent: str, task: Task, text: str) -> Answer:
    headers = {**_headers(task), "x-lockgate-intent": intent, "content-type": "text/plain; charset=utf-8"}
    return services.call(service, "POST", "/ask", headers, text.encode())


def _told(services: Services, service: str, path: str, task: Task, **body: str) -> Answer:
    return services.call(service, "POST", path, {**_headers(task), "content-type": "application/json"}, json.dumps(body).encode())


def _headers(task: Task) -> dict[str, str]:
    """The decision goes along, so that every service can say under which one it acted."""
    return {"x-lockgate-decision-id": task.decision, "x-lockgate-subject": task.subject}
