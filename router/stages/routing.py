"""Which route a request takes: the rule's, the intent's, the one policy sent it to, or the one configured for abstention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.decision import Classification, Effect, Reason, Route, Status, Verdict
from router.stages.canary import Canary

ABSTAIN_CLARIFY = "clarify"
ABSTAIN_DENY = "deny"


@dataclass(frozen=True, slots=True)
class RouteEntry:
    name: str
    destination: str
    path: str | None = None
    method: str | None = None


@dataclass(frozen=True, slots=True)
class IntentEntry:
    """What routing and risk need of an intent. `on_abstain`: `clarify`, `deny`, or a route's name; None defers to the listener."""

    name: str
    route: str
    risk: str = "low"
    owner: str = ""
    tags: tuple[str, ...] = ()
    on_abstain: str | None = None


@dataclass(frozen=True, slots=True)
class RoutingTable:
    routes: Mapping[str, RouteEntry]
    intents: Mapping[str, IntentEntry]
    on_abstain: str = ABSTAIN_CLARIFY
    canaries: Mapping[str, Canary] = field(default_factory=dict)

    def provisional(self, classification: Classification) -> Route | None:
        """Where the request would go before policy has spoken; None where it abstains without a fallback route."""
        rule = classification.rule
        if rule is not None and rule.route is not None:
            return self._named(rule.route, "rule")
        if classification.intent is not None and classification.status is Status.CLASSIFIED:
            return self._named(self.intents[classification.intent].route, "rule" if rule is not None else "intent")
        abstain = self.abstention(classification)
        return self._named(abstain, "abstain") if abstain in self.routes else None

    def abstention(self, classification: Classification) -> str:
        """`clarify`, `deny` or a route's name: the most likely intent's own choice, else the listener's."""
        likely = classification.candidates[0].intent if classification.candidates else classification.intent
        return self.choice(likely) if likely is not None else self.on_abstain

    def choice(self, intent: str) -> str:
        """The same for this intent, were it the most likely one."""
        entry = self.intents.get(intent)
        return (entry.on_abstain if entry is not None else None) or self.on_abstain

    def final(self, provisional: Route | None, verdict: Verdict) -> tuple[Route | None, Verdict]:
        """Applies a reroute. An unknown route is a deny, never a guess."""
        if verdict.effect is not Effect.REROUTE:
            return provisional, verdict
        if verdict.reroute is None or verdict.reroute not in self.routes:
            reason = Reason("route_unknown", "policy sent the request to a route that the catalog does not have")
            return None, Verdict(
                Effect.DENY, (*verdict.reasons, reason), revision=verdict.revision, digest=verdict.digest, engine=verdict.engine
            )
        return self._named(verdict.reroute, "reroute"), verdict

    def _named(self, name: str, why: str) -> Route:
        entry = self.routes[name]
        return Route(entry.name, entry.destination, why, entry.path, entry.method)
