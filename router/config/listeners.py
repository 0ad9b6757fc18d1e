from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from router.config.blocks import OnAbstain
from router.config.cors import Cors
from router.config.sign_in import SignInConfig
from router.config.tls import MutualTls
from router.settings import Address, Bool, Count, Listen, Network, Size, Span, Strict, Text

JSON_PATH = re.compile(r"\$(\.[A-Za-z0-9_-]+)+")
HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")  # without `_`: such fields never come in
NEVER_VISIBLE = ("authorization", "cookie", "proxy-authorization", "set-cookie")


def json_path(value: str) -> str:
    if not JSON_PATH.fullmatch(value):
        raise ValueError("must be a dotted JSON path such as $.message or $.items.0.text")
    return value


def visible_header(value: str) -> str:
    name = value.lower()
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("must be a header name, without '_'")
    if name in NEVER_VISIBLE or name.startswith("x-lockgate-"):
        raise ValueError("may not be a header that carries credentials or Lockgate's own values")
    return name


JsonPath = Annotated[str, AfterValidator(json_path)]
VisibleHeader = Annotated[str, AfterValidator(visible_header)]


class GatewayLimits(Strict):
    """What one request, and all of them together, may take."""

    body: Size = Field(
        default=10 << 20, description="Largest request body that is passed on, and up to 16 MiB a WebSocket's largest message."
    )
    view: Size = Field(
        default=64 << 10, description="How much of a body is read before the decision; a longer body is decided on its start."
    )
    text_chars: Count = Field(default=8000, description="Longest request text that is classified; a longer one is `undetermined`.")
    header_count: Count = Field(default=100, description="Most request headers.")
    header_bytes: Size = Field(default=32 << 10, description="Most bytes of request headers together.")
    header_timeout: Span = Field(default=10.0, description="How long a client may take for its TLS handshake, and then for its headers.")
    body_timeout: Span = Field(default=30.0, description="How long a client may pause while it sends its body.")
    concurrency: Count = Field(default=512, description="Requests in progress in one worker; beyond it they wait.")
    queue: int = Field(default=256, ge=0, description="Requests that may wait in one worker; beyond it they are shed with 503.")

    @model_validator(mode="after")
    def _view_fits(self) -> Self:
        if self.view > self.body:
            raise ValueError("has a 'view' that is larger than 'body'")
        return self


class StepsConfig(Strict):
    """What becomes of a text that asks for several things. Each of them is a decision of its own; nothing is done in any order, and nothing
    is taken back: sequences and compensation are for a workflow engine."""

    run: Literal["all", "first_success"] = Field(
        default="all", description="Dispatch all that may be, together; or one after the other until one succeeds."
    )
    together: Bool = Field(default=False, description="Dispatch nothing unless every step may be dispatched at once.")
    answer: Size = Field(default=64 << 10, description="How much of each service's answer the caller gets.")


class ConversationConfig(Strict):
    """Texts that are understood by what their sender said before, such as "yes, the second one"."""

    header: VisibleHeader = Field(default="x-conversation-id", description="Header field that names a request's conversation.")
    id: JsonPath = Field(default="$.conversation_id", description="JSON path into the body that names it, where the header field does not.")
    turns: Count = Field(default=4, description="How many turns are remembered.")
    chars: Count = Field(default=500, description="Longest beginning of a text that is remembered.")
    keep: Span = Field(default=900.0, description="How long, after the last turn.")


