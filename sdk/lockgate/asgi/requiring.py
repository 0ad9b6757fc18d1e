"""A decision before an endpoint of Starlette or FastAPI: that a text means what the endpoint does, and may be done."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lockgate.asgi import answers
from lockgate.asgi.paths import path_of
from lockgate.asgi.ports import Deciding
from lockgate.asgi.subjects import UnknownCallerError, WhoAsks, subject_of
from lockgate.client.asking import NO_BODY, Question
from lockgate.client.errors import DecisionUnavailable, NoDecision, Unfulfilled
from lockgate.client.values import Decision

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
HIDDEN = "lockgate_request"
STATE = "lockgate"


def decision_of(request: Request) -> Decision | None:
    """The one that the middleware got for this request; None where there is none."""
    found = getattr(request.state, STATE, None)
    return found if isinstance(found, Decision) else None


def requires_decision(
    *,
    intent: str | Collection[str] | None = None,
    min_confidence: float | None = None,
    text: Callable[..., str | Awaitable[str]] | None = None,
    body: Callable[..., Any] | None = None,
    subject: WhoAsks | None = None,
    client: Deciding | None = None,
    fulfils: Collection[str] = (),
) -> Callable[[Endpoint], Endpoint]:
    """The endpoint runs only under a decision to go ahead, with one of these intents and at least this confidence; a rule's is certain.

    `text` or `body` say what is decided about: functions of the request, and of those of the endpoint's parameters that they name. Then
    `subject` says on whose behalf, and `client` asks; without a client `app.state.lockgate` does. Without both, the middleware's decision
    about the whole request is held to `intent` and `min_confidence`; where there is none, nothing runs.

    A parameter of the endpoint with the annotation `Decision` gets the decision. The others are FastAPI's, as before."""
    wanted = None if intent is None else frozenset((intent,) if isinstance(intent, str) else intent)
    if wanted is not None and not wanted:
        raise ValueError("No intent at all is named, so that nothing could ever run.")
    if text is not None and body is not None:
        raise ValueError("A decision is about a text or a body, not about both.")
    asks = text is not None or body is not None
    if asks != (subject is not None):
        raise ValueError("Whoever says what is decided about says on whose behalf, too, and only then: name text or body, and subject.")
    demand = _Demand(wanted, min_confidence, text, body, subject, client, frozenset(fulfils))

    def decorate(endpoint: Endpoint) -> Endpoint:
        return _wrapped(endpoint, demand)

    return decorate


