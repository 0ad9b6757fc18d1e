"""Settings of an `http` destination."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from router.settings import Count, Duration, Fraction, Size, Strict, Text

Cause = Literal["connect", "reset", "502", "503", "504"]


def origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL such as http://127.0.0.1:9001")
    if parts.username or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ValueError("must have no path, query or user: a route's `path` says where requests go")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ValueError("must have a port between 1 and 65535") from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


class UpstreamConfig(Strict):
    """`weight` is this upstream's share among the healthy ones."""

    url: Annotated[Text, AfterValidator(origin)]
    weight: Count = 1


class Timeouts(Strict):
    """`connect`: until the connection (with TLS) stands. `idle`: without a byte from the upstream. `total`: from the first attempt to the
    end of the body, retries included; an event stream (text/event-stream) has no total. Null switches `idle` or `total` off."""

    connect: Duration = 2.0
    idle: Duration | None = 15.0
    total: Duration | None = 30.0


class Retries(Strict):
    """`attempts` counts all tries. `budget` is the share of retries to requests over ten seconds; `floor` retries are always allowed."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    on: tuple[Cause, ...] = ("connect", "reset", "502", "503", "504")
    budget: Fraction = 0.2
    floor: Annotated[int, Field(ge=0)] = 3
    backoff: Duration = 0.025
    max_backoff: Duration = 1.0


class CircuitConfig(Strict):
    """After `failures` in a row an upstream is left alone for `open`, then one request probes it."""

    failures: Count = 5
    open: Duration = 10.0


class HealthConfig(Strict):
    """Active checks: GET `path` every `interval`; a status under 400 is healthy."""

    path: Annotated[Text, Field(pattern="^/")]
    interval: Duration = 5.0
    timeout: Duration = 2.0
    unhealthy: Count = 2
    healthy: Count = 1


class Tls(Strict):
    """PEM files. `ca` is trusted besides the system's authorities. `certificate` with `key` is what we show (mTLS); `server_name` is the
    name the upstream's certificate must carry."""

    ca: Text | None = None
    certificate: Text | None = None
    key: Text | None = None
    server_name: Text | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self


class WebSocketConfig(Strict):
    """`ping` is the interval of keep-alive pings; null sends none."""

    max_message: Size = 1 << 20
    ping: Duration | None = 20.0


class Config(Strict):
    upstreams: Annotated[tuple[UpstreamConfig, ...], Field(min_length=1)]
    client: Literal["aiohttp", "pyreqwest"] = "aiohttp"
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    circuit: CircuitConfig = CircuitConfig()
    health: HealthConfig | None = None
    concurrency: Count = 256
    keep: Duration = 30.0
    tls: Tls = Tls()
    websocket: WebSocketConfig = WebSocketConfig()