class GatewayConfig(Strict):
    """The reverse proxy: the front door that requests come through."""

    listen: Listen | None = Field(
        default=Address("127.0.0.1", 8080), description="Where requests come in; `null` where they all come through another door."
    )
    tls: MutualTls | None = Field(default=None, description="Certificate and key; requests come in unencrypted without.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Networks whose `Forwarded` and `X-Forwarded-*` headers are believed."
    )
    allow: tuple[Network, ...] = Field(default=(), description="Networks that requests may come from; any where none is named.")
    deny: tuple[Network, ...] = Field(default=(), description="Networks that requests may not come from, also within what is allowed.")
    cors: Cors | None = Field(default=None, description="Web pages that may call from a browser; none without.")
    client: Literal["aiohttp", "pyreqwest"] = Field(
        default="aiohttp", description="The HTTP client towards services; `pyreqwest` needs `pip install 'lockgate[pyreqwest]'`."
    )
    text: tuple[JsonPath, ...] = Field(
        default=("$.message", "$.text", "$.query"),
        description="JSON paths tried in order for the request text. A `text/plain` body is itself the text.",
    )
    limits: GatewayLimits = Field(default=GatewayLimits(), description="Limits on requests.")
    on_abstain: OnAbstain = Field(
        default=OnAbstain(),
        description="What happens without an accepted intent: `clarify` (422 with the candidates), `deny` (403) or `{route: NAME}`.",
    )
    conversation: ConversationConfig | None = Field(
        default=None,
        description="Remember what a subject said before in a conversation, sealed under its key. Off unless this is set.",
    )
    steps: StepsConfig | None = Field(
        default=None,
        description="Make of a text that asks for several things a decision for each; without it the caller is asked for one.",
    )
    forward_headers: tuple[VisibleHeader, ...] = Field(
        default=("accept-language", "content-type", "user-agent", "x-tenant"),
        description="Request headers that rules, policy and records may see; to a policy that reads another one it is never there, which "
        "`lockgate check` warns of. Services get all headers, less hop-by-hop and `x-lockgate-*`.",
    )


class DecideIdempotency(Strict):
    """A call with an `Idempotency-Key` that is repeated gets the first one's decision. Keys are each caller's own."""

    required: Bool = Field(default=False, description="Refuse calls without a key (400).")
    keep: Span = Field(default=86400.0, description="How long a decision, and that there was a call, is remembered.")
    on_failure: Literal["deny", "allow"] = Field(
        default="deny", description="Without anybody who remembers: refuse with 503, or decide, perhaps a second time."
    )


class DecideConfig(Strict):
    """The decide API, for services that enforce decisions themselves."""

    listen: Listen = Field(default=Address("127.0.0.1", 8082), description="Where `POST /v1/decide` is served.")
    allow: tuple[Network, ...] = Field(default=(), description="Networks that callers may be in; any where none is named.")
    deny: tuple[Network, ...] = Field(default=(), description="Networks that callers may not be in, also within what is allowed.")
    tls: MutualTls | None = Field(default=None, description="Certificate and key; the decide API is served unencrypted without.")
    idempotency: DecideIdempotency | None = Field(
        default=None, description="Answer a repeated call, by its header field `Idempotency-Key`, with the first one's decision."
    )


class ControlConfig(Strict):
    """The control API: health, reviews, audit queries, keys."""

    listen: Listen = Field(default=Address("127.0.0.1", 8081), description="Where the control API is served.")
    tls: MutualTls | None = Field(default=None, description="Certificate and key; needed where `listen` is not a loopback address.")
    insecure: Bool = Field(default=False, description="Serve the control API unencrypted on an address that is not loopback.")
    probes: Listen | None = Field(
        default=None,
        description="Where `/healthz` and `/readyz` are served besides, unencrypted and nothing else: for who watches over the process and "
        "has no client certificate. Off unless this is set.",
    )

    policy: Text | None = Field(
        default=None,
        description="Folder with own rules for who may do what in the control API (Rego, package `lockgate.control.own`), beside those "
        "that ship with Lockgate.",
    )
    tenants: Literal["all", "own"] = Field(
        default="all",
        description="`own`: who belongs to a tenant sees and changes only what is that tenant's, and nothing that is no single tenant's. "
        "`all`: the tenant of a key or a session says nothing here.",
    )
    sign_in: SignInConfig = Field(default=SignInConfig(), description="How people sign in with a browser.")

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        if not (self.listen.loopback or self.tls or self.insecure):
            raise ValueError(f"would be served unencrypted on {self.listen}; set 'tls', listen on 127.0.0.1, or set 'insecure: true'")
        return self
