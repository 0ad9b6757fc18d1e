"""The listener for Envoy on gRPC's own library: three services and their health. No reflection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from router.doors.envoy.access_log import AccessLog
from router.doors.envoy.authorizing import Authorizer
from router.doors.envoy.messages.envoy_pb2 import (
    CheckRequest,
    CheckResponse,
    ProcessingRequest,
    ProcessingResponse,
    StreamAccessLogsMessage,
    StreamAccessLogsResponse,
)
from router.doors.envoy.names import ACCESS_LOG, AUTHORIZATION, FRAME, LOOK_S, PROCESSOR, SERVICES
from router.doors.envoy.processing import Processor
from router.doors.tls import Material
from router.errors import ConfigError
from router.settings import Address


class EnvoyServer:
    """`most_body`: bytes of the largest body that is shown. Raises ConfigError where its address or its certificate cannot be used."""

    def __init__(self, processor: Processor, authorizer: Authorizer, access_log: AccessLog, most_body: int) -> None:
        options = (
            ("grpc.so_reuseport", 1),  # the control process holds the port, so that nobody takes it while a worker is replaced
            ("grpc.max_receive_message_length", most_body + FRAME),
            ("grpc.max_send_message_length", most_body + FRAME),
        )
        self._access_log = access_log
        self._showing: _Showing | None = None
        self._grace_s = 0.0
        self._server = grpc.aio.server(options=options)
        self._health = health_aio.HealthServicer()
        processing = grpc.stream_stream_rpc_method_handler(
            processor.process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
        )
        checking = grpc.unary_unary_rpc_method_handler(authorizer.check, CheckRequest.FromString, CheckResponse.SerializeToString)
        logging = grpc.stream_unary_rpc_method_handler(
            access_log.stream, StreamAccessLogsMessage.FromString, StreamAccessLogsResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(PROCESSOR, {"Process": processing}),
                grpc.method_handlers_generic_handler(AUTHORIZATION, {"Check": checking}),
                grpc.method_handlers_generic_handler(ACCESS_LOG, {"StreamAccessLogs": logging}),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self, address: Address, material: Material | None, grace_s: float) -> None:
        """`grace_s`: see `drain`."""
        self._grace_s = grace_s
        where = str(address)
        try:
            port = self._listened(where, material)
        except RuntimeError:
            port = 0
        if port == 0:
            raise ConfigError(f"cannot listen on {where} for Envoy")
        await self._server.start()

    def _listened(self, where: str, material: Material | None) -> int:
        if material is None:
            return self._server.add_insecure_port(where)
        self._showing = _Showing(material)
        return self._server.add_secure_port(where, self._showing.credentials)

    def take(self, material: Material) -> None:
        """Shows another certificate from here on."""
        if self._showing is not None:
            self._showing.take(material)

    async def ended(self) -> None:
        """Never before it is told to. Whoever waited in gRPC for that and was cancelled would have cancelled its ending, too."""
        await asyncio.Event().wait()

    async def say(self, *, serving: bool) -> None:
        """To who asks for its health, or follows it. Streams are taken all the same."""
        await self._told(health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING)

    async def drain(self, notice_s: float, over: Callable[[], bool]) -> None:
        """Says that it is going, gives Envoy `notice_s` to hear it, and then takes no further streams. Requests that are under way have
        the grace period to end; `over` says that all have, and that their access log has come."""
        await self.say(serving=False)
        await asyncio.sleep(notice_s)
        stopping = asyncio.ensure_future(self._server.stop(self._grace_s))
        while not stopping.done() and not over():
            await asyncio.wait((stopping,), timeout=LOOK_S)
        self._access_log.close()
        await stopping

    async def _told(self, status: int) -> None:
        for service in SERVICES:
            await self._health.set(service, status)


class _Showing:
    """What the listener shows to those who connect; `take` exchanges it for handshakes from there on."""

    def __init__(self, material: Material) -> None:
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configured(material), self._changed, require_client_authentication=material.demand == "required"
        )
        self._next: Material | None = None

    def take(self, material: Material) -> None:
        self._next = material

    def _changed(self) -> Any:
        """Called at each handshake, on a thread of gRPC's; None where nothing is new."""
        material, self._next = self._next, None
        return None if material is None else _configured(material)


def _configured(material: Material) -> Any:
    return grpc.ssl_server_certificate_configuration([(key, certificate) for certificate, key in material.pairs], material.client_ca)
