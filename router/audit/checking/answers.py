"""Certificates of either form: which one proves an answer, and which one a file is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from router.audit.checking.certificate import Checked, Match, certify, check_certificate
from router.audit.checking.lookup import SCHEMA, SUBJECT, certify_lookup, check_lookup, sought
from router.audit.lookups.upkeep import Sections
from router.audit.questions.query import Query
from router.audit.questions.reader import KeyLookup


def certificate(sections: Sections, query: Query, keys: KeyLookup | None = None) -> Iterator[bytes]:
    """The file's lines: from the signed index where it knows what is asked for, else every leaf of a run of records. Raises AuditError."""
    asked = sought(query)
    if asked is not None and (asked.kind == SUBJECT or sections.chain()):
        return certify_lookup(sections, asked, keys)
    return certify(sections.reader, sections.index, query)


def check(lines: Iterable[bytes], key: str, outside: str | None = None) -> tuple[Checked, Iterator[Match]]:
    """(what is checked, the matches). The first match is given only when everything holds. `key` is the ledger's public key, `outside` a
    note that was kept elsewhere. Raises AuditError."""
    source = iter(lines)
    first = next(source, b"")
    of_index = f'"schema":"{SCHEMA}"'.encode() in first[:64]
    return (check_lookup if of_index else check_certificate)(chain([first], source), key, outside)
