"""Settings of an `http` destination."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from router.settings import Count, Duration, Fraction, Size, Span, Strict, Text

HASHED = {"subject": "x-lockgate-subject", "tenant": "x-lockgate-tenant"}
HASH_BY = re.compile(r"subject|tenant|path|header:[a-z0-9-]{1,64}")
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


def hash_by(value: str) -> str:
    if not HASH_BY.fullmatch(value):
        raise ValueError("must be subject, tenant, path or header:NAME with a name in lower case")
    return value


HashBy = Annotated[str, AfterValidator(hash_by)]


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


class OutlierConfig(Strict):
    """Leaves an upstream alone that answers worse than it may: after `consecutive` server errors (500 and above, or broken off), or where
    `failures` of at least `requests` within `interval` were. For `ejection`, longer each time it happens again, at most `longest`; never
    more than `most` of the upstreams at once, and never the only one."""

    consecutive: Count = 5
    failures: Fraction = 0.5
    requests: Count = 20
    interval: Span = 10.0
    ejection: Span = 30.0
    longest: Span = 300.0
    most: Fraction = 0.5


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

    ca: Text | None = Field(default=None, description="Authorities to trust, beside the system's.")
    certificate: Text | None = Field(default=None, description="Certificate that is shown (mTLS).")
    key: Text | None = Field(default=None, description="The certificate's key.")
    server_name: Text | None = Field(default=None, description="Name that the other side's certificate must carry, instead of its host.")

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
    """`balance` chooses among upstreams: in turns, the least busy one, or by `hash_by` always the same one: `subject`, `tenant`, `path`, or
    `header:NAME`."""

    upstreams: Annotated[tuple[UpstreamConfig, ...], Field(min_length=1)]
    client: Literal["aiohttp", "pyreqwest"] = "aiohttp"
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    circuit: CircuitConfig = CircuitConfig()
    outliers: OutlierConfig | None = None
    health: HealthConfig | None = None
    balance: Literal["round_robin", "least_requests", "hash"] = "round_robin"
    hash_by: HashBy | None = None
    concurrency: Count = 256
    keep: Duration = 30.0
    tls: Tls = Tls()
    websocket: WebSocketConfig = WebSocketConfig()

    @model_validator(mode="after")
    def _hashed(self) -> Self:
        if (self.balance == "hash") != (self.hash_by is not None):
            raise ValueError("needs 'hash_by' where 'balance' is hash, and has no use for it elsewhere")
        return self

    @property
    def hashed_header(self) -> str | None:
        """The header field that is hashed; None for the path, or where nothing is."""
        return None if self.hash_by is None else HASHED.get(self.hash_by) or (self.hash_by.partition(":")[2] or None)
