"""Holding a request for a human, from a worker's side: sealed under its subject's key and bound to its content's digest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from router.acting import actors
from router.audit.records.sealing import as_text
from router.decision import Decision, Obligation, Subject
from router.dispatch import content_digest
from router.errors import AuditError, ReviewError
from router.obligations import response_limit, strictest_review
from router.ports import Clock, Held, Notice, Outbound, ReviewStore, SubjectKeys
from router.review.judging import judged
from router.review.packing import Content, seal_content
from router.review.resuming import Resuming, resting
from router.review.sending import RESPONSE_BYTES
from router.review.standing import ASKER_KEY
from router.review.terms import ASKER, JUDGED, NS
from router.settings import duration
from router.stages.policy import policy_input

LONGEST_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Spans:
    """Seconds, unless policy says others: how long a request waits for a decision, a claim lasts, and a question waits for its answer."""

    expires: float = 86_400.0
    claim: float = 900.0
    respond: float = 86_400.0


class Resumes(Protocol):
    async def rest(self, notice: Notice) -> None:
        """Durable when it returns. Raises ReviewError."""


class Holding:
    def __init__(self, reviews: ReviewStore, keys: SubjectKeys, clock: Clock, spans: Spans, resumes: Resumes | None = None) -> None:
        self._resumes = resumes
        self._reviews = reviews
        self._keys = keys
        self._clock = clock
        self._spans = spans

    async def hold(self, decision: Decision, outbound: Outbound, resume: Resuming | None = None, patience_s: float = 0.0) -> None:
        """Durable when it returns. `resume`: by what whoever asks is resumed at the end. Raises ReviewError, and PolicyError for a body
        that was not read whole."""
        subject = decision.request.subject.id
        try:
            key_id, key = await self._keys.key_for(subject)
            service = acting(decision.request.subject)
            asker = None if service is None else (await self._keys.key_for(service))[0]
        except AuditError as error:
            raise ReviewError(f"The request could not be sealed: {error}") from error
        held = self.prepared(decision, outbound, key_id, key, asker)
        if resume is not None:
            if self._resumes is None:
                raise ReviewError("Nobody can be resumed here.", "resume_unavailable")
            await self._resumes.rest(resting(held, resume, key, self._clock.now_ns(), patience_s))
        await self._reviews.hold(held)

    def prepared(self, decision: Decision, outbound: Outbound, key_id: str, key: bytes, asker: str | None = None) -> Held:
        """What `hold` puts where reviewers look. The key is the subject's; `asker` is the key id of the service that asked on its behalf.
        Raises as `hold`."""
        held = self._terms(decision, content_digest(outbound), key_id, asker)
        subject = decision.request.subject
        content = Content(outbound, decision.signals.masked_text or "", subject.id, _document(decision), actors(subject))
        return replace(held, sealed=seal_content(key, content, held))

    def _terms(self, decision: Decision, digest: str, key_id: str, asker: str | None) -> Held:
        if decision.route is None:
            raise ReviewError("A request without a route cannot be held.", "route_missing")
        now = self._clock.now_ns()
        expires_s, wanted = review_terms(decision.verdict.obligations, self._spans)
        return Held(
            decision_id=decision.id,
            content_digest=digest,
            created_ns=now,
            expires_ns=now + int(expires_s * NS),
            intent=decision.classification.intent,
            route=decision.route.name,
            destination=decision.route.destination,
            risk=decision.risk.level.value,
            tenant=decision.request.subject.tenant,
            subject_key_id=key_id,
            sealed=b"",
            summary={
                "reasons": [reason.code for reason in decision.verdict.reasons],
                **wanted,
                **_limited(decision),
                JUDGED: judged(decision.verdict),
                **({ASKER: True} if decision.request.door == "decide" else {}),
                **({ASKER_KEY: asker} if asker is not None else {}),
            },
        )


def acting(subject: Subject) -> str | None:
    """The service that asked for a decision on somebody else's behalf (RFC 8693 §4.1)."""
    actor = subject.claims.get("act") if subject.authenticated_by == "delegated" else None
    return actor["sub"] if isinstance(actor, Mapping) and isinstance(actor.get("sub"), str) else None


def review_terms(obligations: Iterable[Obligation], spans: Spans) -> tuple[float, dict[str, Any]]:
    """(seconds until the end, what goes into a held request's summary). Raises ReviewError where policy asks for what cannot be read."""
    wanted = strictest_review(obligations)
    found: dict[str, Any] = {"reviewers": _roles(wanted, "reviewers"), "quorum": _quorum(wanted.get("quorum", 1))}
    for name in ("each_of", "escalate_to", "modify", "reroute"):
        if name in wanted:
            found[name] = _roles(wanted, name)
    for name, otherwise in (("claim", spans.claim), ("respond", spans.respond), ("escalate", None)):
        if name in wanted or otherwise is not None:
            found[f"{name}_ns"] = int(_seconds(name, wanted.get(name, otherwise)) * NS)
    if wanted.get("on_expiry") == "allow":
        found["on_expiry"] = "allow"
    return _seconds("expires", wanted.get("expires", spans.expires)), found


def _document(decision: Decision) -> str:
    """What policy decided on; the intent's entry of the catalog is looked up whenever it is asked again."""
    route = decision.route
    return as_text(policy_input(decision.request, decision.signals, decision.classification, decision.risk, None, route))


def _limited(decision: Decision) -> dict[str, int]:
    limit = response_limit(decision.verdict.obligations)
    return {} if limit is None else {RESPONSE_BYTES: limit}


def _seconds(name: str, value: object) -> float:
    """Of a duration such as `24h`, or a number of seconds."""
    try:
        seconds = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else duration(value)
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= LONGEST_S:
        raise _unusable(name, value, "no time between 0 and a year")
    return seconds


def _quorum(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 64 or value != int(value):
        raise _unusable("quorum", value, "no number of people between 1 and 64")
    return int(value)


def _roles(wanted: Mapping[str, Any], name: str) -> list[str]:
    """An obligation that cannot be read must not become one that anybody may fulfil."""
    value = wanted.get(name, [])
    if not isinstance(value, list | tuple) or not all(isinstance(role, str) and role for role in value):
        raise _unusable(name, value, "no list of names")
    return list(value)


def _unusable(name: str, value: object, what: str) -> ReviewError:
    return ReviewError(f"Policy asks for a review with '{name}' {value!r}, which is {what}.", "obligation_failed")
