"""Every request is decided about before the application sees it.

    1 path's rule   2 caller   3 body   4 decide   5 answer, or the application with the decision   6 report

A failure of 2, 3 or 4 is an answer, and the application does not run; but for paths that say otherwise about 4 (see `Rule`).
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.asgi import answers
from lockgate.asgi.bodies import BodyError, CallerGoneError, Replay, Seen, seen, whole_body
from lockgate.asgi.obliging import LIMIT, added_headers, limited, response_limit
from lockgate.asgi.paths import Rule, path_of, rule_for
from lockgate.asgi.ports import Deciding
from lockgate.asgi.reporting import Reporter
from lockgate.asgi.subjects import UnknownCallerError, WhoAsks, subject_of
from lockgate.client.asking import Question, Subject
from lockgate.client.errors import DecisionUnavailable, NoDecision, ReviewUnavailable, Unfulfilled
from lockgate.client.tracing import current as current_trace
from lockgate.client.values import Decision

log = logging.getLogger("lockgate.sdk")
STATE = "lockgate"
OWN = b"x-lockgate-"
FULFILLED_HERE = frozenset(("add_headers", LIMIT))


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that waits for a person, for the application to keep until it may be done."""

    decision: Decision
    method: str
    path: str
    query: str
    content_type: str
    body: bytes = field(repr=False)


Keep = Callable[[HeldRequest], Awaitable[None] | None]


