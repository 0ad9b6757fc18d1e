"""The door for Envoy: `ext_proc`, `ext_authz` and the gRPC access log, on one gRPC listener."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from router.config.tls import MutualTls
from router.settings import Address, Bool, Duration, Listen, Span, Strict


class EnvoyConfig(Strict):
    """Envoy carries the requests, and asks here what may be done with each."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 50051), description="Where the first worker serves gRPC; each further one takes the port after it."
    )
    tls: MutualTls | None = Field(
        default=None,
        description="Certificates; needed where `listen` is not a loopback address. Callers' are none or required; with `server: grpc` "
        "TLS 1.2 is spoken, too.",
    )
    server: Literal["grpc", "zttp"] = Field(
        default="grpc",
        description="Which library speaks HTTP/2: gRPC's own, or `zttp`, which is young and costs a fraction of the processor; Envoy then "
        "needs `max_concurrent_streams` on the door's cluster, which `lockgate envoy config` writes. Needs `pip install "
        "'lockgate[envoy-zttp]'`.",
    )
    insecure: Bool = Field(
        default=False,
        description="Serve unencrypted on an address that is not loopback. Whoever reaches it may then say who asked for what.",
    )
    deadline: Span = Field(
        default=2.0, description="How long a decision may take. Envoy's `message_timeout` must be longer; a decision that is late is a 503."
    )
    access_log: Bool = Field(
        default=True,
        description="Envoy sends its gRPC access log here, and outcomes wait for it: only it knows how the whole response went. "
        "Without it outcomes come from the response's header alone.",
    )
    outcome_patience: Span = Field(
        default=10.0,
        description="How long an outcome waits for Envoy's access log after the request has ended, as far as that is seen here.",
    )
    notice: Duration = Field(
        default=5.0,
        description="How long the health service says that this worker is going before it goes; longer than Envoy takes to hear it: its "
        "interval times its threshold, and its `update_merge_window`.",
    )
    longest_request: Span = Field(
        default=3600.0,
        description="How long a request may last that Envoy tells of in its access log alone, before its outcome is what is known of it: "
        "one that `ext_authz` let pass, and a response that goes on, such as a stream of events or a WebSocket.",
    )

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        if not (self.listen.loopback or self.tls or self.insecure):
            raise ValueError(f"would be served unencrypted on {self.listen}; set 'tls', listen on 127.0.0.1, or set 'insecure: true'")
        if self.tls is not None and self.tls.client_certificates == "optional":
            raise ValueError("has in 'tls' callers' certificates that nothing is made of; they are none or required")
        if self.tls is not None and self.tls.minimum_version != "1.2" and self.server == "grpc":
            raise ValueError("has in 'tls' what gRPC cannot: it speaks TLS 1.2, too")
        return self
