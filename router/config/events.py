"""The event door: sources over HTTP and from brokers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from router.config.blocks import AdapterBlock
from router.config.listeners import visible_header
from router.config.tls import MutualTls
from router.secret import Secret
from router.settings import Address, Bool, Count, Listen, Name, Network, Size, Span, Strict, Text
from router.templates import Line, TextTemplate

TIMED = frozenset(("standard-webhooks", "stripe", "slack"))  # schemes that sign when, and take it within `tolerance`
Scheme = Literal["standard-webhooks", "github", "stripe", "slack", "hmac", "sns"]


def https_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError("must be a URL without a path such as https://127.0.0.1:4566")
    return value


class Signature(Strict):
    """How a sender over HTTP is known: by a signature over the bytes that it sent."""

    scheme: Scheme = Field(description="Whose way of signing; `hmac` is an HMAC-SHA256 over the body in a header field, `sns` is Amazon's.")
    secrets: tuple[Secret, ...] = Field(
        default=(), description="Secrets any of which may have signed, so that they can be exchanged; `whpk_…` is a public key."
    )
    tolerance: Span = Field(default=300.0, description="How far the signed time may be from ours.")
    header: Annotated[str, AfterValidator(visible_header)] | None = Field(default=None, description="For `hmac`: the header field.")
    prefix: str = Field(default="", description="For `hmac`: what stands before the signature in the field, such as `sha256=`.")
    encoding: Literal["hex", "base64"] = Field(default="hex", description="For `hmac`: how the signature is written.")
    topics: tuple[Text, ...] = Field(default=(), description="For `sns`: ARNs of the topics that may send.")
    certificates: Annotated[Text, AfterValidator(https_url)] | None = Field(
        default=None, description="For `sns`: URL of a server that stands for SNS, whose certificates sign instead of Amazon's own."
    )
    ca: Text | None = Field(
        default=None,
        description="For `sns`: PEM file with authorities that are believed beside the system's, of who hands out certificates.",
    )

    @model_validator(mode="after")
    def _header_for_hmac(self) -> Self:
        if (self.scheme == "hmac") != (self.header is not None):
            raise ValueError("needs a 'header' where the scheme is hmac, and has one only there")
        return self

    @model_validator(mode="after")
    def _known_by_something(self) -> Self:
        if (self.scheme == "sns") == bool(self.secrets):
            raise ValueError("needs 'secrets', but for the scheme sns, whose certificates are public")
        if (self.scheme == "sns") != bool(self.topics):
            raise ValueError("needs 'topics' where the scheme is sns, and has them only there")
        if self.scheme != "sns" and (self.certificates is not None or self.ca is not None):
            raise ValueError("has 'certificates' or 'ca', which are for the scheme sns alone")
        return self


class EventNames(Strict):
    """What names an event that is no CloudEvent."""

    id: Line = Field(description="What is the same when the event is sent again, with `{{ expressions }}` over body and request.")
    type: Line = Field(description="What happened.")
    source: Line | None = Field(default=None, description="Where; the path of the source's listener unless it is given.")


class Speaker(Strict):
    """Who events speak for. A broker's or a signature's secret says that the source sent them, and this who that is."""

    subject: Line = Field(description="The subject's id.")
    type: Name = Field(default="service", description="The subject's type.")
    tenant: Line | None = Field(default=None, description="The subject's tenant.")
    roles: tuple[Text, ...] = Field(default=(), description="The subject's roles.")
    groups: tuple[Text, ...] = Field(default=(), description="The subject's groups.")


class EventSource(Strict):
    """Where events come from: a sender over HTTP (`POST /events/NAME`) or, with `consume`, a broker."""

    signature: Signature | None = Field(default=None, description="Over HTTP: what events must be signed with, instead of a credential.")
    consume: AdapterBlock | None = Field(default=None, description="The broker's queue, topic or stream.")
    names: EventNames | None = Field(default=None, description="For what is no CloudEvent; the schemes of others have names of their own.")
    event_sources: tuple[Text, ...] = Field(
        default=(),
        description="CloudEvents `source` that its events may have, `*` for any text; without this any but what is another "
        "source's of ours.",
    )
    speaks_for: Speaker | None = Field(default=None, description="Who the events speak for; over HTTP with a credential it is the caller.")
    attempts: Count = Field(default=5, description="Times a broker's message is taken that cannot be handled, before it is put aside.")
    pause: Span = Field(default=1.0, description="Wait before a message is taken again that could not be handled.")
    concurrency: Count = Field(default=64, description="Events of this source under way at once, in one worker.")
    ordered: Bool = Field(
        default=False, description="Decide and deliver in the broker's order what it keeps in one (a partition, a group)."
    )
    order: Line | None = Field(
        default=None, description="Deliver events for which this is the same one after the other, such as `{{ event.subject }}`."
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.signature is not None and self.consume is not None:
            raise ValueError("has both 'signature' and 'consume'; a source is one or the other")
        if (self.signature is None and self.consume is None) != (self.speaks_for is None):
            raise ValueError("needs 'speaks_for' with 'signature' or 'consume', and without them the caller's credential says who speaks")
        if self.signature is not None and self.signature.scheme == "hmac" and self.names is None:
            raise ValueError("needs 'names': an hmac over a body says nothing of what makes two events the same")
        if self.ordered and self.consume is None:
            raise ValueError("has 'ordered' without 'consume': requests over HTTP have no order")
        return self


class EventsConfig(Strict):
    """Events in. What is acknowledged is decided once, on record, and delivered at least once."""

    listen: Listen | None = Field(default=Address("127.0.0.1", 8083), description="Where senders post events; `null` for brokers alone.")
    tls: MutualTls | None = Field(default=None, description="Certificate and key; served unencrypted without.")
    allow: tuple[Network, ...] = Field(default=(), description="Networks that senders may be in; any where none is named.")
    deny: tuple[Network, ...] = Field(default=(), description="Networks that senders may not be in, also within what is allowed.")
    remember: Span = Field(
        default=7 * 86400.0,
        description="How long an event is known, so that another of its id is the same; at least twice each `tolerance`.",
    )
    body: Size = Field(default=1 << 20, description="Longest event.")
    most_pending: Count = Field(default=100_000, description="Deliveries that may wait; while there are more, no events are taken.")
    sources: Mapping[Name, EventSource] = Field(min_length=1, description="Where events come from, by name.")

    @model_validator(mode="after")
    def _known_as_long_as_taken(self) -> Self:
        """A signed time may be ahead of ours by as much as it may be behind: so long what is sent once more has to be known."""
        for name, source in self.sources.items():
            signed = source.signature
            if signed is not None and signed.scheme in TIMED and self.remember < 2 * signed.tolerance:
                least = f"{2 * signed.tolerance:g}s"
                raise ValueError(
                    f"has 'remember' below {least}, twice the 'tolerance' of '{name}': what is replayed would be decided again"
                )
        return self


SCHEME_NAMES: Mapping[str, EventNames] = {
    scheme: EventNames(id=TextTemplate(key), type=TextTemplate(kind))
    for scheme, key, kind in (
        ("standard-webhooks", "{{ request.headers['webhook-id'] }}", "{{ body.type|default('webhook') }}"),
        ("github", "{{ request.headers['x-github-delivery'] }}", "{{ request.headers['x-github-event'] }}"),
        ("stripe", "{{ body.id }}", "{{ body.type }}"),
        ("slack", "{{ body.event_id }}", "{{ body.event.type|default(body.type) }}"),
    )
} | {
    "sns": EventNames(
        id=TextTemplate("{{ request.headers['sns-message-id'] }}"),
        type=TextTemplate("notification"),
        source=TextTemplate("{{ request.headers['sns-topic'] }}"),
    )
}
