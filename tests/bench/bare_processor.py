"""The peer: an ext_proc server that answers every part of a request, sets one field of it, and does nothing else. Same gRPC stack."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio
import uvloop

from router.doors.envoy.messages.envoy_pb2 import (
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HeaderValue,
    HeaderValueOption,
    ProcessingRequest,
    ProcessingResponse,
)


def chosen() -> CommonResponse:
    field = HeaderValue(key="x-lockgate-route", raw_value=b"bare")
    option = HeaderValueOption(header=field, append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
    return CommonResponse(clear_route_cache=True, header_mutation=HeaderMutation(set_headers=[option]))


async def process(_: Any, stream: Any) -> None:
    while isinstance(message := await stream.read(), ProcessingRequest):
        if message.HasField("request_headers"):
            response = chosen() if message.request_headers.end_of_stream else CommonResponse()
            await stream.write(ProcessingResponse(request_headers=HeadersResponse(response=response)))
        elif message.HasField("request_body"):
            await stream.write(ProcessingResponse(request_body=BodyResponse(response=chosen())))
        else:
            await stream.write(ProcessingResponse(response_headers=HeadersResponse(response=CommonResponse())))


async def main(port: str) -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.ext_proc.v3.ExternalProcessor", {"Process": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
