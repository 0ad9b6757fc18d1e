"""Settings of destinations and consumers at Amazon."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from adapters.aws.places import far, service_url
from adapters.aws.roles import WebIdentity, check_known_by_one
from adapters.messaging.config import MessagingConfig
from router.secret import Secret
from router.settings import Bool, Count, Size, Span, Strict, Text
from router.templates import Line

LARGEST = 256 << 10


def https_url(value: str) -> str:
    if urlsplit(value).scheme != "https":
        raise ValueError("must be a URL without a path such as https://127.0.0.1:4566")
    return service_url(value)


class Account(Strict):
    """Where a service is, and as whom it is asked."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = Field(description="Region, such as eu-central-1.")
    access_key: Secret | None = Field(
        default=None, description="Access key id, `${NAME}` or `{file: PATH}`; files are read for each request."
    )
    secret_key: Secret | None = Field(default=None, description="Its secret key.")
    session_token: Secret | None = Field(default=None, description="Session token of keys that last a while.")
    web_identity: WebIdentity | None = Field(default=None, description="A role that is assumed with a token, instead of keys.")
    endpoint: Annotated[Text, AfterValidator(service_url)] | None = Field(
        default=None, description="URL of a server that speaks as the service does; the region's own at Amazon without this."
    )
    ca: Text | None = Field(default=None, description="PEM file with authorities that are believed beside the system's.")
    insecure: Bool = Field(default=False, description="Speak unencrypted to another machine.")
    connect: Span = Field(default=3.0, description="Longest time to connect.")

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        places = (self.endpoint, self.web_identity.endpoint if self.web_identity is not None else None)
        if any(far(each) for each in places) and not self.insecure:
            raise ValueError("would be spoken to unencrypted at another machine; use https, or set 'insecure: true'")
        return self

    @model_validator(mode="after")
    def _known_by_one(self) -> Self:
        check_known_by_one(self.access_key, self.secret_key, self.session_token, self.web_identity)
        return self


class Sending(Account, MessagingConfig):
    attributes: Annotated[dict[Text, Line], Field(max_length=5)] = Field(
        default={}, description="Further message attributes, with `{{ expressions }}`; at most five."
    )
    largest: Size = Field(default=LARGEST, description="Longest message that the service takes, with its attributes.")
    act_once: Bool = Field(
        default=False, description="Readers act once on a message id: then a sending that may have arrived is repeated at once."
    )


class SqsConfig(Sending):
    """Destination `sqs`: one message to a queue."""

    queue: Line = Field(description="The queue's URL, with `{{ expressions }}`.")
    group: Line | None = Field(
        default=None, description="For a FIFO queue (`….fifo`): the message group, with `{{ expressions }}`; a group is in order."
    )


class SnsConfig(Sending):
    """Destination `sns`: one message to a topic."""

    topic: Line = Field(description="The topic's ARN, with `{{ expressions }}`.")
    subject: Line | None = Field(default=None, description="Subject, of which e-mails make use.")
    group: Line | None = Field(default=None, description="For a FIFO topic (`….fifo`): the message group, with `{{ expressions }}`.")


class EventBridgeConfig(Account, MessagingConfig):
    """Destination `eventbridge`: one event on a bus."""

    bus: Line = Field(description="Name or ARN of the event bus, with `{{ expressions }}`.")
    source: Line = Field(description="The event's `source`, with `{{ expressions }}`.")
    detail_type: Line = Field(description="The event's `detail-type`, with `{{ expressions }}`.")
    metadata: Text | None = Field(
        default="lockgate",
        description="Field of the detail in which stands what was decided, the trace and the message's id; null for none.",
    )
    largest: Size = Field(default=LARGEST, description="Longest event that the service takes.")
    act_once: Bool = Field(
        default=False, description="Readers act once on a message id: then a sending that may have arrived is repeated at once."
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.act_once and self.metadata is None:
            raise ValueError("has 'act_once' without 'metadata', in which the message's id stands")
        return self


class SqsDeadLetter(Strict):
    """Where messages go that cannot be handled."""

    queue: Text = Field(description="The queue's URL.")


class SqsSource(Account):
    """Event source `sqs`: one queue."""

    queue: Text = Field(description="The queue's URL; messages of a FIFO queue (`….fifo`) are in order within their group.")
    dead_letter: SqsDeadLetter = Field(description="Where messages go that cannot be handled, with the reason in their attributes.")
    wait: Annotated[Span, Field(le=20)] = Field(default=20.0, description="How long one question waits for messages, whole seconds.")
    visibility: Annotated[Span, Field(ge=2, le=43_200)] = Field(
        default=30.0, description="How long a message is ours unless we say more; we do for as long as it is under way."
    )
    timeout: Span = Field(default=10.0, description="Longest time for a question, beside `wait`.")
    prefetch: Count = Field(default=10, le=1000, description="Most messages that wait in this process.")
    topics: tuple[Text, ...] = Field(
        default=(), description="ARNs of SNS topics whose envelope is verified and taken off; not needed for raw delivery."
    )
    unsigned: Bool = Field(
        default=False, description="Take envelopes of `topics` without verifying them: whoever may write to the queue can make them."
    )
    certificates: Annotated[Text, AfterValidator(https_url)] | None = Field(
        default=None, description="URL of a server that stands for SNS, whose certificates sign instead of Amazon's own."
    )
    oldest: Span = Field(default=3600.0, description="How long before it came to the queue an envelope may have been made.")
    event_sources: tuple[Text, ...] = Field(
        default=(), description="`source`s of events of EventBridge whose envelope is taken off; their attributes become a CloudEvent's."
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.dead_letter.queue == self.queue:
            raise ValueError("has a 'dead_letter' that is the queue itself")
        if not self.topics and (self.unsigned or self.certificates is not None):
            raise ValueError("has 'unsigned' or 'certificates' without 'topics'")
        if self.unsigned and self.certificates is not None:
            raise ValueError("has both 'unsigned' and 'certificates': envelopes are verified, or they are not")
        if self.queue.endswith(".fifo") != self.dead_letter.queue.endswith(".fifo"):
            raise ValueError("needs a 'dead_letter' of the same kind as the queue: both FIFO, or neither")
        return self
