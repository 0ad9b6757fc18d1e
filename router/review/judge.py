"""Judges held requests by the policies that are in force, in the control process: no classification is made again, and no request is
counted again; signals, risk, policy, route and obligations are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from router.audit.records.sealing import as_text
from router.decision import (
    BodyView,
    Candidate,
    Classification,
    Decision,
    Effect,
    Level,
    Request,
    Risk,
    Route,
    Signals,
    Status,
    Subject,
    Verdict,
)
from router.dispatch import Dispatcher, content_digest
from router.errors import PolicyError, ReviewError
from router.ports import Clock, Held, Outbound, PolicyEngine
from router.review import terms
from router.review.changing import on_route, with_body
from router.review.holding import Spans, review_terms
from router.review.judging import ENTRY, Again, judged, said
from router.review.packing import Content
from router.stages.demands import Demands
from router.stages.policy import judge, plausible, policy_input
from router.stages.risk import LEVELS, RiskModel
from router.stages.routing import RoutingTable
from router.stages.signals import SignalDetector

UNCOUNTED = ("rate_limit",)  # what counts requests counted this one when it came


@dataclass(frozen=True, slots=True)
class Judge:
    """The parts of one configuration. `view`: a whole body of a content type as front doors see it; `leads`: whether a route leads to the
    destination of that name now. Implements `judging.Judging`."""

    engine: PolicyEngine
    routing: RoutingTable
    signals: SignalDetector
    risk: RiskModel
    demands: Demands
    view: Callable[[bytes, str], BodyView]
    leads: Callable[[str, str], bool]
    clock: Clock
    spans: Spans
    deadline_s: float | None = None

    async def attempt(self, document: Mapping[str, Any]) -> Verdict:
        return await judge(self.engine, ENTRY, None, document, self.deadline_s)

    async def again(self, held: Held, content: Content, *, outbound: Outbound | None = None, route: str | None = None) -> Again:
        told = _told(content)
        place = self._place(held, route)
        following = outbound if outbound is not None else content.outbound
        if route is not None:
            following = on_route(following, place.path, place.method, told["request"])
        request, classification = _request(told, self._seen(following, told)), _classification(told)
        document, signals, risk = self._document(told, request, classification, place, changed=outbound is not None)
        asked = plausible(classification.intent, classification.prediction_set)
        verdict = await judge(self.engine, "decision", asked, document, self.deadline_s)
        if outbound is None and route is None and self._same(held, place, verdict):
            return Again(verdict, held, content, same=True)
        place, verdict = self._final(place, verdict)
        if verdict.effect is Effect.REROUTE:
            following = on_route(following, place.path, place.method, told["request"])
        verdict = await self._met(request, classification, place, verdict)
        if verdict.effect is not Effect.DENY:
            following = self._obliged(request, place, verdict, following)
        text = content.text if outbound is None else signals.masked_text or ""
        new = replace(content, outbound=following, text=text, document=as_text(document))
        level = held.risk if outbound is None else risk.level.value
        return Again(verdict, self._held(held, verdict, place, level, following), new)

    async def mask(self, text: str) -> str:
        return self.signals.mask(text)

    def _document(
        self, told: Mapping[str, Any], request: Request, classification: Classification, place: Route, *, changed: bool
    ) -> tuple[dict[str, Any], Signals, Risk]:
        """As it was, with the catalog's entry and the route of now; of another content with its own signals and the risk of both."""
        intent = self.routing.intents.get(classification.intent) if classification.intent is not None else None
        signals, risk = (self.signals.inspect(request), _risk(told)) if changed else (Signals(), _risk(told))
        if changed:
            risk = _higher(self.risk.weigh(intent.risk if intent is not None else None, signals, classification), risk)
        found = policy_input(request, signals, classification, risk, intent, place)
        document = {**told, "intent": found["intent"], "route": found["route"]}
        if changed:
            body = {**told["request"], "body": found["request"]["body"]}
            document |= {"request": body, "risk": found["risk"], "signals": _with_usual(found["signals"], told["signals"])}
        return document, signals, risk

    def _same(self, held: Held, place: Route, verdict: Verdict) -> bool:
        return (place.name, place.destination) == (held.route, held.destination) and said(verdict) == terms.said(held)

    def _place(self, held: Held, route: str | None) -> Route:
        """Raises ReviewError for a route that is not there."""
        entry = self.routing.routes.get(route or held.route)
        if entry is None:
            raise ReviewError(f"There is no route '{(route or held.route)[:64]}'.", "route_changed")
        same = route is None and self.leads(held.route, held.destination)
        return Route(entry.name, held.destination if same else entry.destination, "review", entry.path, entry.method)

    def _final(self, place: Route, verdict: Verdict) -> tuple[Route, Verdict]:
        route, final = self.routing.final(place, verdict)
        return (place if route is None else route), final

    async def _met(self, request: Request, classification: Classification, place: Route, verdict: Verdict) -> Verdict:
        uncounted = replace(verdict, obligations=tuple(each for each in verdict.obligations if each.name not in UNCOUNTED))
        met = await self.demands.met(request, classification, place, uncounted)
        return met if met.effect is Effect.DENY else verdict

    def _obliged(self, request: Request, place: Route, verdict: Verdict, outbound: Outbound) -> Outbound:
        """What was masked or left out before stays so. Raises ReviewError."""
        nothing = Classification(Status.SKIPPED)
        decision = Decision(request.id, request, Signals(), nothing, Risk(Level.LOW, 0.0), verdict, verdict, place, None, 0, "")
        try:
            found = Dispatcher({}, self.signals.mask).oblige(decision, outbound)
        except PolicyError as error:
            raise ReviewError(f"It cannot be sent as policy asks: {error}", "obligation_failed") from error
        return with_body(found, found.body) if isinstance(found.body, bytes) else found

    def _held(self, held: Held, verdict: Verdict, place: Route, risk: str, outbound: Outbound) -> Held:
        """Where policy wants no review any more, what it wanted before goes on."""
        summary, expires_ns = dict(held.summary), held.expires_ns
        if verdict.effect is Effect.REVIEW:
            expires_s, wanted = review_terms(verdict.obligations, self.spans)
            for name in ("each_of", "escalate_to", "modify", "reroute", "on_expiry", "escalate_ns"):
                summary.pop(name, None)
            summary |= wanted
            summary["reasons"] = [reason.code for reason in verdict.reasons]
            expires_ns = min(expires_ns, self.clock.now_ns() + int(expires_s * terms.NS))
            summary[terms.LEVEL] = min(int(summary.get(terms.LEVEL, 0)), len(summary.get("escalate_to", ())))
        summary[terms.JUDGED] = judged(verdict)
        summary[terms.ROUND] = terms.round_of(held) + 1
        digest = content_digest(outbound)
        return replace(
            held,
            content_digest=digest,
            route=place.name,
            destination=place.destination,
            risk=risk,
            expires_ns=expires_ns,
            sealed=b"",
            summary=summary,
        )

    def _seen(self, outbound: Outbound, told: Mapping[str, Any]) -> BodyView:
        body = outbound.body if isinstance(outbound.body, bytes) else b""
        return self.view(body, str(told["request"]["content_type"]))


