"""A service of gRPC, by the descriptors of `payments.proto`: `python -m tests.contract.payments_service PORT DESCRIPTORS ARRIVALS`.

Who asks says how it behaves: `status:NAME` is answered with that status, `slow` never.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.needs import needs

needs("grpc_tools", "it comes with the packages of `make test`")

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_tools import protoc

SERVICE = "halden.payments.v1.Payments"
HERE = Path(__file__).parent
MOST = 100_000


def descriptors(path: Path) -> Path:
    """Written by protoc itself."""
    include = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{HERE}", f"-I{include}", "--include_imports", f"--descriptor_set_out={path}", str(HERE / "payments.proto")]
    assert protoc.main(arguments) == 0
    return path


@dataclass
class Payments:
    """`arrivals`: request and metadata of every call; `done` the first request of each key. `file` gets the arrivals, a line each.
    `leave` is called before a status is answered."""

    descriptors: Path
    file: Path | None = None
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)
    health: health.aio.HealthServicer = field(default_factory=health.aio.HealthServicer)
    trailing: tuple[tuple[str, str], ...] = ()
    words: str = "secret words about anna"
    leave: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        made = descriptor_pb2.FileDescriptorSet.FromString(self.descriptors.read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for each in made.file:
            pool.Add(each)
        messages = (pool.FindMessageTypeByName(f"halden.payments.v1.{name}") for name in ("CancelRequest", "CancelResponse"))
        self._request, self._response = map(message_factory.GetMessageClass, messages)

    async def cancel(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        told = dict(context.invocation_metadata() or ())
        value = json_format.MessageToDict(request)
        self.arrivals.append({"request": value, "metadata": told, "within": context.time_remaining()})
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(json.dumps(self.arrivals[-1]) + "\n")
        how, _, status = request.asked_by.partition(":")
        if how == "slow":
            await asyncio.sleep(600)
        if how == "status":
            if self.leave is not None:
                self.leave()
            context.set_trailing_metadata(self.trailing)
            await context.abort(grpc.StatusCode[status], self.words)
        self.done.setdefault(told["idempotency-key"], value)
        return self._response(state="cancelled", payment_id=request.payment_id, body="x" * MOST if how == "long" else "")

    def handlers(self) -> grpc.GenericRpcHandler:
        cancel: Callable[..., Awaitable[Any]] = self.cancel
        read, write = self._request.FromString, lambda made: made.SerializeToString()
        method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(cancel, read, write)
        return grpc.method_handlers_generic_handler(SERVICE, {"Cancel": method})


@asynccontextmanager
async def serving(payments: Payments, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[int]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((payments.handlers(),))
    health_pb2_grpc.add_HealthServicer_to_server(payments.health, server)
    await payments.health.set("", health_pb2.HealthCheckResponse.SERVING)
    where = f"127.0.0.1:{port}"
    bound = server.add_insecure_port(where) if credentials is None else server.add_secure_port(where, credentials)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0.1)


async def _forever(port: int, file: Path, arrivals: Path) -> None:
    async with serving(Payments(file, arrivals), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
