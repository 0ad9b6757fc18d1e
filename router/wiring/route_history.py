"""What became of an intent's requests, from the ledger's index: nothing is opened for it. Blocks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from router.adaptation.route_effects import Change, Seen, Way, Window, went_wrong
from router.adaptation.suggesting import Judged
from router.audit.questions.conditions import Among, Compare, every
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import IndexStore, LedgerReader
from router.catalog import Catalog
from router.decision import Effect, Result, Status

COLUMNS = (
    "time",
    "decision_id",
    "intent",
    "rule",
    "route",
    "destination",
    "effect",
    "result",
    "status",
    "attempts",
    "duration",
    "upstream_duration",
)
WORDS = ("intent", "rule", "route", "destination", "effect", "result")
DECIDED = ("approved", "modified", "rerouted", "rejected")
REROUTED = "rerouted"
ENTRY = "decision"


@dataclass(frozen=True, slots=True)
class History:
    """By intent. `capped`: there were more decisions in the time."""

    seen: Mapping[str, Sequence[Seen]]
    judged: Mapping[str, Judged]
    capped: bool


def ways(catalog: Catalog) -> dict[str, Way]:
    return {
        name: Way(name, route.destination, route.cost, route.sla.latency if route.sla is not None else None, route.alternatives)
        for name, route in catalog.routes.items()
    }


def own_routes(catalog: Catalog) -> frozenset[str]:
    """Rules that name a route, so that the intent's is nothing to them."""
    return frozenset(rule.name for rule in catalog.rules if rule.route is not None)


def history(
    reader: LedgerReader, index: IndexStore, intents: Collection[str], ruled: Collection[str], window: Window, most: int
) -> History:
    """Of the newest `most` decisions that were understood as one of these intents, and of what people decided about held ones."""
    catch_up(reader, index)
    times = (Compare("time", ">=", window.since_ns), Compare("time", "<", window.until_ns), Among("intent", tuple(sorted(intents))))
    judged, sent = _judged(Trail(reader, index), index, Query(kind="review").also(every((*times, Among("event", DECIDED)))))
    rows, capped = _newest(index, Query(kind="decision").also(every((*times, Compare("classification", "=", Status.CLASSIFIED)))), most)
    seen: dict[str, list[Seen]] = {}
    for row in rows:
        seen.setdefault(row["intent"], []).append(_seen(row, ruled, sent))
    return History(seen, judged, capped)


def _newest(index: IndexStore, query: Query, most: int) -> tuple[Iterator[dict[str, Any]], bool]:
    """Chunks are let go again as soon as later ones are enough, so that a long history takes time and no memory."""
    kept, count, dropped = deque[Mapping[str, Any]](), 0, False
    for chunk in index.scan(query.condition(), COLUMNS):
        kept.append(chunk)
        count += len(chunk["record"])
        while count - len(kept[0]["record"]) >= most:
            count -= len(kept.popleft()["record"])
            dropped = True
    said = {name: index.words(name) for name in WORDS}
    return islice(_rows(kept, said), max(0, count - most), None), dropped or count > most


def _rows(chunks: Collection[Mapping[str, Any]], said: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        listed = {name: values.tolist() for name, values in chunk.items()}
        for place in range(len(listed["record"])):
            row = {name: values[place] for name, values in listed.items()}
            yield {**row, **{name: said[name][row[name]] if row[name] >= 0 else None for name in WORDS}}


def _seen(row: Mapping[str, Any], ruled: Collection[str], sent: Mapping[int, str]) -> Seen:
    """A held request took as long as its service, not as long as it was held. Without an attempt it is an answer that was kept and given
    once more."""
    status = row["status"] if row["status"] >= 0 else None
    took = row["upstream_duration"] if row["upstream_duration"] > 0 else row["duration"] if row["effect"] != Effect.REVIEW else -1
    return Seen(
        str(row["record"]),
        row["time"],
        row["route"],
        row["destination"],
        row["effect"] or "",
        row["rule"] not in ruled,
        None if row["result"] == Result.ROUTED and row["attempts"] <= 0 else went_wrong(row["result"], status),
        took if took > 0 else None,
        sent.get(row["decision_id"]),
    )


def _judged(trail: Trail, index: IndexStore, query: Query) -> tuple[dict[str, Judged], dict[int, str]]:
    """By intent; and of the decisions that people sent elsewhere, by the codes of their ids, where to."""
    decided, last = dict[str, set[int]](), dict[int, tuple[str, str]]()
    by = dict[tuple[str, str], set[str]]()
    for row in trail.rows(query, ("event", "reviewer", "decision_id", "intent")):
        decided.setdefault(row["intent"], set()).add(row["decision_id"])
        if row["event"] != REROUTED:
            continue
        route = str((trail.leaf(row["record"]).get("details") or {}).get("route") or "")
        last[row["decision_id"]] = row["intent"], route  # whoever does so after somebody else has the last word
        if row["reviewer"] is not None:
            by.setdefault((row["intent"], route), set()).add(index.id("reviewer", row["reviewer"]) or "")
    sent = Counter(last.values())
    judged = {
        intent: Judged(
            len(those),
            {route: count for (of, route), count in sent.items() if of == intent},
            {route: frozenset(keys) for (of, route), keys in by.items() if of == intent},
        )
        for intent, those in decided.items()
    }
    return judged, {decision: route for decision, (_, route) in last.items()}


def inputs(trail: Trail, intent: str, window: Window, most: int, looked_at: int) -> dict[str, dict[str, Any]]:
    """What policy was told of the newest decisions whose route came of the intent, by record. These are opened."""
    times = (Compare("time", ">=", window.since_ns), Compare("time", "<", window.until_ns))
    asked = Query(kind="decision", intent=intent).also(every((*times, Compare("classification", "=", Status.CLASSIFIED))))
    found: dict[str, dict[str, Any]] = {}
    for each in islice(trail.find(asked), looked_at):
        rule = each.leaf["classification"]["rule"]
        if (rule is None or rule["route"] is None) and (document := _document(each.personal)) is not None:
            found[str(each.index)] = document
        if len(found) == most:
            break
    return found


def _document(personal: Mapping[str, str] | None) -> dict[str, Any] | None:
    try:
        document = orjson.loads((personal or {})["policy_input"])
    except (KeyError, orjson.JSONDecodeError):
        return None
    return document if isinstance(document, dict) and document.get("entry") == ENTRY else None


def put_on(document: Mapping[str, Any], route: str, known: Mapping[str, Way]) -> dict[str, Any]:
    """What policy would be told, were this the route. Of what it was not told then, nobody knows how it stood."""
    way, told = known[route], document.get("routes") or {}
    made = {**{name: value for name, value in document.items() if name != "routes"}, "route": _named(way)}
    if not way.alternatives:
        return made
    return {**made, "routes": {name: told.get(name) or _unknown(known[name]) for name in (route, *way.alternatives)}}


def both(document: Mapping[str, Any], change: Change, known: Mapping[str, Way]) -> tuple[dict[str, Any], dict[str, Any]]:
    return put_on(document, change.before, known), put_on(document, change.after, known)


def _named(way: Way) -> dict[str, str]:
    return {"name": way.name, "destination": way.destination}


def _unknown(way: Way) -> dict[str, Any]:
    latency = None if way.latency_s is None else way.latency_s * 1000
    return {
        "destination": way.destination,
        "cost": way.cost,
        "sla": {"latency_ms": latency, "availability": None},
        "usable": None,
        "recent": None,
    }
