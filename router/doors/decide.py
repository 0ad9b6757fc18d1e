"""The decide door: the whole recorded decision about a request, without a dispatch. `decide_api` speaks HTTP for it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import orjson

from router.acting import MADE_BY, MOST_ACTORS, acting_claims, actors, maker, named, readable
from router.decision import NO_BODY, BodyView, Decision, Result, Subject
from router.decision import Request as Asked
from router.decision_json import decision_document
from router.dispatch import unheld
from router.doors.body import Receive, whole_body_view
from router.doors.decide_held import Body, Following, answered, followed, held_too
from router.doors.decide_models import DecideRequest, SubjectIn
from router.doors.decide_repeating import Asking, Decided, RepeatedCalls, key_of
from router.doors.head import decode_path, trace_context
from router.doors.responses import ending
from router.doors.runtime import Authenticator, Observer, Runtime
from router.errors import AuditError, LockgateError, RefusedError
from router.identity.certificates import PeerCertificate
from router.ports import Clock, Ids, Outbound, Random
from router.telemetry.logs import current_trace

log = logging.getLogger("lockgate.decide")


class DecideDoor:
    """`runtime` gives the configuration that serves now, which is kept as long as it is used."""

    def __init__(
        self, runtime: Callable[[], AbstractContextManager[Runtime]], clock: Clock, ids: Ids, random: Random, observer: Observer
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._ids = ids
        self._random = random
        self.observer = observer
        self._repeated = RepeatedCalls(ids, observer)

    async def decide(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        client: str,
        wanted: DecideRequest,
        certificate: PeerCertificate | None = None,
        receive: Receive | None = None,
    ) -> Decided:
        """`receive` tells when the caller leaves. Raises RefusedError, StateError, AuditError, ReviewError, and GoneError once he did."""
        with self._runtime() as runtime:
            decided, caller = await self._decide(runtime, headers, client, wanted, certificate)
        return await held_too(runtime, decided, caller, headers, receive) if wanted.hold else decided

    async def follow(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        client: str,
        review_id: str,
        certificate: PeerCertificate | None = None,
        receive: Receive | None = None,
    ) -> Following:
        """Where a request stands that this caller had held. Raises as `decide`; 404 for who did not ask."""
        with self._runtime() as runtime:
            caller = await self._identify(runtime, runtime.decide_authenticator, headers, client, certificate)
        return await followed(runtime, caller, review_id, headers, receive)

    async def answer(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        client: str,
        review_id: str,
        body: Body,
        certificate: PeerCertificate | None = None,
    ) -> Following:
        """What this caller says to the question of a reviewer about a request that it had held. Raises as `follow`."""
        with self._runtime() as runtime:
            caller = await self._identify(runtime, runtime.decide_authenticator, headers, client, certificate)
        return await answered(runtime, caller, review_id, headers, body)

    async def admit(self, headers: Sequence[tuple[bytes, bytes]], client: str, certificate: PeerCertificate | None = None) -> None:
        """For what is no decision and for callers of this door alone. Raises RefusedError, StateError."""
        with self._runtime() as runtime:
            await self._identify(runtime, runtime.decide_authenticator, headers, client, certificate)

    async def _identify(
        self,
        runtime: Runtime,
        authenticator: Authenticator,
        headers: Sequence[tuple[bytes, bytes]],
        client: str,
        certificate: PeerCertificate | None,
    ) -> Subject:
        """Raises RefusedError (401, 403, 429), StateError."""
        if runtime.options.decide_addresses is not None:
            runtime.options.decide_addresses.check(client)
        caller = await authenticator.identify(headers, self._clock.now_ns(), certificate)
        wait = await runtime.limiter.admit(caller, client)
        if wait is not None:
            raise RefusedError("Too many requests.", "rate_limited", 429, math.ceil(wait))
        return caller

    async def _decide(
        self,
        runtime: Runtime,
        headers: Sequence[tuple[bytes, bytes]],
        client: str,
        wanted: DecideRequest,
        certificate: PeerCertificate | None,
    ) -> tuple[Decided, Subject]:
        received_ns = self._clock.now_ns()
        authenticator = runtime.decide_authenticator if wanted.subject is None else runtime.delegate_authenticator
        caller = await self._identify(runtime, authenticator, headers, client, certificate)
        subject = on_behalf(wanted.subject, caller) if wanted.subject is not None else caller
        key = key_of(headers) if runtime.options.decide_keeping is not None else None

        async def deciding() -> Decision:
            asked = self._asked(runtime, subject, received_ns, client, wanted)
            current_trace.set(asked.trace)
            return await runtime.pipeline.decide(asked)

        def waits(decision: Decision) -> bool:
            return wanted.hold and decision.outcome is not None and decision.outcome.result is Result.HELD

        async def holding(decision: Decision) -> None:
            await self._hold(runtime, decision, wanted)

        asking = Asking(deciding, waits, holding, partial(_told, runtime))
        return await self._repeated.decide(runtime, key, caller, client, wanted, asking), caller

    async def _hold(self, runtime: Runtime, decision: Decision, wanted: DecideRequest) -> None:
        """As the gateway holds, but that nothing will be sent: the service hears `held` only when reviewers can see it."""
        try:
            held = runtime.dispatcher.oblige(decision, _outbound(decision, wanted))
            if wanted.resume is None:
                await runtime.holder.hold(decision, held)
            else:
                await runtime.holder.hold(decision, held, wanted.resume, _patience(runtime, decision))
        except LockgateError as error:
            status = error.status if isinstance(error, RefusedError) else 503
            log.error("the request of decision %s could not be held: %s", decision.id, error)
            try:
                await runtime.pipeline.ended(decision, replace(unheld(error), status=status))
            except AuditError as unrecorded:
                unrecorded.unsettled = error.unsettled
                raise
            refused = RefusedError(str(error), error.code, status)
            refused.unsettled = error.unsettled
            raise refused from error

    def _asked(self, runtime: Runtime, subject: Subject, received_ns: int, client: str, wanted: DecideRequest) -> Asked:
        options = runtime.options
        fields = [(name.lower().encode("latin-1", "replace"), value) for name, value in wanted.headers.items()]
        parent = (wanted.traceparent or "").encode("latin-1", "replace")
        content_type = "text/plain" if wanted.text is not None else "application/json"
        return Asked(
            id=self._ids.new(),
            received_ns=received_ns,
            door="decide",
            subject=subject,
            method=wanted.method,
            host=wanted.host.lower(),
            path=decode_path(wanted.path),
            query=wanted.query,
            headers=tuple((name.decode("latin-1"), value) for name, value in fields if name in options.visible),
            content_type=content_type,
            body=_view(wanted, content_type, runtime),
            client=wanted.client or client,
            trace=trace_context(parent, [], self._random.random() < options.sample),
            idempotency_key=wanted.idempotency_key,
        )


def _patience(runtime: Runtime, decision: Decision) -> float:
    """For how long it is tried to resume who asks. Raises RefusedError where the route lets nobody be."""
    found = runtime.options.held.resumes.get(decision.route.name) if decision.route is not None else None
    if found is None:
        raise RefusedError("This route lets nobody be resumed.", "resume_not_allowed", 403)
    return found


def on_behalf(wanted: SubjectIn, caller: Subject) -> Subject:
    """Who asked stays visible in the claims of the one asked for, with whoever acts for them or made their key, and who acted for that one
    already. Raises RefusedError `request_invalid` where that cannot be read, or is more than is looked at: who is left out could approve
    it."""
    acting = dict.fromkeys((caller.id, *actors(caller), *named(wanted.claims, wanted.id)))
    if not readable(wanted.claims) or len(acting) > MOST_ACTORS:
        sentence = f"'act' in the subject's claims must say who acts, and for whom, in at most {MOST_ACTORS} steps with those who ask."
        raise RefusedError(sentence, "request_invalid", 422)
    claims = {**wanted.claims, **acting_claims(acting)}
    claims.pop(MADE_BY, None)
    if (made_by := maker(caller.claims)) is not None:
        claims[MADE_BY] = made_by
    return Subject(wanted.id, wanted.type, tuple(wanted.roles), tuple(wanted.groups), wanted.tenant, claims, "delegated")


def _view(wanted: DecideRequest, content_type: str, runtime: Runtime) -> BodyView:
    if wanted.text is None and wanted.body is None:
        return NO_BODY
    return whole_body_view(_data(wanted), content_type, runtime.options.text_paths, runtime.options.limits)


def _data(wanted: DecideRequest) -> bytes:
    if wanted.text is None and wanted.body is None:
        return b""
    if wanted.text is not None:
        return wanted.text.encode("utf-8", "surrogatepass")
    try:
        written = json.dumps(wanted.body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:  # Infinity, which is no JSON, or too deep
        raise RefusedError("The body has a value that JSON does not know, or is nested too deeply.", "request_invalid", 400) from error
    return written.encode("utf-8", "surrogatepass")


def _outbound(decision: Decision, wanted: DecideRequest) -> Outbound:
    """What reviewers approve: the request as the service described it."""
    request = decision.request
    target = f"{wanted.path}?{wanted.query}" if wanted.query else wanted.path
    headers = [(b"content-type", request.content_type.encode())] if request.body.digest is not None else []
    return Outbound(request.method, target, headers, _data(wanted))


def _told(runtime: Runtime, decision: Decision) -> bytes:
    """The whole decision, and under `problem` what the gateway would tell the caller; null where the request may go ahead."""
    problem = ending(decision, runtime.descriptions).problem if decision.outcome is not None else None
    told = {"problem": orjson.Fragment(problem) if problem is not None else None, "review": None}
    return orjson.dumps(decision_document(decision) | told)
