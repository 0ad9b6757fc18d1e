"""One unary call for each message."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from adapters.grpc_service.config import Config
from adapters.grpc_service.descriptors import Method, checked
from adapters.messaging.destination import Receipt, failure
from adapters.messaging.document import JSON
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from router.errors import ConfigError, DestinationError

PROTOBUF = "application/protobuf"
HEALTH = "/grpc.health.v1.Health/Check"
PUSHBACK = "grpc-retry-pushback-ms"
REFUSED = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED", "DATA_LOSS"}
)
DENIED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
WAITING = grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING
UNCONNECTED = ("failed to connect to all addresses", "errors resolving ", "dns resolution failed", "address lookup failed")
PING_S = 3.0
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # trying again is the destination's decision
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_send_message_length", -1),  # `most` bounds it
    ("grpc.use_local_subchannel_pool", 1),  # no connection is shared with another destination's credentials
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 3000),  # by its name a pause, in the library the time that a connection has to be made
    ("grpc.max_reconnect_backoff_ms", 2000),  # who is back is not kept waiting for two minutes
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)


class GrpcPeer:
    def __init__(self, settings: Config, root: Path) -> None:
        self.repeatable = settings.deduplicates
        self._settings, self._root = settings, root
        self._method: Method | None = None
        self._metadata: tuple[tuple[str, str], ...] = ()
        self._channel: grpc.aio.Channel | None = None

    async def open(self) -> None:
        settings = self._settings
        if settings.descriptors is not None:
            mapping = None if settings.input is None else settings.input.source
            self._method = checked(self._root / settings.descriptors, settings.method, mapping)
        self._metadata = tuple((name, _value(name, secret.reveal(self._root))) for name, secret in settings.metadata.items())
        options: list[tuple[str, int | str]] = [*OPTIONS, ("grpc.max_receive_message_length", settings.most_answer)]
        if settings.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
        if settings.insecure:
            self._channel = grpc.aio.insecure_channel(str(settings.address), options=options)
        else:
            self._channel = grpc.aio.secure_channel(str(settings.address), self._credentials(), options=options)

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(grace=None)

    async def ping(self) -> None:
        """Its health, where it tells that; else that it can be called at all."""
        asked, before = health_pb2.HealthCheckRequest(service=self._settings.health or "").SerializeToString(), self._state
        try:
            answer = health_pb2.HealthCheckResponse.FromString(await self._call(HEALTH, asked, PING_S))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return
            raise translated(error, reached=connected(before, self._state)) from None
        if self._settings.health is not None and answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise failure("upstream_unavailable", "the service says that it is not serving")

    async def deliver(self, message: Message) -> Receipt:
        request, began = self._request(message), time.monotonic()
        before = await self._tried()
        within = max(0.0, message.within - (time.monotonic() - began))
        try:
            data = await self._call(f"/{self._settings.method}", request, within, self._told(message))
        except grpc.aio.AioRpcError as error:
            raise translated(error, reached=connected(before, self._state)) from None
        place = f"{self._settings.address}/{self._settings.method}"
        if self._method is None or self._settings.content == "bytes":
            return Receipt(place, data, PROTOBUF, 200)
        try:
            return Receipt(place, self._method.decoded(data), JSON, 200)
        except ValueError:
            raise failure("upstream_protocol", "the service's response is not what its descriptors say", sent=True) from None

    def _request(self, message: Message) -> bytes:
        if self._method is None or self._settings.content == "bytes":
            return message.content
        try:
            return self._method.encoded(message.json())
        except ValueError:
            raise unmapped(f"the request does not make a {self._method.takes.full_name}") from None

    def _told(self, message: Message) -> list[tuple[str, str]]:
        fields = {name: value for name, value in message.fields.items() if value.isascii() and value.isprintable()}
        return [*fields.items(), ("idempotency-key", scoped(message)), *self._metadata]

    async def _call(self, method: str, request: bytes, within: float, metadata: list[tuple[str, str]] | None = None) -> bytes:
        if self._channel is None:
            raise failure("destination_closed", "the destination is not open")
        call: Any = self._channel.unary_unary(method)  # of bytes, as they are
        answer: bytes = await call(request, timeout=within, metadata=metadata)
        return answer

    async def _tried(self) -> grpc.ChannelConnectivity:
        """Once a connection was made, or could not be: a call that makes it itself may be answered, and the channel try to connect again,
        before anybody looks at it."""
        channel = self._channel
        if channel is None:
            return grpc.ChannelConnectivity.SHUTDOWN
        while (state := channel.get_state(try_to_connect=True)) in WAITING:
            await channel.wait_for_state_change(state)
        return state

    @property
    def _state(self) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.SHUTDOWN if self._channel is None else self._channel.get_state()

    def _credentials(self) -> grpc.ChannelCredentials:
        tls = self._settings.tls
        try:
            ca = _system() + (self._root / tls.ca).read_bytes() if tls.ca is not None else None
            key = (self._root / tls.key).read_bytes() if tls.key is not None else None
            certificate = (self._root / tls.certificate).read_bytes() if tls.certificate is not None else None
        except OSError as error:
            raise ConfigError(f"the TLS files of a destination cannot be used: {error}") from error
        return grpc.ssl_channel_credentials(ca, key, certificate)


def connected(before: grpc.ChannelConnectivity, after: grpc.ChannelConnectivity) -> bool:
    """Whether a call may have met a connection. One that could not be made leaves the channel trying; a service that answers and then goes,
    as one that is drained does, leaves it idle."""
    trying = grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.TRANSIENT_FAILURE
    return before is grpc.ChannelConnectivity.READY or after not in trying


def translated(error: grpc.aio.AioRpcError, *, reached: bool) -> DestinationError:
    """The only place where the library's errors become ours. What the service wrote is left out: it may be about people. `reached`:
    whether there may have been a connection, as `connected` tells."""
    code, details = error.code().name, error.details() or ""
    if code == "UNAVAILABLE":
        return _unavailable(error, details, reached=reached)
    if code == "DEADLINE_EXCEEDED":
        return failure("upstream_timeout", "the service did not answer in time", sent=True)
    if code == "RESOURCE_EXHAUSTED":
        if "larger than max" in details.lower():
            return failure("upstream_protocol", "the service's response is too large", sent=True)
        return failure("upstream_throttled", f"the service answered {code}", wait=_pushback(error))
    if code in DENIED:
        return failure("upstream_denied", f"the service answered {code}")
    if code in REFUSED:
        return failure("upstream_refused", f"the service answered {code}")
    return _untold(error, f"the service answered {code}")


def _unavailable(error: grpc.aio.AioRpcError, details: str, *, reached: bool) -> DestinationError:
    """The library's own words are the only sign of whether there was a connection; a service may use the same of one behind it."""
    told = details.lower()
    if told.startswith(UNCONNECTED) and not reached:
        if any(word in told for word in ("handshake", "ssl", "certificate", "verification check")):
            return failure("tls_failed", "no TLS connection with the service could be made")
        return failure("connect_failed", "no connection to the service could be made")
    return _untold(error, "the service answered UNAVAILABLE, or the connection broke off")


def _untold(error: grpc.aio.AioRpcError, sentence: str) -> DestinationError:
    """The library has the same statuses for a connection that breaks off, and no sign of which it is but metadata, which only a service
    sends (gRPC, status codes: UNAVAILABLE, INTERNAL and UNKNOWN are made by the library, too)."""
    made = failure("upstream_unavailable", sentence, sent=True, wait=_pushback(error))
    made.untold = not error.trailing_metadata()
    return made


def _pushback(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds that the service asks for (gRFC A6)."""
    told = dict(error.trailing_metadata() or ()).get(PUSHBACK, "")
    text = told.decode("latin-1") if isinstance(told, bytes) else told
    return int(text) / 1000 if text.isdecimal() and len(text) < 9 else None


def _system() -> bytes:
    """The authorities of the system, which those of `ca` come beside."""
    path = ssl.get_default_verify_paths().cafile
    return Path(path).read_bytes() + b"\n" if path is not None and Path(path).is_file() else b""


def _value(name: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ConfigError(f"the metadata {name} must be printable ASCII")
    return text
