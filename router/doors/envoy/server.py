"""The listener for Envoy: three gRPC services and their health. No reflection; whoever may not ask is told nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
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
from router.doors.envoy.processing import Processor
from router.errors import ConfigError
from router.settings import Address

PROCESSOR, AUTHORIZATION = "envoy.service.ext_proc.v3.ExternalProcessor", "envoy.service.auth.v3.Authorization"
ACCESS_LOG = "envoy.service.accesslog.v3.AccessLogService"
SERVICES = ("", PROCESSOR, AUTHORIZATION)
FRAME = 1 << 20  # of headers and framing around a body


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `client_ca`: whose certificates a client must have; None for none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class EnvoyServer:
    """`most_body`: bytes of the largest body that is shown. Raises ConfigError where its address or its certificate cannot be used."""

    def __init__(self, processor: Processor, authorizer: Authorizer, access_log: AccessLog, most_body: int) -> None:
        options = (
            ("grpc.so_reuseport", 1),  # the control process holds the port, so that nobody takes it while a worker is replaced
            ("grpc.max_receive_message_length", most_body + FRAME),
            ("grpc.max_send_message_length", most_body + FRAME),
        )
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

    async def start(self, address: Address, tls: TlsFiles | None) -> None:
        await self._told(health_pb2.HealthCheckResponse.SERVING)
        where = str(address)
        try:
            port = self._server.add_insecure_port(where) if tls is None else self._server.add_secure_port(where, credentials(tls))
        except RuntimeError:
            port = 0
        if port == 0:
            raise ConfigError(f"cannot listen on {where} for Envoy")
        await self._server.start()

    async def drain(self, notice_s: float, grace_s: float) -> None:
        """Says that it is going, gives Envoy `notice_s` to hear it, and then ends: streams that are open have `grace_s` to finish."""
        await self._told(health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(notice_s)
        await self._server.stop(grace_s)

    async def _told(self, status: int) -> None:
        for service in SERVICES:
            await self._health.set(service, status)


def credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """Certificates that have changed are taken up by the next handshake; what cannot be read then leaves the last good ones in use.
    Raises ConfigError."""
    reading = _Reading(tls)
    first = reading.read()
    return grpc.dynamic_ssl_server_credentials(first, reading.changed, require_client_authentication=tls.client_ca is not None)


class _Reading:
    def __init__(self, tls: TlsFiles) -> None:
        self._tls = tls
        self._seen: tuple[Any, ...] = ()

    def read(self) -> Any:
        """Raises ConfigError."""
        try:
            self._seen = self._stamps()
            pair = (self._tls.key.read_bytes(), self._tls.certificate.read_bytes())
            authorities = self._tls.client_ca.read_bytes() if self._tls.client_ca is not None else None
        except OSError as error:
            raise ConfigError(f"envoy.tls: {error.filename} cannot be read: {error.strerror}") from None
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def changed(self) -> Any:
        """None where nothing has changed, or where it cannot be used."""
        try:
            return self.read() if self._stamps() != self._seen else None
        except (ConfigError, OSError):
            return None

    def _stamps(self) -> tuple[Any, ...]:
        files = (self._tls.certificate, self._tls.key, self._tls.client_ca)
        return tuple((found.st_mtime_ns, found.st_ino) for found in (file.stat() for file in files if file is not None))
