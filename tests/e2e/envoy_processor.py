"""A processor that is no Lockgate: it does what a scenario says, right or wrong, to show what Envoy makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from router.doors.envoy.messages.envoy_pb2 import (
    BodyMutation,
    BodyResponse,
    CheckRequest,
    CheckResponse,
    CommonResponse,
    HeadersResponse,
    HeaderValueOption,
    OkHttpResponse,
    ProcessingMode,
    ProcessingRequest,
    ProcessingResponse,
    Status,
    StreamedBodyResponse,
    TrailersResponse,
)
from router.doors.envoy.names import AUTHORIZATION, PROCESSOR
from tests.e2e.grpc_thread import served

INTENT = "x-intent"


@dataclass(slots=True)
class Behaviour:
    """`answers_at`: the part whose answer sets the header `x-intent: pay`. `pause_s`: before its answer to the body. `extends_ms`:
    asks for more time then. `lowers`: the body mode that the head's answer asks for. `sets`: a further header of that answer. `hides_at`:
    the part whose answer asks not to be shown the response's head."""

    answers_at: str = "request_body"
    clears: bool = True
    pause_s: float = 0.0
    aborts: bool = False
    extends_ms: int = 0
    lowers: ProcessingMode.BodySendMode | None = None
    sets: tuple[str, str] | None = None
    as_text: bool = False
    duplex: bool = False
    namespace: str = ""
    hides_at: str = ""


class Toy:
    """`bodies`: how long each part of a body was that it was shown; `kinds`: of which kind each message was."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.bodies: list[int] = []
        self.kinds: list[str] = []

    async def process(self, _: Any, stream: Any) -> None:
        while isinstance(message := await stream.read(), ProcessingRequest):
            if self._behaviour.aborts:
                await stream.abort(grpc.StatusCode.INTERNAL, "on purpose")
            slow = message.HasField("request_body")
            if slow and self._behaviour.extends_ms:
                response = ProcessingResponse()
                response.override_message_timeout.FromMilliseconds(self._behaviour.extends_ms)
                await stream.write(response)
            await asyncio.sleep(self._behaviour.pause_s if slow else 0)
            await stream.write(self._answer(message))

    async def check(self, _: CheckRequest, context: Any) -> CheckResponse:
        return CheckResponse(status=Status(code=0), ok_response=OkHttpResponse(headers=[self._option(INTENT, "pay")]))

    def _answer(self, message: ProcessingRequest) -> ProcessingResponse:
        kind = message.WhichOneof("request") or ""
        self.kinds.append(kind)
        response = ProcessingResponse()
        if kind == "request_headers":
            response.request_headers.CopyFrom(HeadersResponse(response=self._common(kind)))
            if self._behaviour.lowers is not None:
                response.mode_override.CopyFrom(ProcessingMode(request_body_mode=self._behaviour.lowers, response_header_mode=1))
        elif kind == "request_body":
            self.bodies.append(len(message.request_body.body))
            common = self._common(kind)
            if self._behaviour.duplex:
                part = StreamedBodyResponse(body=message.request_body.body, end_of_stream=message.request_body.end_of_stream)
                common.body_mutation.CopyFrom(BodyMutation(streamed_response=part))
            response.request_body.CopyFrom(BodyResponse(response=common))
        elif kind == "response_headers":
            response.response_headers.CopyFrom(HeadersResponse(response=CommonResponse()))
        elif kind == "request_trailers":
            response.request_trailers.CopyFrom(TrailersResponse())
        if kind == self._behaviour.hides_at:
            hidden = ProcessingMode(request_body_mode=ProcessingMode.BUFFERED, response_header_mode=ProcessingMode.SKIP)
            response.mode_override.CopyFrom(hidden)
        if self._behaviour.namespace:
            response.dynamic_metadata.fields[self._behaviour.namespace].struct_value.fields["intent"].string_value = "pay"
        return response

    def _common(self, kind: str) -> CommonResponse:
        common = CommonResponse()
        if kind == self._behaviour.answers_at:
            common.clear_route_cache = self._behaviour.clears
            common.header_mutation.set_headers.append(self._option(INTENT, "pay"))
            if self._behaviour.sets is not None:
                common.header_mutation.set_headers.append(self._option(*self._behaviour.sets))
        return common

    def _option(self, name: str, value: str) -> HeaderValueOption:
        option = HeaderValueOption(append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
        option.header.key = name
        if self._behaviour.as_text:
            option.header.value = value
        else:
            option.header.raw_value = value.encode()
        return option


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[tuple[int, Toy]]:
    """The port, and what it has seen."""
    toy = Toy(behaviour)
    process = grpc.stream_stream_rpc_method_handler(toy.process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString)
    check = grpc.unary_unary_rpc_method_handler(toy.check, CheckRequest.FromString, CheckResponse.SerializeToString)
    with served({PROCESSOR: {"Process": process}, AUTHORIZATION: {"Check": check}}) as port:
        yield port, toy
