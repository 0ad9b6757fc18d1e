"""From bytes to events: HTTP requests that were verified, and brokers' messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from router.cloud_events import CloudEventError, read_events
from router.config.events import EventNames
from router.doors.events.event import Event, from_cloud_event, from_names, invalid
from router.errors import RefusedError
from router.ports import Headers, Incoming

PREFIXES = ("ce_", "cloudevents:", "cloudevents_")  # of Kafka's and AMQP's bindings, whose fields say the same


def read_posted(headers: Headers, body: bytes, names: EventNames | None, source: str) -> list[Event]:
    """At least one. `headers`' names are lower case; `source`: the source of what has none. Raises RefusedError `event_media_type` (415),
    `event_invalid` (422)."""
    if names is None:
        return _cloud_events(headers, body)
    content_type = _of(headers, b"content-type")
    return [from_names(names, _document(_named(headers), body, content_type), body, content_type, source)]


def read_message(message: Incoming, names: EventNames | None, source: str) -> list[Event]:
    """As `read_posted`, of a broker's message. One that says that it is a CloudEvent is one."""
    headers = _as_http(message)
    is_event = any(name.startswith(b"ce-") for name, _ in headers) or message.content_type.startswith("application/cloudevents")
    return read_posted(headers, message.content, None if is_event else names, source)


def _cloud_events(headers: Headers, body: bytes) -> list[Event]:
    try:
        return [from_cloud_event(told) for told in read_events(headers, body)]
    except CloudEventError as error:
        raise RefusedError(str(error), "event_media_type", 415) if error.media else invalid(str(error)) from None


def _as_http(message: Incoming) -> Headers:
    headers: Headers = [(b"content-type", message.content_type.encode("latin-1", "replace"))] if message.content_type else []
    for name, value in message.fields.items():
        lowered = name.lower()
        prefix = next((each for each in PREFIXES if lowered.startswith(each)), None)
        if prefix is not None:
            lowered = "ce-" + lowered[len(prefix) :]
            if lowered != "ce-datacontenttype":  # which is a header field of HTTP as it is
                value = value.replace("%", "%25").replace('"', "%22")  # HTTP's fields are percent-encoded, perhaps quoted, theirs are not
        if lowered == "ce-datacontenttype":
            headers = [(b"content-type", value.encode()), *(each for each in headers if each[0] != b"content-type")]
        elif lowered != "content-type":
            headers.append((lowered.encode(), value.encode()))
    return headers


def _document(fields: Mapping[str, str], body: bytes, content_type: str) -> dict[str, Any]:
    kind = content_type.partition(";")[0].strip().lower()
    value: Any = None
    if kind == "application/json" or kind.endswith("+json") or not kind:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise invalid("The event's body is not JSON.") from None
    request = {"method": "POST", "path": "", "query": "", "headers": fields, "content_type": content_type}
    return {"body": value, "request": request, "event": {}, "decision": {}, "subject": {}, "trace": {}}


def _named(headers: Headers) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _of(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == wanted), "")
