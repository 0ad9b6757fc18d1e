"""Exports: everything that matches, streamed into one file, with a manifest beside it that says what the file is.

1 the draft is written and synced   2 it takes its name   3 the manifest is written, synced and takes its name. A crash before 2 leaves a
draft, between 2 and 3 a file without a manifest, which is no export.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import orjson

from router.audit.copies.formats import Writer
from router.audit.questions.query import PAGE, Found, Query, Trail
from router.audit.records.canonical import timestamp
from router.audit.tree.checkpoint import note_checkpoint
from router.durable import replace
from router.errors import AuditError

MANIFEST = "lockgate.export.v1"


@dataclass(frozen=True, slots=True)
class Order:
    """`make` gives the writer onto an open file. `origin` and `checkpoint`, the latest note, are the ledger's."""

    format: str
    query: Query
    target: Path
    make: Callable[[IO[bytes]], Writer]
    personal: bool
    origin: str
    checkpoint: str | None
    made_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`complete_to`: how many records of the ledger were taken into account; what came later is not in the file. The checkpoint signs the
    first `checkpoint_size` of them."""

    schema: str
    format: str
    file: str
    rows: int
    bytes: int
    sha256: str
    filters: Mapping[str, Any]
    personal: bool
    origin: str
    complete_to: int
    checkpoint_size: int
    checkpoint: str | None
    made: str
    version: str


def export(trail: Trail, order: Order, noted: Callable[[Manifest], None]) -> Manifest:
    """`noted` is told once the file is there and before it is said to be. Raises AuditError: `export_exists`, `export_unwritable`."""
    beside = order.target.with_name(f"{order.target.name}.manifest.json")
    for path in (order.target, beside):
        if path.exists():
            raise AuditError(f"{path} exists already; an export replaces nothing.", "export_exists")
    draft = order.target.with_name(f".{order.target.name}.part")
    try:
        with _draft(draft) as file:
            rows, complete = _written(trail, order, file)
        manifest = _manifest(order, draft, rows, complete)
        noted(manifest)
        draft.replace(order.target)  # 2
        with replace(beside) as file:
            file.write(orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2) + b"\n")  # 3
    except OSError as error:
        raise AuditError(f"{order.target} cannot be written: {error.strerror}.", "export_unwritable") from error
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def _written(trail: Trail, order: Order, file: IO[bytes]) -> tuple[int, int]:
    """(rows, records of the ledger that were taken into account)"""
    writer, rows, complete = order.make(file), 0, 0
    for found, complete in _snapshot(trail, order.query):  # noqa: B007 - the last one counts
        if found is not None:
            writer.add(found)
            rows += 1
    writer.finish()
    file.flush()
    os.fsync(file.fileno())  # 1
    return rows, complete


def _snapshot(trail: Trail, query: Query) -> Iterator[tuple[Found | None, int]]:
    """As of now, oldest first, whatever is appended meanwhile; (None, records) at the end."""
    page = trail.page(query, None, PAGE, newest=False)
    complete = page.complete
    while True:
        for found in page.rows:
            if found.index < complete:
                yield found, complete
        if page.cursor is None or page.cursor >= complete:
            yield None, complete
            return
        page = trail.page(query, page.cursor, PAGE, newest=False)


def _manifest(order: Order, draft: Path, rows: int, complete: int) -> Manifest:
    return Manifest(
        schema=MANIFEST,
        format=order.format,
        file=order.target.name,
        rows=rows,
        bytes=draft.stat().st_size,
        sha256=file_digest(draft),
        filters={name: value for name, value in asdict(order.query).items() if value is not None},
        personal=order.personal,
        origin=order.origin,
        complete_to=complete,
        checkpoint_size=note_checkpoint(order.checkpoint).size if order.checkpoint else 0,
        checkpoint=order.checkpoint,
        made=timestamp(order.made_ns),
        version=version("lockgate"),
    )


def file_digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _draft(path: Path) -> IO[bytes]:
    """Readable by its owner alone: it may hold personal data."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
