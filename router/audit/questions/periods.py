"""Stretches of time in which a part failed, was away or was worked round, from what the records say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from router.audit.questions.columns import nanoseconds
from router.audit.questions.query import Query, Trail
from router.audit.questions.where import where

_PARTS = {
    "classifier": "kind = 'decision' and (classification = 'unavailable' or reason like 'llm_%' and reason <> 'llm_no_gain'"
    " and reason <> 'llm_confidence_too_low' and reason <> 'llm_not_allowed')",
    "signals": "kind = 'decision' and unknown is not null",
    "policy": "kind = 'decision' and reason in ('policy_undefined', 'policy_error', 'policy_late', 'policy_malformed',"
    " 'policy_unavailable', 'policy_unauthorized', 'policy_circuit_open', 'policy_stale',"
    " 'policy_rate_limit_unavailable', 'obligation_unknown', 'obligation_failed', 'mirror_unknown', 'route_unknown')",
    "limits": "kind = 'decision' and reason = 'limits_unavailable'",
    "reviews": "kind = 'outcome' and reason in ('review_store_unavailable', 'review_store_closed')",
    "repeats": "kind = 'outcome' and reason = 'idempotency_unavailable'",
    "upstream": "kind = 'outcome' and result = 'failed'",
    "load": "kind in ('decision', 'outcome') and result = 'shed'",
}
_COUNTED = {
    "audit_": "ledger",
    "overloaded": "load",
    "starting": "start",
    "state_": "identity",
    "keys_": "identity",
    "idempotency_unavailable": "repeats",
    "decision_late": "load",
    "internal": "internal",
    "envoy_source_missing": "envoy",
    "envoy_mode_unfit": "envoy",
    "envoy_metadata_invalid": "envoy",
    "policy_rate_limit_unavailable": "policy",
    "limits_unavailable": "limits",
}
REFUSED = "refused"
AFTERWARDS = 100
"""Records of what was refused that are looked at after the times that are asked about: a node's first one there has it."""
_SAID = "kind = 'system' and event in ('recovered', 'refused') or kind = 'system' and event like '%unwitnessed%'"


@dataclass(slots=True)
class Period:
    """`records` are those that say so, of which `went_on` were routed all the same (a fallback, or open) and the others not (closed).
    Counted refusals have no record each. Times are Unix nanoseconds. `node` is which was away, where it has a name among others."""

    part: str
    since_ns: int
    until_ns: int
    records: int = 0
    went_on: int = 0
    counted: int = 0
    first: int = 0
    last: int = 0
    reasons: tuple[str, ...] = ()
    node: str = ""

    @property
    def how(self) -> str:
        if self.part in ("start", "away"):
            return "away"
        if not self.went_on:
            return "closed"
        return "went on" if self.went_on == self.records else "some went on"


def periods(trail: Trail, query: Query, gap_ns: int) -> list[Period]:
    """Signs of one part that are no more than `gap_ns` apart make one period. When nothing ran is told by `absences`."""
    signs = [sign for part, text in _PARTS.items() for sign in _signs(trail, query, part, text)]
    found = [period for part in _PARTS for period in _joined((one for one in signs if one.part == part), gap_ns)]
    system = list(_system(trail, query))
    for part in sorted({one.part for one in system}):
        found += _joined((one for one in system if one.part == part), gap_ns)
    return sorted(found, key=lambda one: (one.since_ns, one.part))


def _signs(trail: Trail, query: Query, part: str, text: str) -> Iterator[Period]:
    for row in trail.rows(query.also(where(text)), ("time", "result", "effect", "reason")):
        went_on = row["result"] == "routed" or (row["result"] is None and row["effect"] in ("allow", "reroute"))
        yield Period(part, row["time"], row["time"], 1, int(went_on), 0, row["record"], row["record"], _failures(row["reason"] or ()))


def _failures(codes: Iterable[str]) -> tuple[str, ...]:
    """Without the policies' own reasons, which have a dot and would be the same on a good day."""
    return tuple(code for code in codes if "." not in code or code.startswith("signals."))


def _system(trail: Trail, query: Query) -> Iterator[Period]:
    """Counted refusals, what began after another ledger, and what witnesses did not confirm."""
    for row in trail.rows(query.also(where(_SAID)), ("time", "event")):
        if row["event"] == REFUSED:
            yield from _counted(trail.leaf(row["record"]), row["record"], row["time"])
        else:
            part = "ledger" if row["event"] == "recovered" else "witnesses"
            yield Period(part, row["time"], row["time"], 1, 0, 0, row["record"], row["record"])
    yield from _counted_late(trail, query)


def _counted_late(trail: Trail, query: Query) -> Iterator[Period]:
    """What was refused before the end of the times that are asked about, while the ledger took nothing, stands in what it took next."""
    if query.until is None:
        return
    until_ns = nanoseconds(query.until)
    for found in trail.page(Query(since=query.until, kind="system", result=REFUSED), None, AFTERWARDS, newest=False).rows:
        yield from (one for one in _counted(found.leaf, found.index, nanoseconds(found.leaf["time"])) if one.since_ns < until_ns)


def _counted(leaf: dict[str, Any], record: int, at_ns: int) -> Iterator[Period]:
    """`since` says from when on they could not be recorded; without it the record is as old as they are."""
    details = leaf.get("details") or {}
    since_ns = min(_since(details.get("since"), at_ns), at_ns)
    for code, count in details.items():
        part = next((part for start, part in _COUNTED.items() if code.startswith(start)), None)
        if part is not None and isinstance(count, int):
            yield Period(part, since_ns, at_ns, 1, 0, count, record, record, (code,))


def _since(told: object, otherwise: int) -> int:
    try:
        return nanoseconds(told) if isinstance(told, str) else otherwise
    except ValueError:  # not written by us, which is for a verification to tell
        return otherwise


def _joined(signs: Iterable[Period], gap_ns: int) -> list[Period]:
    found: list[Period] = []
    for sign in sorted(signs, key=lambda one: (one.since_ns, one.first)):
        last = found[-1] if found else None
        if last is None or sign.since_ns - last.until_ns > gap_ns:
            found.append(sign)
            continue
        last.until_ns, last.last = max(last.until_ns, sign.until_ns), max(last.last, sign.last)
        last.records, last.went_on, last.counted = last.records + sign.records, last.went_on + sign.went_on, last.counted + sign.counted
        last.reasons = tuple(sorted({*last.reasons, *sign.reasons}))
    return found
