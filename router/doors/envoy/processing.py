"""`envoy.service.ext_proc.v3.ExternalProcessor`: a stream for each request, on which Envoy shows it part by part and waits for answers.

A request is routed by what was decided about all of it, or about its head where no body is waited for. Modes in which a body goes on before
that (STREAMED), or is cut (BUFFERED_PARTIAL), are refused: Envoy would ignore the route without a word.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from router.doors.envoy.answers import NAMESPACE, go_on, immediate, metadata, response_headers
from router.doors.envoy.cases import Body, Case, Pass, Stop
from router.doors.envoy.duplex import Duplex
from router.doors.envoy.heads import fields, is_grpc, is_of_events
from router.doors.envoy.judging import EnvoyDoor
from router.doors.envoy.keeping import VIA_UPSTREAM
from router.doors.envoy.messages.envoy_pb2 import (
    BodyResponse,
    CommonResponse,
    HeadersResponse,
    HttpHeaders,
    ProcessingMode,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from router.doors.envoy.overrides import Overrides, overrides, said
from router.doors.envoy.streams import Stream
from router.doors.head import OWN_PREFIX
from router.errors import RefusedError
from router.ports import Headers

log = logging.getLogger("lockgate.envoy")
NONE, BUFFERED, DUPLEX = ProcessingMode.NONE, ProcessingMode.BUFFERED, ProcessingMode.FULL_DUPLEX_STREAMED
UNFIT = "Envoy's filter passes bodies on before they are judged; set `request_body_mode: BUFFERED`."
DEAF = "Envoy's filter only watches, and lets requests go without an answer; leave `observability_mode` out."
HEADLESS = "Envoy's filter does not show the head of requests; set `request_header_mode: SEND`."
ATTRIBUTES = "envoy.filters.http.ext_proc"
OWN_NAME = OWN_PREFIX.decode()
SWITCHING = 101
UNCHANGED = ProcessingResponse(request_headers=HeadersResponse(response=CommonResponse()))


class Processor:
    """The service. `deadline_s`: for a decision, unless the route's metadata give it less."""

    def __init__(self, door: EnvoyDoor, deadline_s: float) -> None:
        self._door = door
        self._deadline_s = deadline_s

    async def process(self, _: Any, stream: Stream) -> None:
        first = await stream.read()
        if not isinstance(first, ProcessingRequest):  # ended before it began
            return
        refused_head = first.HasField("response_headers") and 400 <= _status(first.response_headers) < 500
        if refused_head:  # by Envoy itself, which does not show such heads to filters
            await self._answered_by_envoy(stream, first)
            return
        came = fields(first.request_headers.headers.headers)
        try:
            asked = _asked(first, overrides(said(stream.invocation_metadata(), first.metadata_context), self._deadline_s))
        except RefusedError as error:
            log.error("a request was refused: %s", error)
            await self._stop(stream, await self._door.refuse(error), came)
            return
        source = first.attributes[ATTRIBUTES].fields["source.address"].string_value if ATTRIBUTES in first.attributes else ""
        opened = await self._door.open(came, source, bodiless=first.request_headers.end_of_stream, unseen=asked.unseen)
        if isinstance(opened, Stop):
            await self._stop(stream, opened, came)
            return
        try:
            await self._judged(stream, asked, opened)
        finally:
            self._door.close(opened)

    async def _judged(self, stream: Stream, asked: _Asked, case: Case) -> None:
        duplex = Duplex(case.runtime.options.limits) if asked.duplex else None
        shown = await self._shown(stream, asked, case, duplex) if case.body is Body.WHOLE else b""
        if shown is None:
            return  # nobody waits any more, and nothing was decided
        answer = shown if isinstance(shown, Stop) else await self._door.judge(case, shown, asked.deadline_s, blind=asked.blind)
        if isinstance(answer, Stop):
            await self._stop(stream, answer, case.came)
            return
        try:
            await stream.write(_go_on(asked, case, answer, self._door.node))
            if duplex is not None:
                await duplex.let_go(stream, answer)
            await self._answered(stream, asked, case, answer, duplex)
        finally:
            self._door.outcomes.over(answer.awaited)

    async def _shown(self, stream: Stream, asked: _Asked, case: Case, duplex: Duplex | None) -> bytes | Stop | None:
        """The body; None where nobody waits for a decision any more."""
        if duplex is not None:
            try:
                read = await duplex.read(stream)
            except RefusedError as error:
                return await self._door.refuse(error)
            if not isinstance(read, ProcessingRequest):
                return read
            await self._answered_by_envoy(stream, read)
            return None
        await stream.write(_waiting(case.came))
        message = await stream.read()
        if not isinstance(message, ProcessingRequest):
            return None
        if message.HasField("response_headers"):  # Envoy has answered by itself: too large, or too slow
            await self._answered_by_envoy(stream, message)
            return None
        part = message.request_body
        # A buffered body comes at once, and is not the end where trailers follow it.
        if not message.HasField("request_body") or not (part.end_of_stream or asked.buffered):
            return await self._door.refuse(_unfit(UNFIT))
        return part.body

    async def _answered_by_envoy(self, stream: Stream, message: ProcessingRequest) -> None:
        """Before anything was decided; its answer may go."""
        self._door.answered_by_envoy(_status(message.response_headers))
        await stream.write(ProcessingResponse(response_headers=HeadersResponse(response=CommonResponse())))

    async def _answered(self, stream: Stream, asked: _Asked, case: Case, answer: Pass, duplex: Duplex | None) -> None:
        """Until Envoy ends the stream: it shows no more then, which is as soon as the answer's head is answered, or with the request."""
        while isinstance(message := await stream.read(), ProcessingRequest):
            kind = message.WhichOneof("request")
            if kind == "response_headers":
                self._door.begun(case)
                await stream.write(_answer_seen(message, asked, answer))
                self._door.outcomes.answered(answer.awaited)
            elif kind == "request_body" and duplex is not None:
                try:
                    await duplex.pass_on(stream, message.request_body, answer)
                except RefusedError as error:
                    self._door.outcomes.broken(answer.awaited, error.status, error.code, began=True)
                    await self._stop(stream, await self._door.refuse(error), case.came)
                    return
            elif kind == "request_body":
                await stream.write(ProcessingResponse(request_body=BodyResponse(response=CommonResponse())))
            elif kind == "response_body":
                # First it is here: as soon as Envoy may go on, its access log may say how the request ended.
                self._came(answer, message.response_body.body, ended=message.response_body.end_of_stream)
                await stream.write(ProcessingResponse(response_body=BodyResponse(response=CommonResponse())))
            elif kind == "request_trailers":
                if duplex is not None:
                    duplex.trailers(answer)
                await stream.write(ProcessingResponse(request_trailers=TrailersResponse()))
            else:
                self._came(answer, b"", ended=True)
                await stream.write(ProcessingResponse(response_trailers=TrailersResponse()))

    def _came(self, answer: Pass, part: bytes, *, ended: bool) -> None:
        """A part of the answer, which may have to be kept."""
        answer.awaited.shown = True
        if answer.awaited.keeping is not None:
            answer.awaited.keeping.came(part, ended=ended)
            self._door.outcomes.answered(answer.awaited)

    async def _stop(self, stream: Stream, stop: Stop, came: Headers) -> None:
        await stream.write(immediate(stop, grpc=is_grpc(came)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """How Envoy asks. `unseen`: without a body, though there may be one. `buffered`: it says that it holds bodies; older versions do not
    say. `lowered`: it would hold this one, and must be told not to. `duplex`: bodies pass through us, and wait here. `blind`: it shows no
    bodies of answers, and cannot be told to."""

    deadline_s: float
    unseen: bool
    buffered: bool
    lowered: bool
    duplex: bool
    blind: bool


def _asked(first: ProcessingRequest, wanted: Overrides) -> _Asked:
    """Raises RefusedError where nothing of what is decided could hold."""
    if not first.HasField("request_headers"):
        raise _unfit(HEADLESS)
    if first.observability_mode:
        raise _unfit(DEAF)
    tells = first.HasField("protocol_config")
    mode = first.protocol_config.request_body_mode if tells else BUFFERED
    if mode not in (NONE, BUFFERED, DUPLEX) and not first.request_headers.end_of_stream:
        raise _unfit(UNFIT)
    buffered = mode == BUFFERED
    blind = mode == DUPLEX and first.protocol_config.response_body_mode == NONE  # where Envoy lets nobody change its mode
    return _Asked(wanted.deadline_s, wanted.unseen or mode == NONE, tells and buffered, buffered, mode == DUPLEX, blind)


def _waiting(came: Headers) -> ProcessingResponse:
    """The head may wait for its body. Where only a trailer follows, Envoy asks nothing more and lets the head go: what a caller says in our
    name must not be there then, or callers choose their own route."""
    forged = [name.decode("latin-1") for name, _ in came if name.startswith(OWN_PREFIX)]
    if not forged:
        return UNCHANGED
    response = ProcessingResponse()
    common = response.request_headers.response
    common.header_mutation.remove_headers.extend(forged)
    common.clear_route_cache = True
    return response


def _go_on(asked: _Asked, case: Case, answer: Pass, node: str) -> ProcessingResponse:
    response = ProcessingResponse()
    if case.body is Body.WHOLE and not asked.duplex:
        go_on(response.request_body.response, answer.changes)
    else:
        go_on(response.request_headers.response, answer.changes, streamed=asked.duplex)
        if asked.lowered and (case.body is Body.UNSEEN or case.socket):
            response.mode_override.request_body_mode = NONE
            response.mode_override.response_header_mode = ProcessingMode.SEND
    metadata(response.dynamic_metadata.fields[NAMESPACE].struct_value, answer.decision, node)
    return response


def _answer_seen(message: ProcessingRequest, asked: _Asked, answer: Pass) -> ProcessingResponse:
    forged = [each.key for each in message.response_headers.headers.headers if each.key.startswith(OWN_NAME)]
    shown, details, awaited = fields(message.response_headers.headers.headers), _details(message), answer.awaited
    awaited.status = _status(message.response_headers)
    awaited.local = details not in ("", VIA_UPSTREAM)
    awaited.whole = message.response_headers.end_of_stream
    awaited.stays = awaited.stays or awaited.status == SWITCHING or is_of_events(shown)
    response = ProcessingResponse()
    response_headers(response.response_headers.response.header_mutation, answer.decision, forged)
    keeping = awaited.keeping
    if keeping is not None and keeping.began(awaited.status, shown, details, ended=awaited.whole):
        _show_answer(response.mode_override, asked)
    return response


def _show_answer(mode: ProcessingMode, asked: _Asked) -> None:
    """Part by part while it goes on to the caller, so that one that is long or slow is not held up; its trailers say where it ends."""
    mode.request_body_mode = DUPLEX if asked.duplex else NONE
    mode.request_trailer_mode = ProcessingMode.SEND if asked.duplex else ProcessingMode.SKIP
    mode.response_header_mode = mode.response_trailer_mode = ProcessingMode.SEND
    mode.response_body_mode = ProcessingMode.STREAMED


def _details(message: ProcessingRequest) -> str:
    """Who answered, where Envoy's filter says it (`response_attributes`)."""
    return message.attributes[ATTRIBUTES].fields["response.code_details"].string_value if ATTRIBUTES in message.attributes else ""


def _unfit(detail: str) -> RefusedError:
    return RefusedError(detail, "envoy_mode_unfit", 500)


def _status(shown: HttpHeaders) -> int:
    value = next((each.raw_value or each.value.encode() for each in shown.headers.headers if each.key == ":status"), b"")
    return int(value) if value.isdigit() else 0
