"""Pages whose frame is sent before their answer is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from router.control.app import create_app
from router.control.console.html import MAIN
from router.control.services import AuditFilters, ControlServices, Page
from router.errors import AuditError, LockgateError, RefusedError
from tests.unit.control.conftest import Credential
from tests.unit.control.parts import Trail

SOON_ENOUGH = 10.0


class Slow(Trail):
    """Answers once the first bytes of the page were sent, so that a page that waits for its answer never comes."""

    def __init__(self, fault: Exception | None = None, *, at_once: bool = False) -> None:
        super().__init__()
        self.sent, self.fault = asyncio.Event(), fault
        if at_once:
            self.sent.set()

    async def query(self, filters: AuditFilters, cursor: str | None, limit: int, reader: str, *more: Any, **named: Any) -> Page:
        await asyncio.wait_for(self.sent.wait(), SOON_ENOUGH)
        if self.fault is not None:
            raise self.fault
        return Page([], None, 7)


async def got(services: ControlServices, trail: Slow, headers: dict[str, str], accept: str = "text/html") -> tuple[int, list[str]]:
    """(status, the parts of the body as they were sent)"""
    parts, status = list[str](), list[int]()
    fields = {"host": "127.0.0.1:8081", "accept": accept, **headers}
    scope = {
        "type": "http", "method": "GET", "scheme": "http", "path": "/console/audit", "raw_path": b"/console/audit", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()], "http_version": "1.1", "root_path": "",
        "server": ("127.0.0.1", 8081), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not left.is_set():
            left.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])
        elif message.get("body"):
            parts.append(message["body"].decode())
            trail.sent.set()

    await create_app(replace(services, audit=trail))(scope, receive, send)
    return status[0], parts


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, an answer that is there at once is waited for, however busy the machine is."""
    return lambda: monkeypatch.setattr("router.control.console.framed.SOON_S", SOON_ENOUGH)


async def test_the_frame_is_there_before_the_answer(services: ControlServices, credential: Credential, patient: Callable[[], None]) -> None:
    """With style, navigation and who it is for; together with the rest it is the whole page, once."""
    status, (frame, rest) = await got(services, Slow(), credential("auditor"))
    assert status == 200
    assert "console.css" in frame
    assert "<nav" in frame
    assert MAIN not in frame
    assert rest.startswith(MAIN)
    assert rest.endswith("</html>\n")
    patient()
    _, whole = await got(services, Slow(at_once=True), credential("auditor"))
    assert "".join(whole) == frame + rest


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (AuditError("The ledger does not answer.", "audit_closed"), "503 · audit_closed"),
        (RuntimeError("a secret of the inside"), "500 · internal"),
    ],
)
async def test_what_fails_later_is_told_in_the_page(services: ControlServices, credential: Credential, fault: Exception, told: str) -> None:
    """The frame is out by then; the sentence and its code stand where the answer would have, and nothing of what was found."""
    status, (_, rest) = await got(services, Slow(fault), credential("auditor"))
    assert (status, told in rest, "secret" in rest) == (200, True, False)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(AuditError("The ledger does not answer.", "audit_closed"), 503), (RefusedError("Not so.", "request_invalid", 422), 422)],
)
async def test_what_is_refused_at_once_has_its_status(
    services: ControlServices, credential: Credential, patient: Callable[[], None], fault: LockgateError, status: int
) -> None:
    """As without a frame; and who asks for no page gets none in two parts, however long it takes."""
    patient()
    assert (await got(services, Slow(fault, at_once=True), credential("auditor")))[0] == status
    plain = Slow(at_once=True)
    assert len((await got(services, plain, credential("auditor"), accept="*/*"))[1]) == 1