def _told(content: Content) -> Mapping[str, Any]:
    """Raises ReviewError for what an older release held."""
    if not content.document:
        raise ReviewError("An older release held this request, which cannot be judged again.", "review_unjudged")
    found: Mapping[str, Any] = json.loads(content.document)
    return found


def _request(told: Mapping[str, Any], body: BodyView) -> Request:
    request, subject = told["request"], told["subject"]
    return Request(
        id=request["id"],
        received_ns=request["time"]["ns"],
        door=request["door"],
        subject=Subject(
            subject["id"],
            subject["type"],
            tuple(subject["roles"]),
            tuple(subject["groups"]),
            subject["tenant"],
            subject["claims"],
            subject["authenticated_by"],
        ),
        method=request["method"],
        host=request["host"],
        path=request["path"],
        query=request["query"],
        headers=tuple(request["headers"].items()),
        content_type=request["content_type"],
        body=body,
        client=request["client"],
    )


def _classification(told: Mapping[str, Any]) -> Classification:
    found = told["classification"]
    return Classification(
        status=Status(found["status"]),
        intent=found["intent"],
        confidence=found["confidence"],
        margin=found["margin"],
        scope=found["scope"],
        threshold=found["threshold"],
        candidates=tuple(Candidate(each["intent"], 0.0, each["confidence"]) for each in found["candidates"]),
        prediction_set=tuple(found["prediction_set"]),
        tier=found["tier"],
        reason=found["reason"],
        novelty=found["novelty"],
        injection=found["injection"],
    )


def _risk(told: Mapping[str, Any]) -> Risk:
    return Risk(Level(told["risk"]["level"]), told["risk"]["score"])


def _higher(one: Risk, other: Risk) -> Risk:
    """A reviewer's change makes nothing less risky than it was."""
    return one if (LEVELS.index(one.level), one.score) >= (LEVELS.index(other.level), other.score) else other


def _with_usual(signals: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What was unusual about the request was found where others were seen beside it."""
    kept = {name: each for name, each in before["findings"].items() if name.startswith("unusual.")}
    return {**signals, "learning": before["learning"], "findings": {**signals["findings"], **kept}}
