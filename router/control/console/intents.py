"""What people ask for, how sure the classifier is of it, and what became of that. The figures read everything in their time, so the page
is there first and asks for them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse

from router.control.console.asking import filters
from router.control.console.html import page
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import AuditFilters, ControlServices, Json

router = guarded_router()
SPANS: Mapping[str, tuple[str, str]] = {"1h": ("5m", "hour"), "24h": ("1h", "day"), "7d": ("6h", "week"), "30d": ("1d", "30 days")}
BINS, SHOWN, PAIRS, LOOKED_AT, MOST_SAID = 20, 6, 12, 200, 1000
APPROVED = ("approved", "released", "dispatched", "done", "failed", "uncertain", "redispatched", "modified", "rerouted")
Span = Annotated[str, Query(pattern="^(1h|24h|7d|30d)$")]


@router.get("/console/intents", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def intents(request: Request, span: Span = "24h") -> HTMLResponse:
    return page(request, "intents.html", here="intents", span=span, spans=SPANS, figures=None)


@router.get("/console/intents/figures", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def figures(request: Request, services: Services, caller: Caller, span: Span = "24h") -> HTMLResponse:
    """Exact counts of decisions; each is a reading and on record."""
    bucket, _ = SPANS[span]
    audit, every = services.audit, _within(span)
    by_intent = await audit.statistics(every, ("intent",), None, caller.id)
    by_effect = await audit.statistics(every, ("intent", "effect"), None, caller.id)
    over_time = await audit.statistics(every, ("intent",), bucket, caller.id)
    status = await audit.statistics(every, ("classification", "tier"), None, caller.id)
    unsure = await audit.query(_within(span, " and classification = 'ambiguous'"), None, LOOKED_AT, caller.id)
    sure = await audit.distribution(every, "review", BINS, caller.id)
    shown = {
        "confused": await _confused(services, Permission.PROPOSALS_READ in caller.permissions),
        "records": by_intent["records"],
        "complete": by_intent["complete_to"],
        "intents": _table(by_intent["groups"], by_effect["groups"]),
        "mix": mix(over_time["groups"]),
        "status": status["groups"],
        "pairs": pairs([item["leaf"] for item in unsure.items]),
        "looked_at": len(unsure.items),
        "sure": [sum(counts) for counts in zip(*(group["counts"] for group in sure["groups"]), strict=True)],
        "reliability": reliability(sure["groups"]),
    }
    return page(request, "intents.html", here="intents", span=span, spans=SPANS, figures=shown)


def _within(span: str, also: str = "") -> AuditFilters:
    return filters({"where": f"kind = 'decision' and time >= '{span}'{also}"})


def _table(by_intent: Sequence[Json], by_effect: Sequence[Json]) -> list[dict[str, Any]]:
    """Each intent with the share of each verdict."""
    effects: dict[Any, Counter[str]] = defaultdict(Counter)
    for group in by_effect:
        effects[group["intent"]][str(group["effect"])] += group["count"]
    return [{**group, "effects": effects[group["intent"]]} for group in by_intent]


def mix(groups: Sequence[Json]) -> dict[str, Any]:
    """Of each bucket of time how many of the most frequent intents, and of all others together."""
    totals = Counter[str]()
    for group in groups:
        totals[group["intent"] or ""] += group["count"]
    names = [name for name, _ in totals.most_common() if name][:SHOWN]
    buckets: dict[str, list[int]] = {}
    for group in groups:
        counts = buckets.setdefault(group["bucket"], [0] * (len(names) + 1))
        counts[names.index(group["intent"]) if group["intent"] in names else len(names)] += group["count"]
    return {"names": [*names, "others and none"], "buckets": sorted(buckets.items())}


def pairs(leaves: Sequence[Json]) -> list[tuple[str, str, int]]:
    """Which two intents were likeliest where nothing was chosen, and how often. A leaf has them, the index only what was accepted."""
    found = Counter[tuple[str, str]]()
    for leaf in leaves:
        likeliest = [each["intent"] for each in (leaf.get("classification") or {}).get("candidates", ())[:2]]
        if len(likeliest) == 2:
            found[min(likeliest), max(likeliest)] += 1
    return [(one, other, count) for (one, other), count in found.most_common(PAIRS)]


async def _confused(services: ControlServices, may: bool) -> list[tuple[str, str, int]] | None:
    """(what it was taken for, what people say it was, how often); None where nothing is learnt here, or what was said may not be seen."""
    if services.learning is None or not may:
        return None
    found = await services.learning.feedback("wrong", None, MOST_SAID)
    said = Counter((each["classified"] or "none", each["intent"] or "another") for each in found.items if not each["own"])
    return [(one, other, count) for (one, other), count in said.most_common(PAIRS)]


def reliability(groups: Sequence[Json]) -> list[tuple[float, float, int]]:
    """(confidence in the middle of the step, share approved, decided) for each step in which reviewers decided something."""
    said = {group["review"]: group["counts"] for group in groups}
    found = []
    for place in range(BINS):
        yes = sum(said[event][place] for event in APPROVED if event in said)
        decided = yes + (said["rejected"][place] if "rejected" in said else 0)
        if decided:
            found.append(((place + 0.5) / BINS, yes / decided, decided))
    return found
