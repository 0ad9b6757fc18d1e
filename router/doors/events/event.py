"""One event as the door takes it, whatever brought it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from router.cloud_events import Told, data_of
from router.config.events import EventNames
from router.decision import EventSource
from router.errors import RefusedError
from router.quick import quickly_made
from router.templates import UnmappedError

MOST_NAME = 512
UNSAFE = '%"'
_PLAIN = "!#$&'()*+,-./:;<=>?@[]^_`{|}~ "  # of what may stand in a header field, all but the escape and the quotation mark
_AS_IT_IS = re.compile(rf"[A-Za-z0-9{re.escape(_PLAIN)}]*").fullmatch  # almost every value; `quote` finds that out in ten times as long


@quickly_made
@dataclass(frozen=True, slots=True)
class Event:
    """`attributes` are those of CloudEvents, by name, as text; `source`, `id` and `type` are among them. `content` is what happened."""

    attributes: Mapping[str, str]
    content: bytes
    content_type: str
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> EventSource:
        return EventSource(self.attributes["source"], self.attributes["id"])

    def fields(self) -> list[tuple[str, str]]:
        """As header fields of the CloudEvents HTTP binding, percent-encoded where they are more than printable ASCII."""
        return [(f"ce-{name}", value if _AS_IT_IS(value) else quote(value, safe=_PLAIN)) for name, value in self.attributes.items()]


def from_cloud_event(told: Told) -> Event:
    content, kind = data_of(told)
    attributes = {name: _text(value) for name, value in told.items() if name not in ("data", "data_base64", "datacontenttype")}
    return Event(attributes, content, kind)


def from_names(names: EventNames, document: Mapping[str, Any], content: bytes, content_type: str, source: str) -> Event:
    """What is no CloudEvent. `source` where `names` has none. Raises RefusedError `event_invalid` (422)."""
    try:
        attributes = {
            "specversion": "1.0",
            "id": names.id.fill(document),
            "source": names.source.fill(document) if names.source is not None else source,
            "type": names.type.fill(document),
        }
    except UnmappedError as error:
        raise invalid(f"The event has no name: {error}.") from None
    if any(len(value) > MOST_NAME for value in attributes.values()):
        raise invalid(f"The event's id, source or type is longer than {MOST_NAME} characters.")
    return Event(attributes, content, content_type)


def event_key(tenant: str | None, named: EventSource, caller: str | None = None) -> bytes:
    """What makes two events the same: SHA-256 over tenant, source and id, each with its length. `caller`: the id of who sent it with a
    credential of their own, who can write any source and id into it, and must be in the way of nobody else's."""
    digest = hashlib.sha256(b"lockgate event v1" if caller is None else b"lockgate caller's event v1")
    told = b"" if tenant is None else b"\x01" + tenant.encode("utf-8", "surrogatepass")
    who = () if caller is None else (caller.encode("utf-8", "surrogatepass"),)
    for part in (told, named.source.encode(), named.id.encode(), *who):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def invalid(sentence: str) -> RefusedError:
    return RefusedError(sentence, "event_invalid", 422)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
