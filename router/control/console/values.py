"""Values of a JSON body as fields of a form, and back again. What no field can keep as it is, is not offered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from router.control.console.visible import MISLEADING
from router.control.services import Json
from router.review.places import kind_of, read, same

NAME = "value."  # of a field: this, and the pointer
MOST_BYTES = 18_000  # of all fields together, as a browser sends them: they come twice, and a body has its end
LONG = 70
HINTS: Mapping[str, str] = {
    "number": "a number",
    "text": "text",
    "yes_or_no": "true or false",
    "list": "a list, as JSON",
    "object": "an object, as JSON",
    "nothing": "null so far; JSON, text in quotation marks",
}
WRONG: Mapping[str, str] = {
    "number": "This has to be a number, such as 120 or 99.5.",
    "yes_or_no": "This has to be true or false.",
    "list": "This has to be a list of JSON, such as [1, 2].",
    "object": 'This has to be an object of JSON, such as {"a": 1}.',
    "nothing": "This has to be JSON: null, a number, or text in quotation marks.",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One value as a form has it. `was` is its text as it is now, `text` what is in the field; `wrong` what is wrong with that."""

    at: int
    pointer: str
    kind: str
    was: str
    text: str
    wrong: str = ""

    @property
    def name(self) -> str:
        return NAME + self.pointer

    @property
    def long(self) -> bool:
        return self.kind in ("list", "object") or "\n" in self.text or "\n" in self.was or len(self.was) > LONG

    @property
    def hint(self) -> str:
        return HINTS[self.kind]

    @property
    def changed(self) -> bool:
        return self.text != self.was


@dataclass(frozen=True, slots=True)
class Sheet:
    """The fields of one request, and pointers to what no field can hold."""

    fields: Sequence[Field]
    unheld: Sequence[str]

    @property
    def wrong(self) -> Sequence[Field]:
        return [field for field in self.fields if field.wrong]


def sheet(values: Sequence[Json], typed: Mapping[str, str] | None = None) -> tuple[Sheet, dict[str, Any]]:
    """The form's fields with what was typed, and the changes that it asks for, by pointer. Of a wrong field there is no change."""
    fields, unheld, changes, left = list[Field](), list[str](), dict[str, Any](), MOST_BYTES
    for each in values:
        was = text_of(each["value"])
        size = len(quote_plus(was)) + len(quote_plus(each["pointer"]))
        if size > left or not _kept(was) or not each["pointer"].isprintable():
            unheld.append(each["pointer"])
            continue
        left -= size
        told = plain((typed or {}).get(NAME + each["pointer"], was))
        field = Field(len(fields), each["pointer"], each["kind"], was, told)
        if field.changed:
            field = _read(field, each["value"], changes)
        fields.append(field)
    return Sheet(fields, unheld), changes


def text_of(value: Any) -> str:
    """As a field shows it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, dict | list) and value else None)


def plain(text: str) -> str:
    """Browsers send lines' ends as two characters."""
    return text.replace("\r\n", "\n")


def _read(field: Field, value: Any, changes: dict[str, Any]) -> Field:
    if field.kind == "text":
        changes[field.pointer] = field.text
        return field
    try:
        found = read(field.text.strip())
    except (ValueError, RecursionError):
        return _wrong(field)
    if field.kind not in ("nothing", kind_of(found)):
        return _wrong(field)
    if not same(found, value):
        changes[field.pointer] = found
    return field


def _wrong(field: Field) -> Field:
    return Field(field.at, field.pointer, field.kind, field.was, field.text, WRONG[field.kind])


def _kept(text: str) -> bool:
    """A browser sends it back as it came, and it is shown as it is."""
    if MISLEADING.search(text) is not None:
        return False
    return all(each in "\n\t" or (ord(each) >= 32 and not 0x7F <= ord(each) < 0xA0 and not 0xD800 <= ord(each) < 0xE000) for each in text)
