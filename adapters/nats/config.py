"""How a NATS server is reached, and what we show it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from router.secret import Secret
from router.settings import Address, Bool, Count, Span, Strict, Text, listed
from router.templates import Line

SCHEMES = ("nats", "tls")
WORD = r"^[^\s.*>/\\]+$"
SUBJECT = r"^[^\s.*>]+(\.[^\s.*>]+)*$"
FILTER = r"^([^\s.*>]+|\*)(\.([^\s.*>]+|\*))*(\.>)?$|^>$"
ORDER = re.compile(r"subject|header:[a-z0-9-]{1,64}")


def server(value: str) -> str:
    """A validator never repeats the value it refuses."""
    parts = urlsplit(value)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError("must be a URL such as nats://127.0.0.1:4222 or tls://nats.example.com:4222")
    if parts.username or parts.password:
        raise ValueError("must have no user or password in it: 'user' and 'password' are settings of their own")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must have no path or query")
    try:
        port = parts.port or 4222
    except ValueError:
        raise ValueError("must have a port between 1 and 65535") from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def ordering(value: str) -> str:
    if not ORDER.fullmatch(value):
        raise ValueError("must be subject, or header:NAME with a name in lower case")
    return value


Server = Annotated[str, AfterValidator(server)]
Servers = Annotated[tuple[Server, ...], BeforeValidator(listed, json_schema_input_type=Text | tuple[Text, ...]), Field(min_length=1)]
Word = Annotated[str, Field(pattern=WORD, max_length=255)]
Subject = Annotated[str, Field(pattern=SUBJECT, max_length=512)]
Filter = Annotated[str, Field(pattern=FILTER, max_length=512)]
Filters = Annotated[tuple[Filter, ...], BeforeValidator(listed, json_schema_input_type=Text | tuple[Text, ...])]


class Reached(Strict):
    """Shared by both; one way to log in at most."""

    servers: Servers = Field(
        description="URLs of the servers, tried in turn. `tls://`, or `tls`, asks for TLS: without it nothing is sent."
    )
    tls: Tls | None = Field(default=None, description="`ca` besides the system's authorities, `certificate` and `key` that are shown.")
    handshake_first: Bool = Field(default=False, description="TLS before the server's first word, where the server is set up so.")
    user: Text | None = Field(default=None, description="User name.")
    password: Secret | None = Field(default=None, description="The user's password.")
    token: Secret | None = Field(default=None, description="Token, instead of a user.")
    nkey: Secret | None = Field(default=None, description="Seed of an NKEY (`SU…`): the server's nonce is signed, the seed never sent.")
    credentials: Secret | None = Field(default=None, description="A `.creds` file's text: a user's JWT and its NKEY seed.")
    inbox: Subject = Field(default="_INBOX", description="Prefix of the subjects where answers are awaited.")
    insecure: Bool = Field(default=False, description="Speak unencrypted to another machine.")
    connect: Span = Field(default=3.0, description="Longest time until a connection stands.")

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("needs 'user' and 'password' together")
        if sum(each is not None for each in (self.user, self.token, self.nkey, self.credentials)) > 1:
            raise ValueError("has more than one of 'user', 'token', 'nkey' and 'credentials'")
        return self

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        far = next((each for each in self.servers if not Address(urlsplit(each).hostname or "", 0).loopback), None)
        if far is not None and not self.secure and not self.insecure:
            raise ValueError(f"would be spoken to unencrypted at {far}; use tls://, set 'tls' (`tls: {{}}`), or 'insecure: true'")
        return self

    @property
    def secure(self) -> bool:
        return self.tls is not None or self.handshake_first or any(each.startswith("tls://") for each in self.servers)


class DestinationConfig(Reached, MessagingConfig):
    """Settings of a `nats` destination."""

    subject: Line = Field(description="Where messages go, with `{{ expressions }}`; no expression's value may add a level, or a wildcard.")
    mode: Literal["stream", "request"] = Field(
        default="stream",
        description="`stream`: a JetStream stream keeps the message. `request`: a service answers, and its answer is ours.",
    )
    stream: Word | None = Field(default=None, description="For `stream`: the stream that must take it; any that has the subject otherwise.")

    @model_validator(mode="after")
    def _stream_for_streams(self) -> Self:
        if self.mode == "request" and self.stream is not None:
            raise ValueError("has a 'stream', which requests do not go to")
        return self


class ConsumerConfig(Reached):
    """Settings of a `nats` consumer: a durable pull consumer of a JetStream stream."""

    stream: Word = Field(description="The stream.")
    durable: Word = Field(description="Name of the durable consumer, which all workers and nodes share.")
    subjects: Filters = Field(default=(), description="Only messages of these subjects, wildcards allowed; all of the stream's otherwise.")
    bury: Subject = Field(description="Subject for messages that nobody can handle. A stream must keep it; not the one that is consumed.")
    order: Annotated[str, AfterValidator(ordering)] | None = Field(
        default=None,
        description="What keeps messages in order: `subject`, or `header:NAME`. JetStream then hands out one at a time, over all workers.",
    )
    ack_wait: Span = Field(default=30.0, description="After which JetStream hands a message to another, of whose worker it heard nothing.")
    in_flight: Count = Field(default=1000, description="Messages that may be handed out and not acknowledged, over all workers.")
    create: Bool = Field(default=True, description="Make the durable consumer where there is none.")
    domain: Word | None = Field(default=None, description="JetStream domain.")
    timeout: Span = Field(default=5.0, description="Longest wait for an answer of the server.")

    @property
    def api(self) -> str:
        return f"$JS.{self.domain}.API" if self.domain else "$JS.API"

    @property
    def most_pending(self) -> int:
        return 1 if self.order else self.in_flight
