"""`envoy.service.ext_proc.v3.ExternalProcessor`: a stream for each request, on which Envoy shows it part by part and waits for answers.

A request is routed by what was decided about all of it, or about its head where no body is waited for. Modes in which a body goes on before
that (STREAMED), or is cut (BUFFERED_PARTIAL), are refused: Envoy would ignore the route without a word.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    CommonResponse,
    HeadersResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)

from router.doors.envoy.answers import common, immediate, metadata, response_headers
from router.doors.envoy.heads import fields, is_grpc
from router.doors.envoy.judging import Body, Case, EnvoyDoor, Pass, Stop
from router.doors.envoy.overrides import Overrides, overrides, said
from router.errors import RefusedError
from router.ports import Headers

log = logging.getLogger("lockgate.envoy")
NONE, BUFFERED = ProcessingMode.NONE, ProcessingMode.BUFFERED
UNFIT = "Envoy's filter passes bodies on before they are judged; set `request_body_mode: BUFFERED`."
ATTRIBUTES = "envoy.filters.http.ext_proc"


class Processor:
    """The service. `deadline_s`: for a decision, unless the route's metadata give it less."""

    def __init__(self, door: EnvoyDoor, deadline_s: float) -> None:
        self._door = door
        self._deadline_s = deadline_s

    async def process(self, _: Any, stream: Any) -> None:
        first = await stream.read()
        if not isinstance(first, ProcessingRequest):  # ended before it began
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

    async def _judged(self, stream: Any, asked: _Asked, case: Case) -> None:
        body = b""
        if case.body is Body.WHOLE:
            shown = await self._shown(stream, asked)
            if shown is None:
                return  # nobody waits any more, and nothing was decided
            if isinstance(shown, Stop):
                await self._stop(stream, shown, case.came)
                return
            body = shown
        answer = await self._door.judge(case, body, asked.deadline_s)
        if isinstance(answer, Stop):
            await self._stop(stream, answer, case.came)
            return
        try:
            await stream.write(_go_on(asked, case, answer))
            await self._answered(stream, answer)
        finally:
            self._door.outcomes.over(answer.awaited)

    async def _shown(self, stream: Any, asked: _Asked) -> bytes | Stop | None:
        await stream.write(ProcessingResponse(request_headers=HeadersResponse(response=CommonResponse())))
        message = await stream.read()
        if not isinstance(message, ProcessingRequest):
            return None
        part = message.request_body
        # A buffered body comes at once, and is not the end where trailers follow it.
        if not message.HasField("request_body") or not (part.end_of_stream or asked.buffered):
            return await self._door.refuse(_unfit(UNFIT))
        return bytes(part.body)

    async def _answered(self, stream: Any, answer: Pass) -> None:
        """Until Envoy ends the stream, which is when the request has ended."""
        while isinstance(message := await stream.read(), ProcessingRequest):
            kind = message.WhichOneof("request")
            if kind == "response_headers":
                came = fields(message.response_headers.headers.headers)
                answer.awaited.status = _status(came)
                answer.awaited.whole = message.response_headers.end_of_stream
                changed = CommonResponse(header_mutation=response_headers(answer.decision, (name for name, _ in came)))
                await stream.write(ProcessingResponse(response_headers=HeadersResponse(response=changed)))
            elif kind in ("request_trailers", "response_trailers"):
                await stream.write(ProcessingResponse(**{kind: TrailersResponse()}))
            elif kind in ("request_body", "response_body"):
                await stream.write(ProcessingResponse(**{kind: BodyResponse(response=CommonResponse())}))

    async def _stop(self, stream: Any, stop: Stop, came: Headers) -> None:
        await stream.write(immediate(stop, grpc=is_grpc(came)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """How Envoy asks. `unseen`: without a body, though there may be one. `buffered`: it says that it holds bodies; older versions do not
    say. `lowered`: it would hold this one, and must be told not to."""

    deadline_s: float
    unseen: bool
    buffered: bool
    lowered: bool


def _asked(first: ProcessingRequest, wanted: Overrides) -> _Asked:
    """Raises RefusedError where nothing of what is decided could hold."""
    if not first.HasField("request_headers"):
        raise _unfit("Envoy's filter does not show the head of requests; set `request_header_mode: SEND`.")
    tells = first.HasField("protocol_config")
    mode = first.protocol_config.request_body_mode if tells else BUFFERED
    if mode not in (NONE, BUFFERED) and not first.request_headers.end_of_stream:
        raise _unfit(UNFIT)
    return _Asked(wanted.deadline_s, wanted.unseen or mode == NONE, tells and mode == BUFFERED, mode == BUFFERED)


def _go_on(asked: _Asked, case: Case, answer: Pass) -> ProcessingResponse:
    response = ProcessingResponse()
    if case.body is Body.WHOLE:
        response.request_body.CopyFrom(BodyResponse(response=common(answer.changes)))
    else:
        response.request_headers.CopyFrom(HeadersResponse(response=common(answer.changes)))
        if asked.lowered and (case.body is Body.UNSEEN or case.socket):
            response.mode_override.CopyFrom(ProcessingMode(request_body_mode=NONE, response_header_mode=ProcessingMode.SEND))
    response.dynamic_metadata.CopyFrom(metadata(answer.decision))
    return response


def _unfit(detail: str) -> RefusedError:
    return RefusedError(detail, "envoy_mode_unfit", 500)


def _status(headers: Headers) -> int:
    value = next((value for name, value in headers if name == b":status"), b"")
    return int(value) if value.isdigit() else 0
