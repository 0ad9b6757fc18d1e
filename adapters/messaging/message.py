"""What such a destination gets of a request: the request as it may go out, so after every obligation, and what was decided of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.messaging.document import CARRIED, DECISION_ID, JSON, Document
from router.errors import DestinationError
from router.ports import Headers, Outbound
from router.quick import quickly_made
from router.templates import InputTemplate, TextTemplate, UnmappedError


@quickly_made
@dataclass(frozen=True, slots=True)
class Message:
    """`id`: the caller's idempotency key or the decision's id; every sending of one request has the same, so a peer that remembers it acts
    once. `fields`: what was decided, the trace, and an event's attributes, printable ASCII, for a peer that takes header fields. `document`
    is what templates see; `content` the body after the input mapping. `repeated`: it may have arrived before. `within`: seconds until it is
    given up, for a peer that is told so."""

    id: str
    decision_id: str
    document: Mapping[str, Any]
    content: bytes
    content_type: str
    fields: Mapping[str, str]
    repeated: bool = False
    within: float = 0.0

    def text(self, template: TextTemplate) -> str:
        """Raises DestinationError `input_unmapped`."""
        try:
            return template.fill(self.document)
        except UnmappedError as error:
            raise unmapped(error) from error

    def value(self, template: InputTemplate | None) -> Any:
        """What the template makes of the request; without one the JSON body. Raises DestinationError `input_unmapped`."""
        try:
            return self.document["body"] if template is None else template.fill(self.document)
        except UnmappedError as error:
            raise unmapped(error) from error

    def json(self) -> Any:
        """`content` as JSON. Raises DestinationError `input_unmapped` where it is none."""
        try:
            return orjson.loads(self.content or b"null")
        except orjson.JSONDecodeError:
            raise unmapped("the destination takes JSON, and the request's body is none") from None


def message(outbound: Outbound, body: bytes, mapping: InputTemplate | None, within: float = 0.0) -> Message:
    """`body` is the outbound request's, read whole. Raises DestinationError `input_unmapped` (422), with nothing sent."""
    headers = _by_name(outbound.headers)
    content_type = headers.get("content-type", "")
    document = Document(outbound, headers, body, content_type)
    if mapping is not None:
        try:
            body, content_type = orjson.dumps(mapping.fill(document)), JSON
        except UnmappedError as error:
            raise unmapped(error) from error
    decision_id = headers.get(DECISION_ID, "")
    fields = {name: value for name, value in headers.items() if name.startswith(("x-lockgate-", "ce-")) or name in CARRIED}
    return Message(outbound.idempotency_key or decision_id, decision_id, document, body, content_type, fields, within=within)


def unmapped(why: UnmappedError | str) -> DestinationError:
    made = DestinationError(str(why), "input_unmapped", 422)
    made.final = True
    return made


def _by_name(headers: Headers) -> dict[str, str]:
    """Of fields that stand more than once the values with commas between (RFC 9110 §5.2)."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
