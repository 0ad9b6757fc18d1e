"""A decision as this service sees it: frozen, and only what a service acts on. `raw` has all that the server said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate.client.errors import Abstained, Denied, Held, Refusal, Unfulfilled

GOING_ON = frozenset(("allow", "reroute"))
# Lockgate fulfils these itself, before it records the decision; whatever else policy asks for is for who acts on the decision.
DONE_BY_LOCKGATE = frozenset(("require_review", "require_step_up", "rate_limit", "tag", "log"))


@dataclass(frozen=True, slots=True)
class Reason:
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Obligation:
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`effect` is `allow`, `deny`, `review` or `reroute`."""

    effect: str
    reasons: tuple[Reason, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    revision: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    intent: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Classification:
    """`status` is `classified`, `ambiguous`, `out_of_scope`, `undetermined`, `unavailable` or `skipped`. `confidence` is a probability, and
    None where a rule decided or nothing was found."""

    status: str
    intent: str | None = None
    confidence: float | None = None
    threshold: float | None = None
    candidates: tuple[Candidate, ...] = ()
    tier: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Risk:
    level: str
    score: float


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    destination: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How Lockgate would end the request. `headers` are for the answer to the caller."""

    result: str
    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """`problem` is the RFC 9457 body that the gateway would give the caller; None where the request may go ahead. `subject` is the id of
    the one whom it is about."""

    id: str
    subject: str
    classification: Classification
    risk: Risk
    verdict: Verdict
    route: Route | None
    outcome: Outcome | None
    problem: Mapping[str, Any] | None = field(default=None, repr=False)
    trace_id: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def allowed(self) -> bool:
        """Whether the request may go ahead, under `obligations`."""
        return self.outcome is None and self.route is not None and self.verdict.effect in GOING_ON

    @property
    def held(self) -> bool:
        return self.outcome is not None and self.outcome.result == "held"

    @property
    def abstained(self) -> bool:
        return self.outcome is not None and self.outcome.result == "abstained"

    @property
    def denied(self) -> bool:
        """Whatever lets nothing be done, and neither waits for a person nor asks back."""
        return not (self.allowed or self.held or self.abstained)

    @property
    def intent(self) -> str | None:
        return self.classification.intent

    @property
    def confidence(self) -> float | None:
        return self.classification.confidence

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """Those that are left to who acts on the decision."""
        return tuple(each for each in self.verdict.obligations if each.name not in DONE_BY_LOCKGATE)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Codes."""
        return tuple(each.code for each in self.verdict.reasons)

    def enforce(self, fulfils: Collection[str] = ()) -> Decision:
        """Itself, where the request may go ahead and each obligation is one that this service `fulfils`, by name. Raises Denied, Held,
        Abstained, Unfulfilled."""
        if not self.allowed:
            raise self._refusal()
        missing = tuple(sorted({each.name for each in self.obligations} - set(fulfils)))
        if missing:
            raise Unfulfilled(self, missing)
        return self

    def _refusal(self) -> Refusal:
        kind = Held if self.held else Abstained if self.abstained else Denied
        code = self.outcome.reason if self.outcome is not None else None
        detail = self.problem.get("detail") if self.problem is not None else None
        return kind(
            self, detail if isinstance(detail, str) and detail else f"The request is {kind.code}: {code or 'no reason given'}.", code
        )


WAITING = frozenset(("pending", "assigned", "escalated", "more_information", "approved", "dispatching"))
RELEASED = "released"


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """What a reviewer asks about a held request: the `number`-th time. `answer_by`: an RFC 3339 time, later than which no answer is taken;
    empty where only the review's own end counts. `tag` names it."""

    number: int
    text: str
    answer_by: str
    tag: str


@dataclass(frozen=True, slots=True)
class Review:
    """Where a held request stands. `state` is `pending`, `assigned`, `escalated`, `more_information`, `approved`, `released`, `rejected`,
    `expired`, `cancelled`, `superseded` or `failed`; `expires` an RFC 3339 time. `approvals` of the `quorum` that policy wants."""

    id: str
    state: str
    expires: str = ""
    approvals: int = 0
    quorum: int = 1

    @property
    def released(self) -> bool:
        """Whether this service may do it now. It is asked as often as one likes: doing it once is this service's part."""
        return self.state == RELEASED

    @property
    def waiting(self) -> bool:
        return self.state in WAITING