class _Demand:
    def __init__(
        self,
        intents: frozenset[str] | None,
        min_confidence: float | None,
        text: Callable[..., Any] | None,
        body: Callable[..., Any] | None,
        subject: WhoAsks | None,
        client: Deciding | None,
        fulfils: frozenset[str],
    ) -> None:
        self._intents = intents
        self._min = min_confidence
        self._text = text
        self._body = body
        self._subject = subject
        self._client = client
        self._fulfils = fulfils

    async def meet(self, request: Request, arguments: dict[str, Any]) -> Decision | Response:
        """The decision under which the endpoint runs, or what is answered instead."""
        try:
            decision = await self._decision(request, arguments)
        except UnknownCallerError:
            headers = {"www-authenticate": answers.CHALLENGE}
            return answers.problem(401, "credential_missing", "This is only for callers who are known.", headers=headers)
        except NoDecision as error:
            return answers.undecided(error)
        if decision.held:
            detail = "Policy wants a person to decide about this, which cannot be waited for here."
            return answers.problem(403, "review_unsupported", detail, decision)
        if not decision.allowed:
            return answers.decided(decision)
        return self._judged(decision)

    def _judged(self, decision: Decision) -> Decision | Response:
        try:
            if self._subject is not None:  # the middleware has seen to those of its own
                decision.enforce(self._fulfils)
        except Unfulfilled as error:
            return answers.unfulfilled(error)
        found = decision.classification
        if self._intents is not None and found.intent not in self._intents:
            return answers.problem(403, "intent_unexpected", "What is asked for is not what is done here.", decision)
        if self._min is not None and found.tier != "rule" and (found.confidence is None or found.confidence < self._min):
            return answers.problem(403, "confidence_too_low", "Please say more clearly what is asked for.", decision)
        return decision

    async def _decision(self, request: Request, arguments: dict[str, Any]) -> Decision:
        if self._subject is None:
            decision = decision_of(request)
            if decision is None:
                raise DecisionUnavailable("No decision was made about this request, and none can be asked for here.", "undecided")
            return decision
        client = self._client or getattr(request.app.state, STATE, None)
        if client is None:
            raise DecisionUnavailable("There is no client: name one, or set app.state.lockgate.", "client_missing")
        text = await _called(self._text, request, arguments) if self._text is not None else None
        body = await _called(self._body, request, arguments) if self._body is not None else NO_BODY
        if (self._text is not None and not isinstance(text, str)) or body is None:  # it would be decided about the head alone
            raise TypeError("What was to be decided about could not be had: text gives a text, and body something.")
        who = await subject_of(self._subject, request)
        question = Question(
            text=text,
            body=body,
            subject=who,
            method=request.method,
            path=path_of(request.scope),
            client=request.client.host if request.client is not None else "",
            idempotency_key=request.headers.get("idempotency-key"),
            traceparent=request.headers.get("traceparent"),
        )
        decision = await client.ask(question)
        if not isinstance(decision, Decision):
            raise DecisionUnavailable("The client gave something else than a decision.", "malformed")
        return decision


async def _called(function: Callable[..., Any], request: Request, arguments: dict[str, Any]) -> Any:
    """With the request, and with what else it names."""
    named = list(inspect.signature(function).parameters)[1:]
    found = function(request, **{name: arguments[name] for name in named if name in arguments})
    return await found if inspect.isawaitable(found) else found


def _wrapped(endpoint: Endpoint, demand: _Demand) -> Endpoint:
    signature = _signature(endpoint)
    for_request = next((name for name, each in signature.parameters.items() if _is_request(each)), None)
    for_decision = [name for name, each in signature.parameters.items() if each.annotation is Decision]

    @functools.wraps(endpoint)
    async def deciding(*args: Any, **kwargs: Any) -> Any:
        hidden = kwargs.pop(HIDDEN, None)
        arguments = signature.bind_partial(*args, **kwargs).arguments
        request = hidden if hidden is not None else arguments.get(for_request or "")
        if not isinstance(request, Request):
            raise TypeError("An endpoint that requires a decision was called without its request.")
        met = await demand.meet(request, dict(arguments))
        if isinstance(met, Response):
            return met
        kwargs |= dict.fromkeys(for_decision, met)
        if inspect.iscoroutinefunction(endpoint):
            return await endpoint(*args, **kwargs)
        return await run_in_threadpool(endpoint, *args, **kwargs)

    seen = [each for name, each in signature.parameters.items() if name not in for_decision]
    if for_request is None:
        hidden = inspect.Parameter(HIDDEN, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        variable = [each for each in seen if each.kind is inspect.Parameter.VAR_KEYWORD]
        seen = [*(each for each in seen if each not in variable), hidden, *variable]
    deciding.__signature__ = signature.replace(parameters=seen)  # type: ignore[attr-defined]  # what FastAPI injects by
    return deciding  # type: ignore[return-value]  # it is called as the endpoint is


def _signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    """With annotations as they are meant, for FastAPI resolves those that are text in the wrapper's module."""
    try:
        return inspect.signature(endpoint, eval_str=True)
    except NameError:
        return inspect.signature(endpoint)


def _is_request(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    if kind is inspect.Parameter.empty:
        return parameter.name == "request"
    return isinstance(kind, type) and issubclass(kind, Request)
