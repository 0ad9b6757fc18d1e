"""`envoy.service.auth.v3.Authorization`: one question a request. Its answer can set fields and choose the route; it cannot change a body,
and nobody shows us the response, so that only Envoy's access log says how it ended."""

from __future__ import annotations

import logging
from typing import Any

from router.doors.envoy.answers import allowed, denied
from router.doors.envoy.cases import Body, Case, Pass, Stop
from router.doors.envoy.heads import fields, is_upgrade
from router.doors.envoy.judging import EnvoyDoor
from router.doors.envoy.messages.envoy_pb2 import (
    AttributeContext,
    CheckRequest,
    CheckResponse,
)
from router.doors.envoy.overrides import Overrides, overrides, said
from router.errors import RefusedError
from router.ports import Headers

log = logging.getLogger("lockgate.envoy")
PARTIAL = b"x-envoy-auth-partial-body"  # Envoy's own, where it looked for a body; a caller's is not shown
BLIND = "Envoy's filter does not show a body that was announced; set `with_request_body`, or tell the door `body: none`."
BYTES = "This answer is no text, and Envoy's filter ext_authz carries nothing else; Lockgate's own listener or ext_proc gives it."
SELDOM = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))  # have a body


class Authorizer:
    """The service. `deadline_s`: for a decision, unless Envoy's route says less."""

    def __init__(self, door: EnvoyDoor, deadline_s: float) -> None:
        self._door = door
        self._deadline_s = deadline_s

    async def check(self, asked: CheckRequest, context: Any) -> CheckResponse:
        told = asked.attributes
        given = said(context.invocation_metadata(), told.metadata_context) | dict(told.context_extensions)
        try:
            wanted = overrides(given, self._deadline_s)
        except RefusedError as error:
            return await self._denied(await self._door.refuse(error))
        came = _headers(told.request.http)
        body = told.request.http.raw_body or told.request.http.body.encode("utf-8", "surrogateescape")
        opened = await self._opened(told, came, body, wanted)
        if isinstance(opened, Stop):
            return await self._denied(opened)
        try:
            answer = await self._judged(opened, body, wanted)
        finally:
            self._door.close(opened)
        return await self._denied(answer) if isinstance(answer, Stop) else allowed(answer.changes, answer.decision, self._door.node)

    async def _denied(self, stop: Stop) -> CheckResponse:
        try:
            return denied(stop)
        except UnicodeDecodeError:  # an answer that was kept for who asks here
            return denied(await self._door.refuse(RefusedError(BYTES, "answer_not_text", 501)))

    async def _opened(self, told: AttributeContext, came: Headers, body: bytes, wanted: Overrides) -> Case | Stop:
        if not (body or wanted.unseen) and _withheld(came):
            error = RefusedError(BLIND, "envoy_mode_unfit", 500)
            log.error("a request was refused: %s", error)
            return await self._door.refuse(error)
        partial = any(name == PARTIAL and value == b"true" for name, value in came)
        bodiless = not (body or _announces_body(came) or _may_follow(told.request.http, came, wanted))
        source = told.source.address.socket_address.address
        return await self._door.open(came, source, bodiless=bodiless, unseen=partial or wanted.unseen or not body)

    async def _judged(self, case: Case, body: bytes, wanted: Overrides) -> Pass | Stop:
        shown = body if case.body is Body.WHOLE else b""
        return await self._door.judge(case, shown, wanted.deadline_s, asked_once=True, blind=True)


def _headers(http: AttributeContext.HttpRequest) -> Headers:
    """With the pseudo-fields that Envoy leaves out of one of its two forms. The one of text has a `!` for every byte that is no UTF-8,
    which nobody can tell from a caller's own; with `encode_raw_headers` it is the other."""
    came = fields(http.header_map.headers) if http.header_map.headers else [(k.encode(), v.encode()) for k, v in http.headers.items()]
    names = {name for name, _ in came}
    told = ((b":method", http.method), (b":path", http.path), (b":authority", http.host), (b":scheme", http.scheme))
    return [(name, value.encode()) for name, value in told if name not in names] + came


def _may_follow(http: AttributeContext.HttpRequest, came: Headers, wanted: Overrides) -> bool:
    """A body that nobody announces: after HTTP/1 only the end of the stream says that there is none, and this filter does not tell it. One
    that Envoy looked for and did not find has a field that says so, and where it says that it looks for them a request without that field
    has ended with its head; else a body may come after those methods that have one, and wherever bodies are not looked for."""
    if wanted.shown or http.protocol.startswith("HTTP/1") or any(name in (b"content-length", PARTIAL) for name, _ in came):
        return False
    return wanted.unseen or http.method not in SELDOM


def _withheld(came: Headers) -> bool:
    """An announced body is held and shown, and has Envoy's field, unless bodies are not looked for. Handshakes never are."""
    return _announces_body(came) and not any(name == PARTIAL for name, _ in came) and not is_upgrade(came)


def _announces_body(came: Headers) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in came)
