"""Fields of a body that policy names are taken out, or replaced by a text: JSON by pointer (RFC 6901), forms by name.

Whatever an upstream might read as the named field counts as it: member names are compared without regard to case, `*` is every item of an
array and every member of an object, and of a name that stands twice in one object only one is sent at all. A body in which a pointer meets
an array where it names a member has another shape than policy thought of, and is not sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

from router.errors import PolicyError
from router.obligations import Params

READABLE = (None, "text_too_long")  # problems of a body that are none for who changes it
MOST_FORM_FIELDS = 1000
FORM = "application/x-www-form-urlencoded"
REMOVED = object()
Place = tuple[dict[str, Any] | list[Any], Any]


def redacted(body: bytes, content_type: str, wanted: Iterable[Params]) -> bytes:
    """`wanted` are the params of each `redact_fields`. Where one removes what another replaces, it is removed. An item of an array becomes
    null instead, so that the others keep their places. Raises PolicyError `obligation_failed` for a body that cannot be read."""
    rules = [(_steps(pointer), each.get("with", REMOVED)) for each in wanted for pointer in each["fields"]]
    if not body:
        return body
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media == "application/json" or media.endswith("+json"):
            return _json(body, rules)
        if media == FORM:
            return _form(body, rules)
    except (ValueError, RecursionError):
        raise PolicyError("The body could not be read, so no field could be taken out of it.", "obligation_failed") from None
    raise PolicyError(f"No field can be taken out of a body of type '{media}'.", "obligation_failed")


def _json(body: bytes, rules: list[tuple[list[str], Any]]) -> bytes:
    document = json.loads(body)
    found = [(place, text) for steps, text in rules for place in _places(document, steps)]
    for (holder, key), text in sorted(found, key=lambda each: each[1] is REMOVED):  # removed last, so that it stays removed
        if text is not REMOVED:
            holder[key] = text
        elif isinstance(holder, dict):
            holder.pop(key, None)
        else:
            holder[key] = None
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _places(value: Any, steps: list[str]) -> Iterator[Place]:
    """Where the pointer leads: each as an object or array and the key in it."""
    step, rest = steps[0], steps[1:]
    for key in _keys(value, step):
        if rest:
            yield from _places(value[key], rest)
        else:
            yield value, key


def _keys(value: Any, step: str) -> list[Any]:
    if isinstance(value, dict):
        name = step.casefold()
        return [key for key in value if step == "*" or key.casefold() == name]
    if not isinstance(value, list):
        return []
    if step == "*":
        return list(range(len(value)))
    if not (step.isascii() and step.isdigit()):
        raise PolicyError(f"The body has an array where policy names the field '{step}'.", "obligation_failed")
    return [int(step)] if int(step) < len(value) else []


def _form(body: bytes, rules: list[tuple[list[str], Any]]) -> bytes:
    if b";" in body:  # some servers end a field there
        raise ValueError
    fields: list[tuple[str, str]] = parse_qsl(
        body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MOST_FORM_FIELDS
    )
    for steps, text in sorted(rules, key=lambda each: each[1] is REMOVED):
        if len(steps) > 1:
            raise PolicyError("A form has no fields within fields, as policy names them.", "obligation_failed")
        name = steps[0].casefold()
        hit = [steps[0] == "*" or key.casefold() == name for key, _ in fields]
        if text is REMOVED:
            fields = [field for field, named in zip(fields, hit, strict=True) if not named]
        else:
            fields = [(key, text if named else value) for (key, value), named in zip(fields, hit, strict=True)]
    return urlencode(fields).encode()


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
