"""Settings of a `webhook` destination."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from adapters.webhook.endpoint import HOST, Endpoint
from adapters.webhook.event import Event
from adapters.webhook.signing import signer
from router.secret import Secret
from router.settings import Bool, Network, Size, Span, Text
from router.templates import Line

_OURS = re.compile(r"(webhook|ce|x-lockgate|content|transfer)-.*|host|connection|traceparent|tracestate|accept-encoding")
_FIELD = re.compile(r"[a-z0-9-]{1,64}")


def host(value: str) -> str:
    if HOST.fullmatch(value) is None:
        raise ValueError("must be a host in lower case, such as hooks.example.com, or *.example.com for those below it")
    return value


def field(value: str) -> str:
    if _FIELD.fullmatch(value) is None or _OURS.fullmatch(value) is not None:
        raise ValueError("must be a header field in lower case that is not one of Lockgate's own")
    return value


class Config(MessagingConfig):
    """Beside what every destination for messages has."""

    url: Line = Field(description="Where it goes. May have expressions; its host only where `hosts` is set.")
    hosts: tuple[Annotated[Text, AfterValidator(host)], ...] = Field(
        default=(), description="Hosts that the URL may have, each by name or with all below it (`*.example.com`)."
    )
    secrets: tuple[Secret, ...] = Field(
        default=(),
        description="Signing secrets, `whsec_…` (HMAC-SHA256) or `whsk_…` (Ed25519). All of them sign: two while one is replaced.",
    )
    unsigned: Bool = Field(default=False, description="Send without a signature, to who cannot verify one.")
    headers: Mapping[Annotated[str, AfterValidator(field)], Secret] = Field(
        default_factory=dict, description="Further header fields, such as `authorization`."
    )
    event: Event | None = Field(default=None, description="Send a CloudEvent instead of the body alone.")
    reply: Literal["receipt", "answer"] = Field(
        default="receipt", description="What the caller gets: that it was taken (202), or the endpoint's own answer."
    )
    most_answer: Size = Field(default=64 << 10, description="Longest answer that is read.")
    connect: Span = Field(default=3.0, description="Longest time until the connection stands, TLS included.")
    allow_networks: tuple[Network, ...] = Field(
        default=(), description="Networks that may be connected to though they are not public. Addresses that a host resolves to count."
    )
    insecure: Bool = Field(default=False, description="Let the URL be http.")
    tls: Tls = Field(default=Tls(), description="TLS towards the endpoint.")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            Endpoint(self.url, self.hosts, insecure=self.insecure)
        except ValueError as error:
            raise ValueError(f"has a 'url' that {error}") from None
        if bool(self.secrets) == self.unsigned:
            raise ValueError("needs 'secrets', or 'unsigned: true' for an endpoint that verifies nothing, and not both")
        return self

    def unusable(self, root: Path) -> Iterator[str]:
        """What is wrong with the secrets that are here already. Files and vaults are read when Lockgate starts."""
        for place, secret in enumerate(self.secrets):
            if secret.here:
                try:
                    signer(secret.reveal(root))
                except ValueError as error:
                    yield f"The webhook's secret number {place + 1} {error}."
