"""Settings of an `mcp` destination. Nothing here needs the MCP library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from router.config.identity import SecureUrl
from router.secret import Secret
from router.settings import Bool, Size, Span, Text

_FIELD = re.compile(r"[a-z0-9-]{1,64}")
_OURS = re.compile(r"mcp-.*|x-lockgate-.*|content-.*|transfer-.*|host|connection|accept.*|traceparent|tracestate|idempotency-key")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def field(value: str) -> str:
    if _FIELD.fullmatch(value) is None or _OURS.fullmatch(value) is not None:
        raise ValueError("must be a header field in lower case that is not one of Lockgate's or the protocol's own")
    return value


def digest(value: str) -> str:
    if _DIGEST.fullmatch(value) is None:
        raise ValueError("must be sha256: and 64 hexadecimal digits, as a refusal names it")
    return value


class Config(MessagingConfig):
    """Beside what every destination for messages has. `input`, or a JSON body, is the tool's arguments."""

    url: SecureUrl = Field(description="The server's endpoint, streamable HTTP, such as `https://tools.internal/mcp`.")
    tool: Text = Field(description="The tool that is called.")
    definition: Annotated[str, AfterValidator(digest)] | None = Field(
        default=None, description="Digest of the tool's definition as it was looked at. One that has changed since is not called."
    )
    recheck: Span = Field(default=300.0, description="How long what the server said of the tool is taken to hold.")
    protocol: Literal["auto", "legacy"] = Field(
        default="auto",
        description="`auto` asks the server which versions it speaks; `legacy` begins with the initialize handshake of before 2026.",
    )
    headers: Mapping[Annotated[str, AfterValidator(field)], Secret] = Field(
        default_factory=dict, description="Further header fields, such as `authorization`."
    )
    deduplicates: Bool = Field(
        default=False,
        description="The tool acts once on an idempotency key, so that any request may be repeated. Its own hints are not believed.",
    )
    connect: Span = Field(default=3.0, description="Longest time until a connection stands.")
    most_answer: Size = Field(default=1 << 20, description="Longest answer that is read, each of a session's.")
    tls: Tls = Field(default=Tls(), description="TLS towards the server.")