class DecisionMiddleware:
    """`subject` says on whose behalf each request is decided; None from it is nobody, who is answered 401. `rules` say what else is to be
    done about some paths. `fulfils` names the obligations that the application itself fulfils. `headers` names those that policy may see.

    `held` keeps a request that policy wants reviewed, durably, before its caller hears 202; without it such a request is refused. `held_at`
    is a path below which callers can look where theirs stands; the client then needs `control_url`.

    `reporter` says afterwards what became of each request. The application finds the decision in `request.state.lockgate`, which is None
    where it was not decided about. Put it outside whatever has an effect, and inside of CORS and of authentication."""

    def __init__(
        self,
        app: ASGIApp,
        client: Deciding,
        *,
        subject: WhoAsks,
        rules: Sequence[Rule] = (),
        fulfils: Collection[str] = (),
        headers: Collection[str] = ("accept-language", "content-type", "user-agent"),
        held: Keep | None = None,
        held_at: str | None = None,
        reporter: Reporter | None = None,
        max_body: int = 1024 * 1024,
        body_timeout: float = 30.0,
    ) -> None:
        if held_at is not None and (held is None or not held_at.startswith("/") or held_at.endswith("/")):
            raise ValueError("held_at is a path like /held, and needs held.")
        self._app = app
        self._client = client
        self._subject = subject
        self._rules = tuple(rules)
        self._fulfils = FULFILLED_HERE | set(fulfils)
        self._headers = frozenset(name.lower() for name in headers)
        self._held = held
        self._held_at = held_at
        self._reporter = reporter
        self._max_body = max_body
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, self._closing(receive), send)
            return
        if scope["type"] not in ("http", "websocket"):  # nothing is known of it, so nothing of it is let through
            raise RuntimeError(f"There are no decisions about '{scope['type']}'.")
        rule = rule_for(self._rules, scope["path"])  # 1
        if not rule.decide:
            await self._app(_with(scope, None), receive, send)
        elif self._held_at is not None and scope["type"] == "http" and scope["path"].startswith(f"{self._held_at}/"):
            await answers.respond(await self._standing(scope), scope, receive, send)
        else:
            await self._decided(rule, scope, receive, send)

    async def _decided(self, rule: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            question, body = await self._question(rule, scope, receive)
        except CallerGoneError:
            return
        except UnknownCallerError:
            headers = {"www-authenticate": answers.CHALLENGE}
            answer = answers.problem(401, "credential_missing", "This is only for callers who are known.", headers=headers)
            await answers.respond(answer, scope, receive, send)
            return
        except BodyError as error:
            headers = {"connection": "close"} if error.status in (408, 413) else {}
            await answers.respond(answers.problem(error.status, error.code, str(error), headers=headers), scope, receive, send)
            return
        token = current_trace.set(question.traceparent)
        try:
            await self._asked(rule, question, body, scope, Replay(body, receive) if scope["type"] == "http" else receive, send)
        finally:
            current_trace.reset(token)

    async def _asked(self, rule: Rule, question: Question, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            decision = await self._client.ask(question)  # 4
        except DecisionUnavailable as error:
            if rule.when_unavailable == "let_pass_undecided":
                log.warning("a request to %r passes undecided: %s", scope["path"], error)
                await self._pass(None, scope, receive, send)
                return
            await self._refuse_undecided(error, scope, receive, send)
        except NoDecision as error:
            await self._refuse_undecided(error, scope, receive, send)
        else:
            answer = await self._answer(decision, question, body)  # 5
            if answer is None:
                await self._pass(decision, scope, receive, send)
            else:
                await answers.respond(answer, scope, receive, send)

    async def _refuse_undecided(self, error: NoDecision, scope: Scope, receive: Receive, send: Send) -> None:
        log.error("a request to %r is refused, since there is no decision: %s", scope["path"], error)
        await answers.respond(answers.undecided(error), scope, receive, send)

    async def _question(self, rule: Rule, scope: Scope, receive: Receive) -> tuple[Question, bytes]:
        """Raises UnknownCallerError, BodyError, CallerGoneError, and what the application's own `subject` raises."""
        connection = HTTPConnection(scope)
        subject = await subject_of(self._subject, connection)  # 2
        if scope["type"] == "websocket":
            return self._asking(connection, subject, "GET", Seen()), b""
        body = await whole_body(receive, scope["headers"], self._max_body, self._body_timeout)  # 3
        return self._asking(connection, subject, scope["method"], seen(body, scope["headers"], unseen=rule.unseen_bodies)), body

    def _asking(self, connection: HTTPConnection, subject: Subject | None, method: str, shown: Seen) -> Question:
        headers, scope = connection.headers, connection.scope
        try:
            path = path_of(scope)
        except ValueError as error:
            raise BodyError(400, "request_invalid", "The path is not valid UTF-8.") from error
        return Question(
            text=shown.text,
            body=shown.body,
            subject=subject,
            method=method,
            path=path,
            query=scope.get("query_string", b"").decode("latin-1"),
            host=headers.get("host", ""),
            headers={name: ", ".join(headers.getlist(name)) for name in sorted(self._headers & set(headers.keys()))},
            client=connection.client.host if connection.client is not None else "",
            idempotency_key=headers.get("idempotency-key"),
            traceparent=headers.get("traceparent"),
            hold=self._held is not None and scope["type"] == "http",
        )

    async def _answer(self, decision: Decision, question: Question, body: bytes) -> Response | None:
        """None where the application is to run."""
        if decision.held and question.hold:
            return await self._keep(decision, question, body)
        if decision.held:
            detail = "Policy wants a person to decide about this, which cannot be waited for here."
            return answers.problem(403, "review_unsupported", detail, decision)
        if not decision.allowed:
            return answers.decided(decision)
        try:
            decision.enforce(self._fulfils)
            added_headers(decision.obligations)
        except Unfulfilled as error:
            log.error("decision %s: %s", decision.id, error)
            return answers.unfulfilled(error)
        except ValueError as error:
            log.error("decision %s: %s", decision.id, error)
            return answers.unfulfilled(Unfulfilled(decision, ("add_headers",)))
        return None

    async def _keep(self, decision: Decision, question: Question, body: bytes) -> Response:
        """The caller hears 202 only when both the reviewers and the application have it."""
        kept = HeldRequest(decision, question.method, question.path, question.query, question.headers.get("content-type", ""), body)
        try:
            keeping = self._held(kept) if self._held is not None else None
            if inspect.isawaitable(keeping):
                await keeping
        except Exception:
            log.exception("the held request %s could not be kept", decision.id)
            return answers.problem(503, "held_unkept", "The request could not be kept until a person has decided.", decision)
        location = {"location": f"{self._held_at}/{decision.id}"} if self._held_at is not None else {}
        return answers.decided(decision, location)

    async def _standing(self, scope: Scope) -> Response:
        """Where a held request stands. Its id, which nobody guesses, is all that it takes; the answer says nothing of what was asked."""
        wanted = scope["path"].removeprefix(f"{self._held_at}/")
        if scope["method"] not in ("GET", "HEAD"):
            return answers.problem(405, "method_not_allowed", "This can only be looked at.", headers={"allow": "GET, HEAD"})
        try:
            review = await self._client.review(wanted)
        except ReviewUnavailable as error:
            if error.code == "review_not_found":
                return answers.problem(404, error.code, "There is no such held request.")
            log.error("where the held request %r stands is not known: %s", wanted, error)
            return answers.problem(503, "review_unavailable", "Where this request stands is not known now.")
        body = {"decision_id": review.id, "state": review.state, "expires": review.expires}
        return Response(json.dumps(body), 200, {"cache-control": "no-store"}, "application/json")

    async def _pass(self, decision: Decision | None, scope: Scope, receive: Receive, send: Send) -> None:
        scope = _with(scope, decision)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        status, complete = 500, False

        async def noting(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                if decision is not None:
                    own = [each for each in message.get("headers", ()) if each[0].lower() != b"x-lockgate-decision-id"]
                    message = {**message, "headers": [*own, (b"x-lockgate-decision-id", decision.id.encode())]}
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        limit = response_limit(decision.obligations) if decision is not None else None
        try:
            await self._app(scope, receive, noting if limit is None else limited(noting, limit, decision))
        finally:
            if self._reporter is not None:
                self._reporter.ended(decision, status, scope["method"], complete=complete)  # 6

    def _closing(self, receive: Receive) -> Receive:
        """What is to be reported is, before the application hears that it ends: it may close the client then."""

        async def closing() -> Message:
            message = await receive()
            if self._reporter is not None and message["type"] == "lifespan.shutdown":
                await self._reporter.close()
            return message

        return closing


def _with(scope: Scope, decision: Decision | None) -> Scope:
    """The application's scope: with the decision, with what policy adds, and without what only Lockgate may say."""
    headers = [each for each in scope["headers"] if not each[0].lower().startswith(OWN)]
    if decision is not None:
        added = added_headers(decision.obligations)
        headers = [each for each in headers if each[0].lower() not in added]
        headers += [*added.items(), (b"x-lockgate-decision-id", decision.id.encode())]
    return {**scope, "headers": headers, "state": {**scope.get("state", {}), STATE: decision}}
