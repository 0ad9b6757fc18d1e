"""What several nodes keep together, on a server that all of them reach."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from router.secret import Secret
from router.settings import Bool, Count, Listen, Span, Strict, Text

PREFIX = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
LONGEST_WAIT_S = 0.1
LONGEST_LOOK_S = 0.025
SHORTEST_TURN_S, LONGEST_TURN_S = 0.05, 10.0


def key_prefix(value: str) -> str:
    # Braces would make a cluster put all keys in one place.
    if not PREFIX.fullmatch(value):
        raise ValueError("must be at most 64 letters, digits, '.', '_', ':', '/' and '-'")
    return value


def brief(seconds: float) -> float:
    if seconds > LONGEST_WAIT_S:
        raise ValueError("must be at most 100ms, for every request may wait that long")
    return seconds


class RedisTls(Strict):
    """How servers prove who they are, and we to them. PEM files, relative to the configuration file."""

    ca: Text | None = Field(default=None, description="Authorities that the servers' certificates are from; without this the system's.")
    certificate: Text | None = Field(default=None, description="Certificate that is shown to the servers (mTLS).")
    key: Text | None = Field(default=None, description="Its private key.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("must have 'certificate' and 'key' together")
        return self


class RedisSentinel(Strict):
    """Servers that know which of several Redis servers is the master now."""

    nodes: tuple[Listen, ...] = Field(min_length=1, description="The sentinels, each `HOST:PORT`; one that answers is enough.")
    master: Text = Field(description="Name of the master, as the sentinels know it.")
    username: Text | None = Field(default=None, description="User at the sentinels, where they ask for one.")
    password: Secret | None = Field(default=None, description="Its password, `${NAME}` or `{file: PATH}`.")


class OnFailure(Strict):
    """What happens to requests while the server does not answer."""

    limits: Literal["local", "deny"] = Field(
        default="local",
        description="Rate limits: `local` counts in each worker by its share, as without a server, so that N nodes let through up to N "
        "times as much; `deny` refuses with 503 (`limits_unavailable`).",
    )
    quotas: Literal["local", "deny"] = Field(
        default="deny",
        description="Policy's quotas: `deny` refuses with 503 (`policy_rate_limit_unavailable`); `local` has each node count for itself, "
        "from nothing.",
    )


def often(seconds: float) -> float:
    if not SHORTEST_TURN_S <= seconds <= LONGEST_TURN_S:
        raise ValueError("must be between 50ms and 10s")
    return seconds


class SharedCircuits(Strict):
    """Upstreams that fail are left alone by all nodes."""

    interval: Annotated[Span, AfterValidator(often)] = Field(
        default=0.2,
        description="How often each worker tells and asks, 50ms to 10s; no request waits for it. After at most two of these, and twice "
        "`timeout`, all know.",
    )


def short(seconds: float) -> float:
    if seconds > LONGEST_LOOK_S:
        raise ValueError("must be at most 25ms, for every text that is not known may wait that long")
    return seconds


class SharedClassifications(Strict):
    """Classifiers' answers that one node has are used by all. Needs `key`, by which they are sealed, and texts' digests made."""

    tiers: tuple[Literal["llm", "encoder"], ...] = Field(
        default=("llm",),
        min_length=1,
        description="Whose answers: `llm`, the language model's; `encoder`, which is worth it for encoders that take longer than a look.",
    )
    keep: Span = Field(default=86400.0, description="For how long an answer is used after it was given.")
    wait: Annotated[Span, AfterValidator(short)] = Field(
        default=0.005, description="Longest time that one text waits for another node's answer, at most 25ms; then the model is run."
    )


class RedisSettings(Strict):
    """Shared state adapter `redis`: Redis 6.2 or newer, or a server that speaks as it does. Needs `pip install 'lockgate[redis]'`."""

    server: Listen | None = Field(default=None, description="One server, `HOST:PORT`. Exactly one of `server`, `sentinel` and `cluster`.")
    sentinel: RedisSentinel | None = Field(default=None, description="The master of a group that sentinels watch.")
    cluster: tuple[Listen, ...] = Field(default=(), description="Some nodes of a Redis cluster, `HOST:PORT`; the others are found.")
    username: Text | None = Field(default=None, description="User (ACL); without this Redis' user `default`.")
    password: Secret | None = Field(default=None, description="Its password, `${NAME}` or `{file: PATH}`.")
    tls: RedisTls | None = Field(default=None, description="Speak TLS; `{}` trusts the system's authorities.")
    insecure: Bool = Field(default=False, description="Speak unencrypted to another machine.")
    prefix: Annotated[Text, AfterValidator(key_prefix)] = Field(
        default="lockgate", description="Start of every key. Nodes that share have the same; who shares a server and nothing else, another."
    )
    key: Secret | None = Field(
        default=None,
        description="Secret that is mixed into the digests by which callers are named there, `${NAME}` or `{file: PATH}`; without it, who "
        "reads the server can recognise a name that he guesses. The same on every node.",
    )
    previous_key: Secret | None = Field(
        default=None,
        description="The `key` before this one, until every node has the new one and what was kept under the former is over: all is kept "
        "under both, so that nodes with either agree.",
    )
    timeout: Annotated[Span, AfterValidator(brief)] = Field(
        default=0.025, description="Longest time that one request waits for an answer, at most 100ms. Connecting keeps no request waiting."
    )
    connect_within: Span = Field(default=1.0, description="Longest time to connect, with TLS and login; no request waits for it.")
    failures: Count = Field(default=3, description="After so many late answers in a row nobody asks until a new connection stands.")
    retry: Span = Field(default=0.5, description="Pause between attempts to connect; no request waits for it.")
    on_failure: OnFailure = Field(default=OnFailure(), description="What happens to requests while the server does not answer.")
    circuits: SharedCircuits | None = Field(
        default=None, description="Workers tell each other of upstreams that fail (`circuits: {}`). Off unless this is set."
    )

    classifications: SharedClassifications | None = Field(
        default=None, description="Nodes use each other's classifications (`classifications: {}`). Off unless this is set."
    )

    @model_validator(mode="after")
    def _sealed(self) -> Self:
        if self.classifications is not None and self.key is None:
            raise ValueError("must have a 'key' for 'classifications', which are sealed with it")
        return self

    @model_validator(mode="after")
    def _exchanged(self) -> Self:
        if self.previous_key is not None and self.key is None:
            raise ValueError("must have the 'key' that takes the place of 'previous_key'")
        if self.previous_key is not None and self.previous_key == self.key:
            raise ValueError("must have another 'previous_key' than 'key'")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum((self.server is not None, self.sentinel is not None, bool(self.cluster))) != 1:
            raise ValueError("must have exactly one of 'server', 'sentinel' and 'cluster'")
        if self.username is not None and self.password is None:
            raise ValueError("must have a 'password' for the 'username'")
        return self

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        named = (*((self.server,) if self.server else ()), *(self.sentinel.nodes if self.sentinel else ()), *self.cluster)
        far = next((each for each in named if not each.loopback), None)
        if far is not None and self.tls is None and not self.insecure:
            raise ValueError(
                f"would be spoken to unencrypted at {far}; set 'tls' (`tls: {{}}` trusts the system's authorities), or 'insecure: true'"
            )
        return self
