"""How Kafka brokers are reached, and what we show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from router.secret import Secret
from router.settings import Address, Bool, Count, Span, Strict, Text, listed
from router.templates import Line

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
Broker = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$")]
Brokers = Annotated[tuple[Broker, ...], BeforeValidator(listed, json_schema_input_type=Text | tuple[Text, ...]), Field(min_length=1)]
Topic = Annotated[str, Field(pattern=f"^{TOPIC.pattern}$")]
Topics = Annotated[tuple[Topic, ...], BeforeValidator(listed, json_schema_input_type=Text | tuple[Text, ...])]


class Sasl(Strict):
    """A user's name and password."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(description="How they are shown; PLAIN only with TLS.")
    user: Text = Field(description="User name.")
    password: Secret = Field(description="Password.")


class Reached(Strict):
    """Shared by both."""

    brokers: Brokers = Field(description="Brokers that are asked first, `HOST:PORT`; the others are learnt from them.")
    tls: Tls | None = Field(default=None, description="TLS. `ca` instead of the system's authorities, `certificate` and `key` are shown.")
    sasl: Sasl | None = Field(default=None, description="Logging in.")
    insecure: Bool = Field(default=False, description="Speak unencrypted to another machine.")
    connect: Span = Field(default=5.0, description="Longest time until a broker answers that was not there before.")

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        far = next((each for each in self.brokers if not Address(each.rpartition(":")[0].strip("[]"), 0).loopback), None)
        if far is not None and self.tls is None and not self.insecure:
            raise ValueError(
                f"would be spoken to unencrypted at {far}; set 'tls' (`tls: {{}}` trusts the system's authorities), or 'insecure: true'"
            )
        return self

    @model_validator(mode="after")
    def _plain_with_tls(self) -> Self:
        if self.sasl is not None and self.sasl.mechanism == "PLAIN" and self.tls is None:
            raise ValueError("has the mechanism PLAIN without 'tls': the password would be sent as it is")
        if self.tls is not None and self.tls.server_name is not None:
            raise ValueError("has a 'server_name', which brokers cannot have: each is named by its own address")
        return self

    def options(self, root: Path) -> dict[str, Any]:
        """librdkafka's. Secrets are read now. Raises ConfigError."""
        made: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.brokers),
            "client.id": "lockgate",
            "socket.connection.setup.timeout.ms": max(1000, int(self.connect * 1000)),
            "reconnect.backoff.max.ms": 2000,
            "log_level": 0,
        }
        made["security.protocol"] = PROTOCOLS[self.tls is not None, self.sasl is not None]
        if self.tls is not None:
            made |= {name: str(root / path) for name, path in _files(self.tls).items() if path is not None}
        if self.sasl is not None:
            made |= {
                "sasl.mechanism": self.sasl.mechanism,
                "sasl.username": self.sasl.user,
                "sasl.password": self.sasl.password.reveal(root),
            }
        return made


class DestinationConfig(Reached, MessagingConfig):
    """Settings of a `kafka` destination."""

    topic: Line = Field(description="Where messages go, with `{{ expressions }}`.")
    topics: Topics = Field(default=(), description="Where 'topic' has expressions: the topics that they may lead to.")
    key: Line | None = Field(default=None, description="Messages with the same key stay in order, in one partition.")
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(default="none", description="Of what is sent.")

    @model_validator(mode="after")
    def _topics(self) -> Self:
        templated = "{{" in self.topic.source
        if templated != bool(self.topics):
            raise ValueError("needs 'topics' where 'topic' has expressions, and has no use for it elsewhere")
        if not templated and not TOPIC.fullmatch(self.topic.source):
            raise ValueError("has a 'topic' with other characters than letters, digits, '.', '_' and '-'")
        return self


class ConsumerConfig(Reached):
    """Settings of a `kafka` consumer: a member of a consumer group."""

    topics: Topics = Field(min_length=1, description="Topics that are consumed.")
    group: Text = Field(description="The consumer group, which all workers and nodes share.")
    bury: Topic = Field(description="Topic for messages that nobody can handle; not one that is consumed.")
    order: Literal["partition", "key"] = Field(
        default="partition", description="What keeps messages in order: their partition, or there only those with the same key."
    )
    start: Literal["earliest", "latest"] = Field(default="earliest", description="Where a group begins that has no place yet.")
    in_flight: Count = Field(default=1000, description="Messages that one worker has at most; then it fetches no more.")
    commit_every: Span = Field(default=0.2, description="How often the group's place is told to the broker.")
    session: Span = Field(default=45.0, description="After which a worker that is not heard of loses its partitions to others.")
    timeout: Span = Field(default=10.0, description="Longest wait for an answer of the brokers.")

    @model_validator(mode="after")
    def _elsewhere(self) -> Self:
        if self.bury in self.topics:
            raise ValueError("has a 'bury' topic that it consumes: what nobody can handle would come again")
        return self


PROTOCOLS: Mapping[tuple[bool, bool], str] = {
    (False, False): "plaintext",
    (False, True): "sasl_plaintext",
    (True, False): "ssl",
    (True, True): "sasl_ssl",
}


def _files(tls: Tls) -> dict[str, str | None]:
    return {"ssl.ca.location": tls.ca, "ssl.certificate.location": tls.certificate, "ssl.key.location": tls.key}
