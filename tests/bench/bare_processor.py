"""The peer: an ext_proc server that answers every part of a request, sets a field of it, and does nothing else; on either transport."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

import grpc
import grpc.aio
import h2corn
import uvloop

from router.doors.envoy.calls import Calls, Method
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


async def on_h2corn(port: str) -> None:
    calls = Calls({f"/{PROCESSOR}/Process": Method(partial(process, None), ProcessingRequest)}, FRAME)
    config = h2corn.Config(bind=(f"127.0.0.1:{port}",), grpc=True, http1=False, lifespan="off", access_log=False, date_header=False)
    await h2corn.Server(calls, config).serve()


if __name__ == "__main__":
    uvloop.run({"grpc": on_grpc, "h2corn": on_h2corn}[sys.argv[2]](sys.argv[1]))
