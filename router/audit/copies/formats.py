"""Records as lines, tables and events. Each writer holds one record at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from router.audit.questions.query import Found
from router.audit.records.canonical import canonical
from router.audit.records.table import COLUMNS, PERSONAL, Row, flat
from router.audit.tree.merkle import leaf_hash

Sink = Callable[[bytes], object]
# What a spreadsheet takes for the beginning of a formula, or for the end of a cell before one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
INHERITED = ("trace_id", "intent", "route", "effect", "result", "confidence", "risk", "tenant")


class Writer(Protocol):
    def add(self, found: Found) -> None: ...

    def finish(self) -> None:
        """What stands after the last record."""


def told(found: Found) -> dict[str, Any]:
    """`leaf` and `sealed`; `personal` where it was opened, `gone_by` where a record says by whose order it is gone."""
    more = {"personal": found.personal, "gone_by": found.gone_by}
    return {"leaf": found.leaf, "sealed": found.sealed, **{name: value for name, value in more.items() if value is not None}}


class JsonLines:
    """`{"index", ...}` and what `told` gives, a line."""

    def __init__(self, write: Sink) -> None:
        self._write = write

    def add(self, found: Found) -> None:
        self._write(orjson.dumps({"index": found.index, **told(found)}) + b"\n")

    def finish(self) -> None:
        return None


class JsonArray:
    """One JSON array; `make` gives each record's element."""

    def __init__(self, write: Sink, make: Callable[[Found], Mapping[str, Any]]) -> None:
        self._write = write
        self._make = make
        self._before = b"[\n"

    def add(self, found: Found) -> None:
        self._write(self._before + orjson.dumps(self._make(found)))
        self._before = b",\n"

    def finish(self) -> None:
        self._write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class Csv:
    """RFC 4180, UTF-8, the columns of `table`. A cell that a spreadsheet would compute begins with an apostrophe."""

    def __init__(self, write: Sink, personal: bool) -> None:
        self._write = write
        self._personal = personal
        self._names = [name for name, _ in (*COLUMNS, *(PERSONAL if personal else ()))]
        self._line(self._names)

    def add(self, found: Found) -> None:
        row = row_of(found, personal=self._personal)
        self._line([_cell(row.get(name)) for name in self._names])

    def finish(self) -> None:
        return None

    def _line(self, cells: list[str]) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(cells)
        self._write(text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def row_of(found: Found, *, personal: bool) -> Row:
    """The leaf's columns, and what the record has from its decision; a decision's result is that of its latest outcome."""
    row = flat(found.index, found.leaf, str(found.columns["key_id"] or ""), leaf_hash(canonical(found.leaf)))
    row.update({name: found.columns[name] for name in INHERITED if found.columns.get(name) is not None})
    return {**row, **_personal(found)} if personal else row


def _personal(found: Found) -> Row:
    """Where it cannot be opened the cells say why: erased, unreadable."""
    if found.sealed == "none":
        return {}
    if found.personal is None:
        return {name: found.sealed for name, _ in PERSONAL}
    named = {name: found.personal.get(name) for name in ("subject", "text", "path")}
    return {**named, "personal": orjson.dumps(found.personal, option=orjson.OPT_SORT_KEYS).decode()}


def cloud_event(origin: str) -> Callable[[Found], Mapping[str, Any]]:
    """CloudEvents 1.0: `source` is the ledger, `id` the record's index, `type` its schema, `subject` the decision."""
    source = f"urn:lockgate:ledger:{quote(origin, safe='')}"

    def make(found: Found) -> Mapping[str, Any]:
        leaf = found.leaf
        event = {
            "specversion": "1.0",
            "id": str(found.index),
            "source": source,
            "type": leaf.get("schema") or "lockgate.unreadable",
            "datacontenttype": "application/json",
            "data": told(found),
        }
        if "time" in leaf:
            event["time"] = leaf["time"]
        return {**event, "subject": leaf["id"]} if leaf.get("id") else event

    return make


class RowSink(Protocol):
    def add(self, row: Mapping[str, Any]) -> None: ...

    def finish(self) -> None: ...


class Rows:
    """The columns of `table`, the leaf behind them, for formats that have types."""

    def __init__(self, rows: RowSink, personal: bool) -> None:
        self._rows = rows
        self._personal = personal

    def add(self, found: Found) -> None:
        self._rows.add({**row_of(found, personal=self._personal), "leaf": canonical(found.leaf).decode()})

    def finish(self) -> None:
        self._rows.finish()
