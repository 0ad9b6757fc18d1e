"""CloudEvents 1.0 over HTTP, read strictly: structured, binary and batched JSON. Other event formats and compressed bodies are refused.

Two extension attributes are ours: `lockgatedecision`, the decision under which something was done, and `lockgatephase`, how far it got.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from router.audit.records.sealing import as_text
from router.errors import RefusedError

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
DECISION, PHASE = "lockgatedecision", "lockgatephase"
PHASES = ("started", "completed", "failed", "compensated")
REPORTED = "reported"  # the phase of an event that tells none
MOST_EVENTS, MOST_ATTRIBUTES, MOST_CHARACTERS, MOST_ID = 100, 40, 2048, 512

_REQUIRED = ("specversion", "id", "source", "type")
_NAME = re.compile(r"[a-z0-9]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_TEXT_ONLY = frozenset({*_REQUIRED, "datacontenttype", "dataschema", "subject", "time", DECISION, PHASE})

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """`decision` is None when the event names none. `document` is the whole event as canonical JSON: equal events have equal documents, in
    whatever mode they were sent, as long as their extension attributes are strings."""

    source: str
    id: str
    type: str
    decision: str | None
    phase: str
    document: str


def cloud_events(headers: Headers, body: bytes) -> list[CloudEvent]:
    """At least one. Raises RefusedError: `evidence_media_type` (415), `evidence_invalid` (422)."""
    kind, parameters = _content_type(headers)
    if parameters.get("charset", "utf-8") != "utf-8" or any(name == b"content-encoding" for name, _ in headers):
        raise RefusedError("An event is sent as UTF-8, without a content encoding.", "evidence_media_type", 415)
    if kind == BATCH:
        return _batch(_json(body))
    if kind == STRUCTURED:
        return [_event(_json(body), "event")]
    if kind.startswith("application/cloudevents") or not any(name.startswith(b"ce-") for name, _ in headers):
        raise RefusedError(f"Events are sent as {STRUCTURED}, {BATCH}, or with ce- header fields.", "evidence_media_type", 415)
    return [_event(_binary(headers, kind, body), "event")]


def _batch(value: Any) -> list[CloudEvent]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_EVENTS:
        raise _invalid(f"A batch is an array of 1 to {MOST_EVENTS} events.")
    return [_event(one, f"event {place}") for place, one in enumerate(value)]


def _event(value: Any, where: str) -> CloudEvent:
    if not isinstance(value, dict):
        raise _invalid(f"The {where} is not a JSON object.")
    told = {name: item for name, item in value.items() if item is not None}  # JSON format 2.3: null is an unset attribute
    attributes = {name: item for name, item in told.items() if name not in ("data", "data_base64")}
    if len(attributes) > MOST_ATTRIBUTES:
        raise _invalid(f"The {where} has more than {MOST_ATTRIBUTES} attributes.")
    for name, item in attributes.items():
        _check(name, item, where)
    _check_required(attributes, where)
    _check_data(told, where)
    phase = attributes.get(PHASE, REPORTED)
    if phase != REPORTED and phase not in PHASES:
        raise _invalid(f"The {where}'s {PHASE} is none of {', '.join(PHASES)}.")
    if "data" in told and told.get("datacontenttype") == "application/json":
        del told["datacontenttype"]  # JSON format 3.1: it says nothing that leaving it out does not say
    return CloudEvent(attributes["source"], attributes["id"], attributes["type"], attributes.get(DECISION), phase, as_text(told))


def _check(name: str, value: Any, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise _invalid(f"The {where} has an attribute whose name is not lower-case letters and digits.")
    if name in _TEXT_ONLY and not isinstance(value, str):
        raise _invalid(f"The {where}'s {name} is not a string.")
    if isinstance(value, str):
        most = MOST_ID if name in _REQUIRED else MOST_CHARACTERS
        if not value or len(value) > most or _UNPRINTABLE.search(value):
            raise _invalid(f"The {where}'s {name} is empty, longer than {most} characters, or has control characters.")
    elif not isinstance(value, int) or not -(2**31) <= value < 2**31:  # a bool is an int, too
        raise _invalid(f"The {where}'s {name} is neither a string, a boolean nor a 32-bit integer.")


def _check_required(attributes: Mapping[str, Any], where: str) -> None:
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        raise _invalid(f"The {where} lacks {', '.join(missing)}.")
    if attributes["specversion"] != "1.0":
        raise _invalid(f"The {where} is not of CloudEvents version 1.0.")
    for name in ("source", "dataschema"):
        if " " in attributes.get(name, ""):
            raise _invalid(f"The {where}'s {name} is not a URI.")
    if "time" in attributes and not _TIME.fullmatch(attributes["time"]):
        raise _invalid(f"The {where}'s time is not one of RFC 3339.")


def _check_data(told: Mapping[str, Any], where: str) -> None:
    if "data_base64" not in told:
        return
    if "data" in told:
        raise _invalid(f"The {where} has both data and data_base64.")
    try:
        b64decode(told["data_base64"], validate=True)
    except (TypeError, ValueError):
        raise _invalid(f"The {where}'s data_base64 is not base64.") from None


def _binary(headers: Headers, kind: str, body: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            attribute = name[3:].decode("latin-1")
            if attribute in told or attribute in ("datacontenttype", "data", "data_base64"):
                raise _invalid(f"The header field ce-{attribute} stands twice, or is not one that may be sent.")
            told[attribute] = _header(value, attribute)
    if kind:
        told["datacontenttype"] = kind
    if not body:
        return told
    if kind == "application/json" or kind.endswith("+json"):
        return {**told, "data": _json(body)}
    return {**told, "data_base64": b64encode(body).decode()}


def _header(value: bytes, attribute: str) -> str:
    """HTTP binding 3.1.3.2: percent-encoded UTF-8, perhaps as a quoted string."""
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise _invalid(f"The header field ce-{attribute} is not UTF-8.") from None


def _content_type(headers: Headers) -> tuple[str, dict[str, str]]:
    values = [value.decode("latin-1") for name, value in headers if name == b"content-type"]
    if len(values) > 1:
        raise _invalid("There is more than one content type.")
    kind, *rest = (values or [""])[0].lower().split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _invalid("The body is not JSON.") from None


def _invalid(sentence: str) -> RefusedError:
    return RefusedError(sentence, "evidence_invalid", 422)
