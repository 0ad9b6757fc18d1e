"""Settings of an `a2a` destination. Nothing here needs the A2A library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from router.config.identity import SecureUrl
from router.secret import Secret
from router.settings import Bool, Size, Span, Strict, Text
from router.templates import Input

_FIELD = re.compile(r"[a-z0-9-]{1,64}")
_OURS = re.compile(r"a2a-.*|x-lockgate-.*|content-.*|transfer-.*|host|connection|accept.*|traceparent|tracestate|idempotency-key")


def field(value: str) -> str:
    if _FIELD.fullmatch(value) is None or _OURS.fullmatch(value) is not None:
        raise ValueError("must be a header field in lower case that is not one of Lockgate's or the protocol's own")
    return value


class Part(Strict):
    """One part of the message."""

    text: Input | None = Field(default=None, description="Words.")
    data: Input | None = Field(default=None, description="A JSON value.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.text is None) == (self.data is None):
            raise ValueError("needs 'text' or 'data', and not both")
        return self


class Config(MessagingConfig):
    """Beside what every destination for messages has."""

    url: SecureUrl = Field(
        description="Where the agent is: its card is below, and what the card names must be of the same scheme, host and port."
    )
    card: Annotated[Text, Field(pattern="^/")] = Field(default="/.well-known/agent-card.json", description="The card's path, below `url`.")
    skill: Text | None = Field(default=None, description="A skill that the card must name.")
    parts: tuple[Part, ...] = Field(
        default=(), description="The message's parts. Without any there is one: what `input` makes, or the body, as words or as JSON."
    )
    recheck: Span = Field(default=300.0, description="How long what the card said is taken to hold.")
    poll: Span = Field(default=1.0, description="Longest pause between two looks at a task; the first ones are shorter.")
    timeout: Span = Field(default=60.0, description="Longest time for one request: until the task has ended, retries included.")
    headers: Mapping[Annotated[str, AfterValidator(field)], Secret] = Field(
        default_factory=dict, description="Further header fields, such as `authorization`."
    )
    deduplicates: Bool = Field(default=False, description="The agent acts once on a message's id, so that any request may be repeated.")
    connect: Span = Field(default=3.0, description="Longest time until a connection stands.")
    most_answer: Size = Field(default=1 << 20, description="Longest answer that is read.")
    tls: Tls = Field(default=Tls(), description="TLS towards the agent.")

    @model_validator(mode="after")
    def _one_mapping(self) -> Self:
        if self.parts and self.input is not None:
            raise ValueError("has 'input' and 'parts'; one of them makes the message")
        return self
