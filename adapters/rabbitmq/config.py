"""Settings of RabbitMQ's destination and consumer."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from adapters.messaging.config import MessagingConfig
from router.secret import Secret
from router.settings import Bool, Count, Duration, Listen, Span, Strict, Text
from router.templates import Line


class RabbitTls(Strict):
    """PEM files, relative to the configuration file; without `ca` the system's authorities."""

    ca: Text | None = Field(default=None, description="Authorities that the brokers' certificates are from, beside the system's.")
    certificate: Text | None = Field(default=None, description="Certificate that is shown to the broker (mTLS).")
    key: Text | None = Field(default=None, description="Its private key.")
    server_name: Text | None = Field(default=None, description="Name that the broker's certificate must carry; the host without this.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("must have 'certificate' and 'key' together")
        return self


class Broker(Strict):
    """Where the broker is, and as whom it is spoken to."""

    servers: tuple[Listen, ...] = Field(min_length=1, description="Nodes of the broker, each `HOST:PORT`; the first that answers is used.")
    vhost: Text = Field(default="/", description="Virtual host.")
    username: Text | None = Field(default=None, description="User; without one the certificate of `tls` says who we are (EXTERNAL).")
    password: Secret | None = Field(
        default=None, description="Its password, `${NAME}` or `{file: PATH}`; a file is read for each connection."
    )
    tls: RabbitTls | None = Field(default=None, description="Speak TLS; `{}` trusts the system's authorities.")
    insecure: Bool = Field(default=False, description="Speak unencrypted to another machine.")
    connect_within: Span = Field(default=3.0, description="Longest time to connect to one node, with TLS and login.")
    heartbeat: Annotated[int, Field(ge=1, le=600)] = Field(
        default=10, description="Seconds after which a silent connection is asked whether it still stands."
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("must have 'username' and 'password' together")
        if self.username is None and (self.tls is None or self.tls.certificate is None):
            raise ValueError("needs 'username' and 'password', or a 'certificate' in 'tls' to log in with")
        far = next((each for each in self.servers if not each.loopback), None)
        if far is not None and self.tls is None and not self.insecure:
            raise ValueError(
                f"would be spoken to unencrypted at {far}; set 'tls' (`tls: {{}}` trusts the system's authorities), or 'insecure: true'"
            )
        return self


class Config(Broker, MessagingConfig):
    """Destination `rabbitmq`: publishes to an exchange, and waits for the broker's confirm. Needs `pip install 'lockgate[rabbitmq]'`."""

    exchange: Line | None = Field(default=None, description="Exchange, with `{{ expressions }}`; without one the default exchange.")
    routing_key: Line = Field(description="Routing key, with `{{ expressions }}`; for the default exchange the queue's name.")
    headers: dict[Text, Line] = Field(default={}, description="Further header fields of the message, with `{{ expressions }}`.")
    act_once: Bool = Field(
        default=False,
        description="Readers, or a plugin, act once on a message id: then a sending that may have arrived is repeated at once.",
    )


class DeadLetter(Strict):
    """Where messages go that cannot be handled. It must lead to a queue."""

    exchange: str = Field(default="", description="Exchange; empty for the default one.")
    routing_key: Text = Field(description="Routing key; for the default exchange the queue's name.")


class Declared(Strict):
    """The queue as it must be: made where it is missing, and refused where it is another."""

    type: Literal["quorum", "classic"] = Field(default="quorum", description="Kind of queue; durable in any case.")
    arguments: dict[Text, Text | int | bool] = Field(default={}, description="Further arguments (`x-…`) that it has.")


class ConsumerConfig(Broker):
    """Event source `rabbitmq`: one queue. Needs `pip install 'lockgate[rabbitmq]'`."""

    queue: Text = Field(description="Queue.")
    dead_letter: DeadLetter = Field(description="Where messages go that cannot be handled, with the reason in their header.")
    prefetch: Count = Field(default=64, le=65_535, description="Most messages that the broker hands to this process unacknowledged.")
    declare: Declared | None = Field(default=None, description="Make the queue, or hold it to this; without it, it must be there.")
    ordered: Bool = Field(
        default=False, description="One process at a time reads the queue (single active consumer), in its order. Needs `declare`."
    )
    hold: Duration = Field(
        default=10.0,
        description="Waits up to this, and all of an ordered queue, are in this process; longer ones in a retry queue of the broker.",
    )

    @model_validator(mode="after")
    def _held(self) -> Self:
        if self.ordered and self.declare is None:
            raise ValueError("needs 'declare' with 'ordered', for only so the broker says that the queue has a single active consumer")
        if self.dead_letter.exchange == "" and self.dead_letter.routing_key == self.queue:
            raise ValueError("has a 'dead_letter' that is the queue itself")
        return self
