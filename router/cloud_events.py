"""CloudEvents 1.0, read strictly: structured, binary and batched JSON. Other event formats and compressed bodies are refused."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
MOST_EVENTS, MOST_ATTRIBUTES, MOST_CHARACTERS, MOST_ID = 100, 40, 2048, 512
REQUIRED = ("specversion", "id", "source", "type")

_NAME = re.compile(r"[a-z0-9]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_TEXT_ONLY = frozenset({*REQUIRED, "datacontenttype", "dataschema", "subject", "time"})

Headers = Sequence[tuple[bytes, bytes]]
Told = dict[str, Any]
"""An event as its JSON format has it: attributes, and `data` or `data_base64`. No attribute is null."""


class CloudEventError(ValueError):
    """One sentence. `media`: it is not sent as an event at all."""

    def __init__(self, sentence: str, *, media: bool = False) -> None:
        super().__init__(sentence)
        self.media = media


def read_events(headers: Headers, body: bytes, text_only: frozenset[str] = frozenset()) -> list[Told]:
    """At least one. `text_only`: extension attributes that must be strings. Raises CloudEventError."""
    kind, parameters = _content_type(headers)
    if parameters.get("charset", "utf-8") != "utf-8" or any(name == b"content-encoding" for name, _ in headers):
        raise CloudEventError("An event is sent as UTF-8, without a content encoding.", media=True)
    if kind == BATCH:
        return _batch(_json(body), text_only)
    if kind == STRUCTURED:
        return [_event(_json(body), "event", text_only)]
    if kind.startswith("application/cloudevents") or not any(name.startswith(b"ce-") for name, _ in headers):
        raise CloudEventError(f"Events are sent as {STRUCTURED}, {BATCH}, or with ce- header fields.", media=True)
    return [_event(_binary(headers, kind, body), "event", text_only)]


def data_of(told: Told) -> tuple[bytes, str]:
    """An event's data as bytes, and its content type. JSON is written anew, so that it means to everybody what it means here."""
    kind = told.get("datacontenttype", "application/json")
    if "data_base64" in told:
        return b64decode(told["data_base64"]), kind
    if "data" not in told:
        return b"", kind
    if isinstance(told["data"], str) and not _is_json(kind):
        return told["data"].encode(), kind
    return orjson.dumps(told["data"]), kind


def _batch(value: Any, text_only: frozenset[str]) -> list[Told]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_EVENTS:
        raise CloudEventError(f"A batch is an array of 1 to {MOST_EVENTS} events.")
    return [_event(one, f"event {place}", text_only) for place, one in enumerate(value)]


def _event(value: Any, where: str, text_only: frozenset[str]) -> Told:
    if not isinstance(value, dict):
        raise CloudEventError(f"The {where} is not a JSON object.")
    told = {name: item for name, item in value.items() if item is not None}  # JSON format 2.3: null is an unset attribute
    attributes = {name: item for name, item in told.items() if name not in ("data", "data_base64")}
    if len(attributes) > MOST_ATTRIBUTES:
        raise CloudEventError(f"The {where} has more than {MOST_ATTRIBUTES} attributes.")
    for name, item in attributes.items():
        _check(name, item, where, text_only)
    _check_required(attributes, where)
    _check_data(told, where)
    if "data" in told and told.get("datacontenttype") == "application/json":
        del told["datacontenttype"]  # JSON format 3.1: it says nothing that leaving it out does not say
    return told


def _check(name: str, value: Any, where: str, text_only: frozenset[str]) -> None:
    if not _NAME.fullmatch(name):
        raise CloudEventError(f"The {where} has an attribute whose name is not lower-case letters and digits.")
    if (name in _TEXT_ONLY or name in text_only) and not isinstance(value, str):
        raise CloudEventError(f"The {where}'s {name} is not a string.")
    if isinstance(value, str):
        most = MOST_ID if name in REQUIRED else MOST_CHARACTERS
        if not value or len(value) > most or _UNPRINTABLE.search(value):
            raise CloudEventError(f"The {where}'s {name} is empty, longer than {most} characters, or has control characters.")
    elif not isinstance(value, int) or not -(2**31) <= value < 2**31:  # a bool is an int, too
        raise CloudEventError(f"The {where}'s {name} is neither a string, a boolean nor a 32-bit integer.")


def _check_required(attributes: Mapping[str, Any], where: str) -> None:
    missing = [name for name in REQUIRED if name not in attributes]
    if missing:
        raise CloudEventError(f"The {where} lacks {', '.join(missing)}.")
    if attributes["specversion"] != "1.0":
        raise CloudEventError(f"The {where} is not of CloudEvents version 1.0.")
    for name in ("source", "dataschema"):
        if " " in attributes.get(name, ""):
            raise CloudEventError(f"The {where}'s {name} is not a URI.")
    if "time" in attributes and not _TIME.fullmatch(attributes["time"]):
        raise CloudEventError(f"The {where}'s time is not one of RFC 3339.")


def _check_data(told: Mapping[str, Any], where: str) -> None:
    if "data_base64" not in told:
        return
    if "data" in told:
        raise CloudEventError(f"The {where} has both data and data_base64.")
    try:
        b64decode(told["data_base64"], validate=True)
    except (TypeError, ValueError):
        raise CloudEventError(f"The {where}'s data_base64 is not base64.") from None


def _binary(headers: Headers, kind: str, body: bytes) -> Told:
    told: Told = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            attribute = name[3:].decode("latin-1")
            if attribute in told or attribute in ("datacontenttype", "data", "data_base64"):
                raise CloudEventError(f"The header field ce-{attribute} stands twice, or is not one that may be sent.")
            told[attribute] = _header(value, attribute)
    if kind:
        told["datacontenttype"] = kind
    if not body:
        return told
    if _is_json(kind):
        return {**told, "data": _json(body)}
    return {**told, "data_base64": b64encode(body).decode()}


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _header(value: bytes, attribute: str) -> str:
    """HTTP binding 3.1.3.2: percent-encoded UTF-8, perhaps as a quoted string."""
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise CloudEventError(f"The header field ce-{attribute} is not UTF-8.") from None


def _content_type(headers: Headers) -> tuple[str, dict[str, str]]:
    values = [value.decode("latin-1") for name, value in headers if name == b"content-type"]
    if len(values) > 1:
        raise CloudEventError("There is more than one content type.")
    kind, *rest = (values or [""])[0].lower().split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CloudEventError("The body is not JSON.") from None
