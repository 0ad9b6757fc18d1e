"""The event door over HTTP where nothing more may be taken: its sender is told when to come again, and nothing of the event is kept."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from router.config.events import EventSource
from router.doors.events.http import EventDoor
from router.doors.events.plan import SourcePlan
from router.doors.events.taking import Answer as Accepted
from router.doors.events.taking import Taken
from router.errors import AuditError
from router.system import SystemClock, SystemRandom
from tests.faults.gateway_harness import House

EVENT = {"specversion": "1.0", "id": "m-1", "source": "/shop", "type": "order.made"}
Answer = tuple[int, dict[bytes, bytes], dict[str, Any]]


class Door:
    """`full`: whether as many deliveries wait as may, or what asking for that raises."""

    def __init__(self, full: bool | AuditError) -> None:
        self.full, self.taken, self.house = full, list[str](), House()
        taking: Any = self
        counting: Any = SimpleNamespace(event=lambda *_: None)
        runtime = self.house.runtime
        self.door = EventDoor(
            lambda: nullcontext(runtime), taking, self._full, SystemClock(), SystemRandom(), self.house.seen, counting, 1000
        )
        self.door.plans = {"shop": SourcePlan("shop", EventSource.model_validate({}))}

    async def _full(self) -> bool:
        if isinstance(self.full, AuditError):
            raise self.full
        return self.full

    async def take(self, event: Any, *_: Any, **__: Any) -> Taken:
        self.taken.append(event.named.id)
        return Taken(Accepted("d", "accepted"))

    async def post(self) -> Answer:
        body, sent = orjson.dumps(EVENT), list[dict[str, Any]]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"host", b"a"), (b"content-type", b"application/cloudevents+json"), (b"content-length", b"%d" % len(body))]
        scope = {"type": "http", "method": "POST", "path": "/events/shop", "raw_path": b"/events/shop", "query_string": b""}
        await self.door({**scope, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 5), "headers": headers}, receive, send)
        answer = b"".join(each.get("body", b"") for each in sent[1:])
        return sent[0]["status"], dict(sent[0]["headers"]), orjson.loads(answer)


async def test_while_as_many_deliveries_wait_as_may_no_event_is_taken() -> None:
    """503, and when to come again; it is counted as refused."""
    made = Door(full=True)
    status, headers, problem = await made.post()
    assert (status, problem["type"].rpartition(":")[2], headers[b"retry-after"]) == (503, "events_pending", b"5")
    assert (made.taken, made.house.seen.refusals) == ([], [("events_pending", 503)])
    made.full = False
    assert ((await made.post())[0], made.taken) == (202, ["m-1"])


@pytest.mark.parametrize("code", ["audit_unavailable", "audit_store_unavailable"])
async def test_where_nobody_can_tell_how_many_wait_no_event_is_taken(code: str) -> None:
    """Nor could it be recorded."""
    made = Door(AuditError("The ledger does not answer.", code))
    status, headers, problem = await made.post()
    assert (status, problem["type"].rpartition(":")[2], headers[b"retry-after"], made.taken) == (503, code, b"1", [])
