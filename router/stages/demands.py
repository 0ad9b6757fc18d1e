"""What policy demands of a request that may go on, as far as it can be known before the decision is recorded: what is not met is a denial.

What is done with the request itself (masking, header fields, a copy) follows at dispatch and when it is held; here it is made sure that it
can be. Counting comes last, so that a request that is refused for another reason takes nothing from anybody's quota.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from router import obligations
from router.caller import caller_key, intent_key
from router.decision import Classification, Effect, Reason, Request, Route, Verdict
from router.errors import PolicyError, RefusedError, StateError
from router.masking import masked
from router.obligations import Params
from router.ports import Quota, Quotas
from router.redaction import READABLE, redacted
from router.stages.step_up import challenge, lacking

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: Reason
    status: int | None = None
    fields: Fields = ()


class NotCounted:
    """For who only wants to know what would be decided."""

    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        return None


@dataclass(frozen=True, slots=True)
class Demands:
    """`quotas`: where requests are counted; without it a limit is a denial. `mirrors`: names of destinations."""

    quotas: Quotas | None = None
    mirrors: frozenset[str] = frozenset()

    async def met(
        self, request: Request, classification: Classification, route: Route | None, verdict: Verdict, *, socket: bool = False
    ) -> Verdict:
        """The verdict, or a denial in its place. `socket`: messages follow, which nobody will read."""
        if not verdict.obligations or verdict.effect is Effect.DENY or route is None:
            return verdict
        refusal = self._unmet(request, verdict, socket=socket) or await self._over(request, classification, route, verdict)
        return denied(verdict, refusal) if refusal is not None else verdict

    async def admit(self, request: Request, admission: Verdict) -> None:
        """Of a request that admission lets in. Raises RefusedError: such a request is counted and never decided, so that a flood of them
        does not buy a record each."""
        refusal = await self._over(request, None, None, admission)
        if refusal is not None:
            retry = next((int(value) for name, value in refusal.fields if name == "retry-after"), None)
            fields = tuple(each for each in refusal.fields if each[0] != "retry-after")
            raise RefusedError(refusal.reason.message, refusal.reason.code, refusal.status or 403, retry, fields)

    def _unmet(self, request: Request, verdict: Verdict, *, socket: bool) -> Refusal | None:
        try:
            if socket:
                obligations.for_sockets(verdict.obligations)
            obligations.strictest_review(verdict.obligations)
            obligations.added_headers(verdict.obligations)
            _transformable(request, verdict)
        except PolicyError as error:
            return Refusal(Reason(error.code, str(error)))
        return self._unmirrored(verdict) or _unproven(request, verdict)

    def _unmirrored(self, verdict: Verdict) -> Refusal | None:
        for wanted in obligations.named(verdict.obligations, "mirror"):
            if wanted["destination"] not in self.mirrors:
                return Refusal(Reason("mirror_unknown", "policy copies the request to a destination that the catalog does not have"))
            if verdict.effect is Effect.REVIEW:
                return Refusal(Reason("obligation_failed", "a request that waits for a person cannot be copied"))
        return None

    async def _over(self, request: Request, classification: Classification | None, route: Route | None, verdict: Verdict) -> Refusal | None:
        wanted = obligations.named(verdict.obligations, "rate_limit")
        if not wanted:
            return None
        if self.quotas is None:
            return _uncounted()
        quotas = [_quota(each, request, classification, route) for each in wanted]
        try:
            over = await self.quotas.take(quotas)
        except StateError:
            return _uncounted()
        return _limited(wanted[over[0]], over[1]) if over is not None else None


NOTHING_MORE = Demands()


def denied(verdict: Verdict, refusal: Refusal) -> Verdict:
    return replace(
        verdict,
        effect=Effect.DENY,
        reasons=(refusal.reason, *verdict.reasons),
        reroute=None,
        status=refusal.status,
        fields=refusal.fields,
    )


def _unproven(request: Request, verdict: Verdict) -> Refusal | None:
    for wanted in obligations.named(verdict.obligations, "require_step_up"):
        subject = request.subject
        if subject.authenticated_by == "api_key":
            message = "an authentication is required that a caller with an API key cannot give"
            return Refusal(Reason("step_up_impossible", message), 403)
        sentence = lacking(subject, wanted, request.received_ns)
        if sentence is not None:
            return Refusal(Reason("step_up_required", sentence), 401, (challenge(wanted, sentence),))
    return None


def _transformable(request: Request, verdict: Verdict) -> None:
    """Raises PolicyError where the body cannot be changed as policy wants it: known here already, for it was read whole."""
    wanted = obligations.named(verdict.obligations, "redact_fields")
    masks = bool(obligations.named(verdict.obligations, "mask_body"))
    if not request.body.data or not (wanted or masks):
        return
    if request.body.problem not in READABLE:  # a coding or character set by which the upstream reads something else than we did
        raise PolicyError("The body could not be read, so nothing could be taken out of it.", "obligation_failed")
    if wanted:
        redacted(request.body.data, request.content_type, wanted)
    if masks:
        masked(request.body.data, request.content_type, lambda text: text)


def _quota(wanted: Params, request: Request, classification: Classification | None, route: Route | None) -> Quota:
    intent = (classification.intent if classification is not None else None) or ""
    caller, client = request.subject, request.client
    subject, tenant = caller_key("subject", caller, client), caller_key("tenant", caller, client)
    keys = {
        "subject": subject,
        "tenant": tenant,
        "client": caller_key("client", caller, client),
        "all": "all",
        "intent": intent_key("intent", caller, client, intent),
        "subject_intent": intent_key("subject_intent", caller, client, intent),
        "tenant_intent": intent_key("tenant_intent", caller, client, intent),
        "route": f"route:{route.name if route is not None else ''}",
    }
    limit, span = wanted["limit"], int(obligations.seconds(wanted["per"]))
    return Quota(f"{wanted.get('name', '')} {limit}/{span} {wanted['key']} {keys[wanted['key']]}", limit, span)


def _limited(wanted: Params, wait_s: float) -> Refusal:
    name, limit, span = wanted.get("name", wanted["key"]), wanted["limit"], int(obligations.seconds(wanted["per"]))
    wait = max(1, math.ceil(wait_s))
    fields = (
        ("retry-after", str(wait)),
        ("ratelimit-policy", f'"{name}";q={limit};w={span}'),
        ("ratelimit", f'"{name}";r=0;t={wait}'),
    )
    return Refusal(Reason("policy_rate_limited", f"More than {limit} requests in {wanted['per']} are not allowed."), 429, fields)


def _uncounted() -> Refusal:
    return Refusal(Reason("policy_rate_limit_unavailable", "requests cannot be counted now, and policy limits how many there may be"), 503)
