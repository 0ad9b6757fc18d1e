"""The one table from failure codes to what a caller is told."""

from __future__ import annotations

from router.errors import DestinationError

STATUS = {
    "connect_failed": 502,
    "connect_timeout": 504,
    "upstream_timeout": 504,
    "upstream_idle": 504,
    "upstream_reset": 502,
    "upstream_protocol": 502,
    "tls_failed": 502,
    "upstream_unavailable": 503,
    "circuit_open": 503,
    "no_healthy_upstream": 503,
    "concurrency_exceeded": 503,
    "destination_closed": 503,
    "websocket_refused": 502,
    "request_unsendable": 400,  # the client library could only send something else than what policy judged
}


def failure(code: str, message: str, *, sent: bool = False) -> DestinationError:
    return DestinationError(message, code, STATUS[code], sent=sent)
