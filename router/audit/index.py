"""From leaves to index rows. The index holds no more than leaves and key ids do, so it holds nothing personal either."""

from __future__ import annotations

from itertools import islice

import orjson

from router.audit.reader import IndexRow, IndexStore, LedgerReader, Stored

BATCH = 5000


def catch_up(reader: LedgerReader, index: IndexStore) -> int:
    """Indexes what came since the last time and returns up to where the index is complete. An index of another ledger, or of one that
    has been cut since, is thrown away and made again."""
    size = reader.size()
    complete, last_hash = index.complete()
    if complete > size or (complete and reader.nodes(0, complete - 1, complete) != [last_hash]):
        index.reset()
        complete = 0
    records = reader.records(complete, size)
    while batch := list(islice(records, BATCH)):
        complete = batch[-1].index + 1
        index.extend([index_row(stored) for stored in batch], complete, b"".join(reader.nodes(0, complete - 1, complete)))
    return complete


def index_row(stored: Stored) -> IndexRow:
    """`subject` is asked for by key id: whose it is, only the keys' file can tell, and no longer once the key was destroyed. A damaged
    leaf, which is for `verify` to report, becomes a row of kind `unreadable`."""
    row: IndexRow = {"idx": stored.index, "kind": "unreadable", "decision_id": None, "key_id": stored.key_id or None, "reasons": ()}
    try:
        leaf = orjson.loads(stored.leaf)
        kind = str(leaf["schema"]).split(".")[1]
        return {**row, "kind": kind, "time": leaf["time"], "decision_id": leaf.get("id"), **_columns(kind, leaf)}
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError):
        return row


def _columns(kind: str, leaf: IndexRow) -> IndexRow:
    if kind == "decision":
        return _decision(leaf)
    if kind == "outcome":
        return {"result": leaf["outcome"]["result"], "reasons": _named(leaf["outcome"]["reason"])}
    if kind == "evidence":
        return {"result": leaf["evidence"]["phase"]}
    return {"result": leaf["event"]}


def _decision(leaf: IndexRow) -> IndexRow:
    classified, verdict, outcome = leaf["classification"], leaf["verdict"], leaf["outcome"] or {}
    return {
        "trace_id": (leaf["request"]["trace"] or {}).get("trace_id"),
        "intent": classified["intent"],
        "route": (leaf["route"] or {}).get("name"),
        "effect": verdict["effect"],
        "result": outcome.get("result"),
        "confidence": None if classified["confidence"] is None else float(classified["confidence"]),
        "risk": leaf["risk"]["level"],
        "tenant": leaf["subject"]["tenant"],
        "reasons": _named(*leaf["admission"]["reasons"], *verdict["reasons"], classified["reason"], outcome.get("reason", "")),
    }


def _named(*codes: str) -> tuple[str, ...]:
    return tuple({code for code in codes if code})
