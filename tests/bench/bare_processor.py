"""The peer: an ext_proc server that answers every part of a request, sets a field of it, and does nothing else; on either transport."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

import grpc
import grpc.aio
import uvloop

from router.doors.envoy.calls import Method
from router.doors.envoy.connection import Connection, Served
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
from router.doors.envoy.names import FRAME, PROCESSOR


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


async def on_grpc(port: str) -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PROCESSOR, {"Process": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


async def on_zttp(port: str) -> None:
    methods = {f"/{PROCESSOR}/Process".encode(): Method(partial(process, None), ProcessingRequest)}
    made = partial(Connection, Served(methods, FRAME))
    await asyncio.get_running_loop().create_server(made, "127.0.0.1", int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run({"grpc": on_grpc, "zttp": on_zttp}[sys.argv[2]](sys.argv[1]))
