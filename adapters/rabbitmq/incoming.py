"""What a consumer makes of a message, and what becomes of it when it goes elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

COUNTED = "x-delivery-count"
"""Of quorum queues: how often it came back."""
RETRIED = "x-lockgate-retried"
"""How often it was handed out before it went through a retry queue."""
CLOUD_EVENTS = ("cloudevents:", "cloudevents_")
PERSISTENT = 2


def fields(message: DeliveredMessage) -> dict[str, str]:
    """Header fields, names in lower case; those of the properties that tell messages apart beside them. CloudEvents' attributes are as over
    HTTP."""
    properties = message.header.properties
    found = {"message-id": properties.message_id, "correlation-id": properties.correlation_id, "message-type": properties.message_type}
    told = dict[str, str]()
    for name, value in headers(message).items():
        text = _text(value)
        if text is not None:
            lowered = name.lower()
            told[_named(lowered)] = _as_over_http(text) if lowered.startswith(CLOUD_EVENTS) else text
    return told | {name: text for name, text in found.items() if text}


def headers(message: DeliveredMessage) -> Mapping[str, Any]:
    return message.header.properties.headers or {}


def tries(message: DeliveredMessage) -> int:
    """Classic queues say no more than that it came before."""
    told = headers(message)
    before = _count(told.get(RETRIED))
    again = _count(told.get(COUNTED)) if COUNTED in told else int(bool(getattr(message.delivery, "redelivered", False)))
    return 1 + before + again


def onward(message: DeliveredMessage, more: Mapping[str, Any]) -> Basic.Properties:
    """Its properties, persistent, with more header fields, and without what a queue counted."""
    made = copy.copy(message.header.properties)
    kept = {name: value for name, value in headers(message).items() if name not in (COUNTED, RETRIED)}
    made.headers, made.delivery_mode, made.expiration = {**kept, **more}, PERSISTENT, None
    made.user_id = None  # the broker wants our own there, or none
    return made


def _named(name: str) -> str:
    start = next((each for each in CLOUD_EVENTS if name.startswith(each)), None)
    return name if start is None else f"ce-{name[len(start) :]}"


def _as_over_http(text: str) -> str:
    """There they are percent-encoded, perhaps quoted."""
    return text.replace("%", "%25").replace('"', "%22")


def _text(value: Any) -> str | None:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0
