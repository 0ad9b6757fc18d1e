"""Settings of Redis Streams as a destination and as an event source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from adapters.messaging.config import MessagingConfig
from router.config.shared_state import RedisSentinel, RedisTls
from router.secret import Secret
from router.settings import Bool, Count, Listen, Span, Strict, Text
from router.templates import Line


class Servers(Strict):
    """Where Redis is, 6.2 or newer or a server that speaks as it does, and as whom it is asked."""

    server: Listen | None = Field(default=None, description="One server, `HOST:PORT`. Exactly one of `server`, `sentinel` and `cluster`.")
    sentinel: RedisSentinel | None = Field(default=None, description="The master of a group that sentinels watch.")
    cluster: tuple[Listen, ...] = Field(default=(), description="Some nodes of a Redis cluster, `HOST:PORT`; the others are found.")
    username: Text | None = Field(default=None, description="User (ACL); without this Redis' user `default`.")
    password: Secret | None = Field(default=None, description="Its password, `${NAME}` or `{file: PATH}`, read for each connection.")
    tls: RedisTls | None = Field(default=None, description="Speak TLS; `{}` trusts the system's authorities.")
    insecure: Bool = Field(default=False, description="Speak unencrypted to another machine.")
    connect_within: Span = Field(default=1.0, description="Longest time to connect, with TLS and login.")
    retry: Span = Field(default=0.5, description="Pause between attempts to connect.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum((self.server is not None, self.sentinel is not None, bool(self.cluster))) != 1:
            raise ValueError("must have exactly one of 'server', 'sentinel' and 'cluster'")
        if self.username is not None and self.password is None:
            raise ValueError("must have a 'password' for the 'username'")
        named = (*((self.server,) if self.server else ()), *(self.sentinel.nodes if self.sentinel else ()), *self.cluster)
        far = next((each for each in named if not each.loopback), None)
        if far is not None and self.tls is None and not self.insecure:
            raise ValueError(
                f"would be spoken to unencrypted at {far}; set 'tls' (`tls: {{}}` trusts the system's authorities), or 'insecure: true'"
            )
        return self


class StreamConfig(Servers, MessagingConfig):
    """Destination `redis-stream`: one entry of a stream. Needs `pip install 'lockgate[redis]'`."""

    stream: Line = Field(description="The stream's key, with `{{ expressions }}`.")
    fields: dict[Text, Line] = Field(default={}, description="Further fields of the entry, with `{{ expressions }}`.")
    keep: Count | None = Field(default=None, description="About so many entries are kept in the stream (`MAXLEN ~`); all without this.")
    remember: Span = Field(default=86_400.0, description="How long a message's id is known, so that another of it is the same.")


class StreamSource(Servers):
    """Event source `redis-stream`: a consumer group of one stream. Needs `pip install 'lockgate[redis]'`."""

    stream: Text = Field(description="The stream's key.")
    group: Text = Field(default="lockgate", description="The consumer group; made where it is missing.")
    begin: Literal["new", "all"] = Field(
        default="new", description="What a group gets that is made: what comes from now on, or all there is."
    )
    dead_letter: Text = Field(description="Key of the stream where entries go that cannot be handled; in a cluster in the same slot.")
    content: Text = Field(default="body", description="Field that is the content; an entry without it is its fields, as a JSON object.")
    idle: Annotated[Span, Field(ge=1)] = Field(
        default=30.0,
        description="After so long without a sign of who has an entry, another takes it; a sign is given for as long as it is here.",
    )
    prefetch: Count = Field(default=64, le=1000, description="Most entries that are read at once.")
    timeout: Span = Field(default=5.0, description="Longest time for one question.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.dead_letter == self.stream:
            raise ValueError("has a 'dead_letter' that is the stream itself")
        return self
