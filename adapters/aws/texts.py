"""Messages as SQS and SNS take them: text, and at most ten attributes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

import orjson

from adapters.messaging.destination import failure
from adapters.messaging.document import DECISION_ID
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped

MOST_ATTRIBUTES = 10
ALL = "x-lockgate-fields"
"""An attribute with all that was decided, as JSON, since not all of it finds room by itself."""
ENCODING = "content-transfer-encoding"
BASE64 = "base64"
NAME = re.compile(r"(?!aws\.|amazon\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.IGNORECASE)
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def body(content: bytes) -> tuple[str, dict[str, str]]:
    """The text, and attributes that say how it is to be read: what is no text, or has characters that XML has not, goes as base64."""
    if not content:
        raise unmapped("the service takes no empty message; say with 'input' what to send")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if FORBIDDEN.search(text):
        return base64.b64encode(content).decode(), {ENCODING: BASE64}
    return text, {}


def content(text: str, attributes: Mapping[str, str]) -> bytes:
    if attributes.get(ENCODING) != BASE64:
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def attributes(message: Message, encoded: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What is needed to read and trace it, what the settings add, then of the event and the decision as much as has room."""
    first = {
        "content-type": message.content_type,
        "message-id": scoped(message),
        "traceparent": message.fields.get("traceparent", ""),
        DECISION_ID: message.decision_id,
        **encoded,
        **own,
    }
    told = {name: value for name, value in first.items() if value}
    told.setdefault(ALL, orjson.dumps(dict(message.fields)).decode())
    for name, value in sorted(message.fields.items()):
        if len(told) >= MOST_ATTRIBUTES:
            break
        if value and NAME.fullmatch(name):
            told.setdefault(name, value)
    return dict(list(told.items())[:MOST_ATTRIBUTES])


def measured(text: str, told: Mapping[str, str], largest: int, who: str) -> None:
    """Raises DestinationError `body_too_large`, as the service would."""
    size = len(text.encode()) + sum(len(name) + len("String") + len(value.encode()) for name, value in told.items())
    if size > largest:
        raise failure("body_too_large", f"{who} takes messages of at most {largest} bytes with their attributes, and this has {size}")


def typed(told: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in told.items()}
