"""Who reads the trail is in the trail: what a reading says about itself, and the box for those who cannot write to the ledger.

One process owns a ledger. Another that reads beside it leaves a note in a folder of the state directory, durable before it shows
anything; the owner takes notes up and writes the records. A note that was taken up twice, for a crash came between, gives two records
with one `reading` id.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson

from router.audit.questions.columns import COLUMNS, LEVELS, MILLIONTHS, NS, RECORD, Kind
from router.audit.questions.conditions import Among, Compare, Condition, Every, Like, Null, Some, Test, Value
from router.audit.records.canonical import is_slug, timestamp
from router.durable import given
from router.errors import AuditError

log = logging.getLogger("lockgate.audit")
EVENT = "audit_read"
FOLDER = "readings"
MAX_NOTE, MAX_FILTERS = 16_384, 2_000
UNSAID = "'…'"
_ID = re.compile(r"[0-9a-f-]{16,40}")
_READER = re.compile(r"[a-z]{1,16}:[a-z0-9]{1,32}")
Known = Callable[[str, str], bool]
"""Whether a leaf has this word in this column: then it is nothing personal."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`what`: records, decision, stats, reviews, readings, periods, verify, export, bundle, reconciliation, certificate, reviewers, held
    (what a reviewer may change of a held request). `filters` is a condition as text, or what else was asked for; nothing personal is in it.
    `rows` is None while they are being read. `opened`: personal fields were opened. `exported` is where the answer went: terminal, pipe,
    file, response."""

    what: str
    filters: str = ""
    rows: int | None = None
    opened: bool = False
    exported: str = "response"
    source: str = "http"
    reading: str = ""
    noted: str = ""

    def details(self, reader_key: str) -> dict[str, Any]:
        told = {name: value for name, value in asdict(self).items() if value not in ("", None)}
        return {**told, "filters": self.filters[:MAX_FILTERS], "reader_key": reader_key}


def new_reading_id() -> str:
    return secrets.token_hex(8)


def told(condition: Condition, known: Known) -> str:
    """The condition as text that may stand in a leaf: a word that no leaf has may be a name somebody typed, and becomes `'…'`."""
    match condition:
        case Every(parts):
            return " and ".join(_inner(part, known) for part in parts)
        case Some(parts):
            return " or ".join(_inner(part, known) for part in parts)
        case test:
            return _test(test, known)


def told_id(identifier: str) -> str:
    return f"id = '{identifier}'" if _ID.fullmatch(identifier) else f"id = {UNSAID}"


def _inner(condition: Condition, known: Known) -> str:
    return told(condition, known) if not isinstance(condition, Every | Some) else f"({told(condition, known)})"


def _test(test: Test, known: Known) -> str:
    match test:
        case Compare(column, operator, value):
            return f"{column} {operator} {_value(column, value, known)}"
        case Among(column, values, wanted):
            listed = ", ".join(_value(column, value, known) for value in values)
            return f"{column} {'in' if wanted else 'not in'} ({listed})"
        case Like(column, _, wanted):
            return f"{column} {'like' if wanted else 'not like'} {UNSAID}"
        case Null(column, wanted):
            return f"{column} {'is null' if wanted else 'is not null'}"


def _value(column: str, value: Value, known: Known) -> str:
    kind = RECORD.kind if column == RECORD.name else COLUMNS[column].kind
    if isinstance(value, int):
        return _number(kind, value)
    plain = _ID.fullmatch(value) is not None if kind is Kind.ID else value in LEVELS or (is_slug(value) and known(column, value))
    return f"'{value}'" if plain else UNSAID


def _number(kind: Kind, value: int) -> str:
    match kind:
        case Kind.SCORE:
            return f"{value / MILLIONTHS:g}"
        case Kind.DURATION:
            return f"{value / NS:g}"
        case Kind.TIME:
            return f"'{timestamp(value)}'"
        case Kind.FLAG:
            return "true" if value else "false"
    return str(value)


def leave_note(folder: Path, reader: str, reading: Reading) -> None:
    """Durable when it returns; a later note of the same reading replaces an earlier one that was not taken up yet. `reader` names an
    account (`cli:uid1000`), no person. Raises AuditError `audit_reading_unrecorded`."""
    name, content = f"{reading.reading}.json", orjson.dumps({"reader": reader, **asdict(reading)})
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            given(at, folder.parent)
            _put(at, name, content, folder.parent)
        finally:
            os.close(at)
    except OSError as error:
        raise AuditError(f"The reading cannot be noted in {folder}: {error.strerror}.", "audit_reading_unrecorded") from error


def _put(at: int, name: str, content: bytes, of: Path) -> None:
    """In the open folder `at`, for whom `of` belongs to: what they put a link in the place of is not written to."""
    beside = f"{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(beside, dir_fd=at)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        given(file.fileno(), of)
    os.rename(beside, name, src_dir_fd=at, dst_dir_fd=at)
    os.fsync(at)


def notes(folder: Path) -> Iterator[tuple[Path, str, Reading]]:
    """(file, reader, reading), by file name. What is no note is put aside as `.bad`, where a person may look at it. Raises OSError."""
    for place in sorted(folder.glob("*.json")):
        try:
            found = _note(orjson.loads(place.read_bytes()[: MAX_NOTE + 1]))
        except FileNotFoundError:  # another one has taken it
            continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("%s is no note about a reading of the audit trail (%s) and is put aside", place.name, type(error).__name__)
            place.rename(place.with_suffix(".bad"))
            continue
        yield place, *found


def _note(found: Mapping[str, Any]) -> tuple[str, Reading]:
    """Whoever can write to the state directory can leave one, so it is looked at like any input. Raises ValueError and others."""
    values = {field.name: found[field.name] for field in fields(Reading)}
    reading = Reading(**values)
    slugs = (reading.what, reading.exported, reading.source, reading.reading)
    rows = reading.rows is None or (isinstance(reading.rows, int) and 0 <= reading.rows < 2**53)
    if not all(map(is_slug, slugs)) or not rows or not isinstance(reading.filters, str) or not isinstance(reading.noted, str):
        raise ValueError("not a note")
    if _READER.fullmatch(found["reader"]) is None:
        raise ValueError("not an account")
    return found["reader"], replace(reading, opened=bool(reading.opened), noted=reading.noted[:30])
