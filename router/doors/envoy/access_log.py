"""`envoy.service.accesslog.v3.AccessLogService`: how requests ended that were decided here, by the decision's id in their metadata."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration

from router.doors.envoy.answers import NAMESPACE
from router.doors.envoy.framing import StatusError
from router.doors.envoy.messages.envoy_pb2 import (
    AccessLogCommon,
    AccessLogType,
    HTTPAccessLogEntry,
    ResponseFlags,
    StreamAccessLogsMessage,
    StreamAccessLogsResponse,
)
from router.doors.envoy.outcomes import Outcomes, Report

BEFORE_THE_END = (
    AccessLogType.TcpUpstreamConnected,
    AccessLogType.TcpPeriodic,
    AccessLogType.DownstreamStart,
    AccessLogType.DownstreamPeriodic,
    AccessLogType.DownstreamTunnelSuccessfullyEstablished,
    AccessLogType.UpstreamPoolReady,
    AccessLogType.UpstreamPeriodic,
    AccessLogType.UpstreamEnd,
)
VIA_UPSTREAM = "via_upstream"  # the details of an answer that is not Envoy's own
SWITCHING = 101
# Its details where the upstream's connection ended, and nobody knows more of why.
CLOSED = "upstream_reset_after_response_started{connection_termination}"
AUTHZ_NAMESPACE = "envoy.filters.http.ext_authz"  # under which Envoy puts what that filter is told
NODE = re.compile(r"[0-9a-f]{16}")
# Envoy's response flags, the one that says most first. Reasons that our own gateway has are the same.
FAILURES = {
    "downstream_connection_termination": "client_gone",
    "downstream_protocol_error": "client_gone",
    "downstream_remote_reset": "client_gone",
    "upstream_connection_failure": "connect_failed",
    "dns_resolution_failure": "connect_failed",
    "no_healthy_upstream": "no_healthy_upstream",
    "upstream_overflow": "concurrency_exceeded",
    "upstream_request_timeout": "upstream_timeout",
    "duration_timeout": "upstream_timeout",
    "upstream_max_stream_duration_reached": "upstream_timeout",
    "stream_idle_timeout": "upstream_idle",
    "upstream_connection_termination": "upstream_reset",
    "upstream_remote_reset": "upstream_reset",
    "local_reset": "upstream_reset",
    "upstream_protocol_error": "upstream_protocol",
    "no_route_found": "envoy_no_route",
    "no_cluster_found": "envoy_no_route",
    "no_filter_config_found": "envoy_local_reply",
    "response_from_cache_filter": "envoy_local_reply",
    "upstream_retry_limit_exceeded": "upstream_error",
    "rate_limited": "envoy_local_reply",
    "fault_injected": "envoy_local_reply",
    "overload_manager": "envoy_local_reply",
}


class AccessLog:
    """The service. `elsewhere`: what was decided by another worker, or another node; None where there are none."""

    def __init__(self, outcomes: Outcomes, elsewhere: Callable[[Sequence[Report]], None] | None) -> None:
        self._outcomes = outcomes
        self._elsewhere = elsewhere
        self._closing = asyncio.Event()

    async def stream(self, messages: Any, _: Any) -> StreamAccessLogsResponse:
        """Envoy keeps it open for as long as it runs; it ends when we close, and Envoy opens another elsewhere.
        Raises StatusError."""
        reading = asyncio.ensure_future(self._read(messages))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((reading, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, closing):
                task.cancel()
            await asyncio.gather(reading, closing, return_exceptions=True)
        if not reading.cancelled() and isinstance(error := reading.exception(), StatusError):
            raise error  # who sent what is not to be read is told so
        return StreamAccessLogsResponse()

    def close(self) -> None:
        self._closing.set()

    async def _read(self, messages: Any) -> None:
        async for message in messages:
            self._took(message)

    def _took(self, message: StreamAccessLogsMessage) -> None:
        reports = [report(entry) for entry in message.http_logs.log_entry if _is_end(entry)]
        others = [each for each in reports if each is not None and not self._outcomes.told(each)]
        if others and self._elsewhere is not None:
            self._elsewhere(others)


def report(entry: HTTPAccessLogEntry) -> Report | None:
    """None where nothing was decided that went on."""
    common, response = entry.common_properties, entry.response
    own = common.metadata.filter_metadata
    told = (own[name].fields for name in (NAMESPACE, AUTHZ_NAMESPACE) if name in own)
    said = next((each for each in told if each["decision_id"].string_value), None)
    if said is None or said["stopped"].string_value:
        return None
    upstream = common.upstream_remote_address.socket_address  # empty for one that is reached over a socket of this machine
    closed = response.response_code.value == SWITCHING and _closed(common, response.response_code_details)
    answered = closed or response.response_code_details in ("", VIA_UPSTREAM)
    routed = answered and common.HasField("upstream_remote_address") and bool(response.response_code.value)
    return Report(
        decision_id=said["decision_id"].string_value,
        status=response.response_code.value,
        reason="" if closed else _reason(common, routed, response.response_code_details),
        routed=routed,
        upstream=f"{upstream.address}:{upstream.port_value}" if upstream.address else "",
        attempts=common.upstream_request_attempt_count,
        upstream_ns=_ns(common.time_to_last_upstream_rx_byte),
        total_ns=_ns(common.duration),
        response_bytes=response.response_body_bytes,
        node=_node(said["node"].string_value),
    )


def _node(said: str) -> str:
    """As nodes are called; any other word is no node's."""
    return said if NODE.fullmatch(said) else ""


def _closed(common: AccessLogCommon, details: str) -> bool:
    """Of a WebSocket: its service closes the connection first (RFC 6455 section 7.1.1), of which Envoy says what it says of one that broke
    off. Which it was it does not tell."""
    flags = [flag.name for flag, _ in common.response_flags.ListFields()]
    return details == CLOSED and flags == ["upstream_connection_termination"]


def _reason(common: AccessLogCommon, routed: bool, details: str) -> str:
    flags: ResponseFlags = common.response_flags
    for name, reason in FAILURES.items():
        if getattr(flags, name):
            return reason
    reason = "" if routed else "envoy_local_reply"
    if details.startswith(("ext_proc", "ext_authz")):
        reason = "envoy_processor_failed"
    return reason


def _is_end(entry: HTTPAccessLogEntry) -> bool:
    return entry.common_properties.access_log_type not in BEFORE_THE_END


def _ns(duration: Duration) -> int:
    return int(duration.seconds) * 1_000_000_000 + int(duration.nanos)
