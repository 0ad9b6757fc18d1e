"""A message as a CloudEvent over HTTP (CloudEvents 1.0.2, HTTP binding §3.1 and §3.2)."""

from __future__ import annotations

import base64
import re
from typing import Literal
from urllib.parse import quote

import orjson
from pydantic import Field

from adapters.messaging.document import JSON
from adapters.messaging.message import Message
from router.settings import Strict
from router.templates import Line

STRUCTURED = "application/cloudevents+json; charset=utf-8"
_KEPT = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"  # §3.1.3.2: all printable ASCII but the quote and the percent sign
_BASE64 = re.compile(r"application/(octet-stream|.*zip|pdf)|(image|audio|video)/.*")


class Event(Strict):
    """Send a CloudEvent. A request that is one already keeps its attributes, but for those that are set here."""

    mode: Literal["structured", "binary"] = Field(default="structured", description="The event as one JSON document, or as header fields.")
    type: Line = Field(description="The event's type, such as `com.example.invoice.approved`.")
    source: Line = Field(description="Where it comes from, such as `/lockgate/billing`: with its id it makes an event the same one.")
    subject: Line | None = Field(default=None, description="What it is about.")


def attributes(settings: Event, message: Message, message_id: str) -> dict[str, str]:
    """`id` is the message's: repeated sendings are one event. Raises DestinationError `input_unmapped`."""
    came = {name: value for name, value in message.document["event"].items() if isinstance(value, str) and value}
    made = came | {
        "specversion": "1.0",
        "id": message_id,
        "type": message.text(settings.type),
        "source": message.text(settings.source),
        "lockgatedecision": message.decision_id,
    }
    if settings.subject is not None:
        made["subject"] = message.text(settings.subject)
    if "traceparent" in message.fields:
        made["traceparent"] = message.fields["traceparent"]
    made.pop("datacontenttype", None)
    return {name: value for name, value in made.items() if value}


def enveloped(settings: Event, message: Message, message_id: str) -> tuple[dict[str, str], bytes]:
    """Header fields and body."""
    told = attributes(settings, message, message_id)
    if settings.mode == "binary":
        fields = {f"ce-{name}": quote(value, safe=_KEPT) for name, value in told.items()}
        return fields | ({"content-type": message.content_type} if message.content_type else {}), message.content
    return {"content-type": STRUCTURED}, orjson.dumps(told | _data(message))


def _data(message: Message) -> dict[str, object]:
    if not message.content:
        return {}
    kind = message.content_type.partition(";")[0].strip().lower() or "application/octet-stream"
    told: dict[str, object] = {"datacontenttype": message.content_type or kind}
    if kind == JSON or kind.endswith("+json"):
        return told | {"data": message.json()}
    try:
        return told | {"data": message.content.decode()} if not _BASE64.fullmatch(kind) else told | _packed(message.content)
    except UnicodeDecodeError:
        return told | _packed(message.content)


def _packed(content: bytes) -> dict[str, str]:
    return {"data_base64": base64.b64encode(content).decode()}
