"""Events as CloudEvents' own Python SDK writes them are read as it means them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from router.control.cloud_events import BATCH, cloud_events

DECISION = "019ab9d0-1111-7000-8000-000000000001"
DATA: list[Any] = [{"amount": 12, "who": "Zoë"}, b"\x00\xff", None]


def event(data: Any, number: int = 1) -> CloudEvent:
    attributes = {
        "id": f"e-{number}",
        "source": "/payments/Zoë%20B",
        "type": "example.payment.refunded",
        "specversion": "1.0",
        "subject": 'a "quoted" Zoë, 100 %',
        "time": datetime(2026, 11, 24, 9, 45, 20, tzinfo=UTC),
        "lockgatedecision": DECISION,
        "lockgatephase": "failed",
        **({"datacontenttype": "application/octet-stream"} if isinstance(data, bytes) else {"datacontenttype": "application/json"}),
    }
    return CloudEvent(attributes=attributes, data=data)


def read(message: HTTPMessage) -> dict[str, Any]:
    headers = [(name.lower().encode(), value.encode()) for name, value in message.headers.items()]
    (found,) = cloud_events(headers, message.body)
    assert (found.id, found.source, found.decision, found.phase) == ("e-1", "/payments/Zoë%20B", DECISION, "failed")
    told: dict[str, Any] = json.loads(found.document)
    return told


@pytest.mark.parametrize("data", DATA)
def test_both_modes_say_the_same(data: Any) -> None:
    """Attributes arrive as they were set, whatever the data is."""
    binary, structured = read(to_binary(event(data), JSONFormat())), read(to_structured(event(data), JSONFormat()))
    assert binary["subject"] == structured["subject"] == 'a "quoted" Zoë, 100 %'
    assert binary == structured


def test_a_batch_of_the_sdk_is_read() -> None:
    """In its order."""
    body = b"[" + b",".join(to_structured(event(DATA[0], number), JSONFormat()).body for number in range(3)) + b"]"
    assert [one.id for one in cloud_events([(b"content-type", BATCH.encode())], body)] == ["e-0", "e-1", "e-2"]
