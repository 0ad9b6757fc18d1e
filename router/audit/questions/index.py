"""From leaves to index rows. The index holds no more than leaves and key ids do, so it holds nothing personal either."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson

from router.audit.questions.columns import LARGEST, MILLIONTHS, nanoseconds
from router.audit.questions.reader import FOREIGN, IndexRow, IndexStore, LedgerReader, Stored
from router.errors import AuditError

log = logging.getLogger("lockgate.audit")
_MAKING = threading.Lock()
BATCH = 5000
FAR = 50_000  # records; making up for more takes longer than somebody waits for an answer
SAY_EVERY_S = 10.0
SLICE, PAUSE = 2000, 16  # records of a batch, and those between two pauses, of who gives way; each batch writes anew what it adds to
JUDGED = frozenset({"approved", "modified", "rerouted", "rejected"})  # review events by which a person decides
# Those after which it waits as it did before: what a review has come to is what it was.
UNDECIDED = frozenset({"refused", "claimed", "renewed", "unclaimed", "lapsed", "information_asked", "information_given", "escalated"})
NO_WORD = "not a word"
_WORD = frozenset({str, type(None)})
_OF_A_VERDICT = itemgetter("revision", "digest", "engine")
_OF_A_MODEL = itemgetter("tier", "model_digest", "calibration_digest", "catalog_digest")
_OF_A_DECISION = itemgetter(
    "trace_id", "request_id", "config_digest", "bundle_revision", "bundle_digest", "engine", "risk", "admission", "effect", "route",
    "destination", "why", "door", "method", "content_type", "tenant", "subject_type", "authenticated_by", "intent", "runner_up",
    "classification", "tier", "rule", "model_digest", "calibration_digest", "catalog_digest"
)  # fmt: skip


def catch_up(reader: LedgerReader, index: IndexStore, breathe: Callable[[], None] | None = None) -> int:
    """Indexes what came since the last time and returns up to where the index is complete. An index of another ledger or release, or of
    one that has been cut since, is thrown away and made again. Several processes may do this at once. `breathe` is called again and again,
    so that it can give way. Where it is far behind one thread of a process does it. Raises AuditError."""
    complete, last_hash = index.complete()  # before the size: another process may add to both at any time
    size = reader.size()
    if not 0 <= complete <= size or (complete and reader.nodes(0, complete - 1, complete) != [last_hash]):
        index.reset()
        complete = 0
    if size - complete > FAR:
        complete = _far_behind(reader, index, size, breathe)
    while complete < size:
        complete = _more(reader, index, complete, size, breathe)
        if breathe is not None:
            breathe()
    return complete


def make_up_to(reader: LedgerReader, index: IndexStore, size: int, told: Callable[[int, int], None] | None = None) -> None:
    """Indexes the records up to `size`, which the ledger has, and no more of them. `told` hears how many it has, and of how many."""
    complete = _complete(index)
    while complete < size:
        complete = _more(reader, index, complete, size, None)
        if told is not None:
            told(complete, size)


def _far_behind(reader: LedgerReader, index: IndexStore, size: int, breathe: Callable[[], None] | None) -> int:
    """One thread of the process does it, and others wait for that. Raises AuditError `audit_indexing` where it was given up."""
    if not _MAKING.acquire(blocking=False):
        with _MAKING:
            complete = _complete(index)
        if size - complete > FAR:
            raise AuditError("The index of the audit trail is not made yet; ask again later.", "audit_indexing")
        return complete
    try:
        saying, complete = _Saying(size), _complete(index)
        while size - complete > FAR:
            complete = _more(reader, index, complete, size, breathe)
            saying.at(complete)
            if breathe is not None:
                breathe()
        return complete
    finally:
        _MAKING.release()


def behind(reader: LedgerReader, index: IndexStore) -> int:
    """How many records are not in the index yet."""
    return max(0, reader.size() - max(0, index.complete()[0]))


def _more(reader: LedgerReader, index: IndexStore, complete: int, size: int, breathe: Callable[[], None] | None) -> int:
    end = min(size, complete + (BATCH if breathe is None else SLICE))
    if complete < end:
        rows = list(_rows(reader, complete, end, breathe))
        index.extend(rows, complete, end, b"".join(reader.nodes(0, end - 1, end)), breathe)
    return _complete(index)


def _complete(index: IndexStore) -> int:
    """Raises AuditError `audit_indexing` where somebody changes the file while it is made."""
    complete = index.complete()
    if complete == FOREIGN:
        raise AuditError("The index of the audit trail has to be made anew; ask again.", "audit_indexing")
    return complete[0]


class _Saying:
    """How far it is, for who waits: in the log, now and then, by one of the threads that wait."""

    last = 0.0

    def __init__(self, size: int) -> None:
        self._size = size
        self._since = time.monotonic()
        self._first: int | None = None

    def at(self, complete: int) -> None:
        now = time.monotonic()
        first = self._first = complete if self._first is None else self._first
        if now - max(self._since, _Saying.last) >= SAY_EVERY_S:
            _Saying.last, done = now, complete - first
            left = f", about {(now - self._since) / done * (self._size - complete):.0f} s left" if done > 0 else ""
            log.warning("the index of the audit trail is being made: %d of %d records%s", complete, self._size, left)


def _rows(reader: LedgerReader, start: int, end: int, breathe: Callable[[], None] | None) -> Iterator[IndexRow]:
    for place, stored in enumerate(reader.records(start, end), 1):
        yield index_row(stored)
        if breathe is not None and place % PAUSE == 0:
            breathe()


def index_row(stored: Stored) -> IndexRow:
    """Columns by name, as `router.audit.questions.columns` keeps them, and `idx`; what is not named is NULL. Whose key `key_id` is, only
    the keys' file can tell, and no longer once the key was destroyed. A damaged leaf, which is for `verify` to report, becomes a row of
    kind `unreadable`."""
    key_id = stored.key_id or None
    try:
        leaf = orjson.loads(stored.leaf)
        kind = _word(leaf["schema"]).split(".")[1]
        return {
            "idx": stored.index,
            "kind": kind,
            "key_id": key_id,
            "decision_id": _word(leaf.get("id")),
            "time": nanoseconds(leaf["time"]),
            **_COLUMNS.get(kind, _event)(leaf, stored),
        }
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ArithmeticError, ValueError):
        return {"idx": stored.index, "kind": "unreadable", "key_id": key_id}


def _decision(leaf: Mapping[str, Any], _: Stored) -> IndexRow:
    request, subject, signals, risk = leaf["request"], leaf["subject"], leaf["signals"], leaf["risk"]
    admission, verdict, route, outcome = leaf["admission"], leaf["verdict"], leaf["route"] or {}, leaf["outcome"]
    found = leaf["classification"]
    row = {
        "trace_id": (request["trace"] or {}).get("trace_id"),
        "request_id": request["id"],
        "config_digest": leaf["config_digest"],
        "bundle_revision": verdict["revision"] or None,
        "bundle_digest": verdict["digest"] or None,
        "engine": verdict["engine"] or None,
        "risk": risk["level"],
        "risk_score": _score(risk["score"]),
        "admission": admission["effect"],
        "effect": verdict["effect"],
        "obligation": _names(*admission["obligations"], *verdict["obligations"]),
        "tag": _names(*admission.get("tags", ()), *verdict.get("tags", ())),
        "finding": _names(*[found["name"] for found in signals["findings"]]),
        "unknown": _names(*signals["unknown"]),
        "route": route.get("name"),
        "destination": route.get("destination"),
        "why": route.get("why"),
        "door": request["door"],
        "method": request["method"],
        "content_type": request["content_type"] or None,
        "body_bytes": _count(signals["body_bytes"]),
        "truncated": _flag(request["body"]["truncated"]),
        "tenant": subject["tenant"],
        "subject_type": subject["type"],
        "authenticated_by": subject["authenticated_by"],
        **_classified(found),
    }
    row["catalog_digest"] = row["catalog_digest"] or leaf["catalog_digest"] or None
    if outcome is not None:
        row.update(_ended(outcome))
    if not _WORD.issuperset(map(type, (*_OF_A_DECISION(row), *_OF_A_VERDICT(verdict), request["content_type"], *_OF_A_MODEL(found)))):
        raise TypeError(NO_WORD)
    row["reason"] = _names(*admission["reasons"], *verdict["reasons"], found["reason"], (outcome or {}).get("reason", ""))
    return row


def _classified(found: Mapping[str, Any]) -> IndexRow:
    candidates, rule = found["candidates"], found["rule"] or {}
    others = [one["intent"] for one in candidates if one["intent"] != found["intent"]]
    return {
        "intent": found["intent"],
        "runner_up": others[0] if others and found["intent"] is not None else None,
        "classification": found["status"],
        "confidence": _score(found["confidence"]),
        "margin": _score(found["margin"]),
        "threshold": _score(found["threshold"]),
        "scope": _score(found["scope"]),
        "novelty": _score(found["novelty"]),
        "injection": _score(found["injection"]),
        "tier": found["tier"] or None,
        "rule": rule.get("name"),
        "cached": _flag(found["cached"]),
        "model_digest": found["model_digest"] or None,
        "calibration_digest": found["calibration_digest"] or None,
        "catalog_digest": found["catalog_digest"] or None,
    }


def _outcome(leaf: Mapping[str, Any], _: Stored) -> IndexRow:
    return {**_ended(leaf["outcome"]), "reason": _names(leaf["outcome"]["reason"]), "outcomes": 1}


def _ended(outcome: Mapping[str, Any]) -> IndexRow:
    """What took no time at all was not measured."""
    return {
        "result": _word(outcome["result"]),
        "status": _count(outcome["status"]),
        "upstream": _word(outcome["upstream"]) or None,
        "attempts": _count(outcome["attempts"]),
        "duration": _count(outcome["total_ns"]) or None,
        "upstream_duration": _count(outcome["upstream_ns"]) or None,
        "response_bytes": _count(outcome["response_bytes"]),
        "complete": _flag(outcome["complete"]),
    }


def _review(leaf: Mapping[str, Any], stored: Stored) -> IndexRow:
    event, details = _word(leaf["event"]), leaf.get("details") or {}
    row: IndexRow = {"event": event, "result": event}
    if event == "superseded" and details.get("effect") != "deny":
        row["review"] = "held"
    elif event not in UNDECIDED:
        row["review"] = event
    if event == "held":
        row["held"] = nanoseconds(leaf["time"])
        row["deadline"] = nanoseconds(details["expires"]) if "expires" in details else None
        row["quorum"] = _count(details.get("quorum"))
    if event in JUDGED:
        row["reviewer"] = stored.key_id or None
    return row


def _system(leaf: Mapping[str, Any], stored: Stored) -> IndexRow:
    event, details = _word(leaf["event"]), leaf.get("details") or {}
    row: IndexRow = {"event": event, "result": event}
    if event in ("started", "config_changed"):
        digests = {"config_digest": "config_digest", "catalog_digest": "catalog_digest", "bundle_digest": "policy_digest"}
        row.update({name: _word(details.get(told)) for name, told in digests.items()})
    if event == "audit_read":
        row.update(reader=_word(details.get("reader_key")), reading=_word(details.get("what")), rows=_count(details.get("rows")))
        row.update(opened=_flag(details.get("opened")), exported=_word(details.get("exported")), source=_word(details.get("source")))
    if event == "event_buried":
        row.update(source=_word(details.get("source")), reason=_names(details.get("reason")))
    if "key_id" in details:  # whom it is about: an erasure, for one
        row["key_id"] = _word(details["key_id"]) or stored.key_id or None
    return row


def _event(leaf: Mapping[str, Any], _: Stored) -> IndexRow:
    """Evidence, and what later releases may bring."""
    told = leaf["evidence"] if isinstance(leaf.get("evidence"), dict) else leaf
    event = next((told[name] for name in ("event", "phase", "status") if isinstance(told.get(name), str)), None)
    return {"event": event, "result": event}


_COLUMNS = {"decision": _decision, "outcome": _outcome, "review": _review, "system": _system}


@lru_cache(maxsize=1024)  # most decisions have the same few
def _names(*codes: Any) -> Sequence[str] | None:
    return tuple(sorted({word for word in map(_word, codes) if word})) or None


def _word(value: Any) -> Any:
    """Text or nothing; who tampers with a file may have put anything there."""
    if type(value) in _WORD:
        return value
    raise TypeError(NO_WORD)


@lru_cache(maxsize=4096)  # scores come again and again: of rules, of weights
def _score(value: str | None) -> int | None:
    return None if value is None else _count(round(float(value) * MILLIONTHS))


def _count(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and -LARGEST <= value <= LARGEST):
        return value
    raise TypeError("not an integer of a leaf")


def _flag(value: Any) -> int | None:
    return None if value is None else int(bool(value))
