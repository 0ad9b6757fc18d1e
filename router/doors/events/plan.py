"""What the door knows of a source, made ready when the configuration is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from router.config.events import SCHEME_NAMES, EventNames, EventSource, Speaker
from router.decision import Subject
from router.doors.events.event import Event, event_key, invalid
from router.doors.events.signatures import Verifier
from router.errors import RefusedError
from router.templates import InputTemplate, TextTemplate, UnmappedError

_NOTHING: Mapping[str, Any] = {"decision": {}, "subject": {}, "trace": {}, "request": {}}


class Notices(Protocol):
    """Envelopes that are signed with a certificate which has to be fetched."""

    async def read(self, body: bytes, now_s: float) -> tuple[bytes, dict[str, str]] | None:
        """Content and fields, of what was signed; None for what is no event and was seen to. Raises RefusedError."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source. Where neither is there a credential, or the broker, says who sent an event. `taken`: what other sources of ours `claim`,
    without what this one does."""

    name: str
    settings: EventSource
    verifier: Verifier | None = None
    notices: Notices | None = None
    taken: frozenset[str] = frozenset()
    always: Subject | None = field(init=False, compare=False)
    """For whom each of its events speaks, where no event has to be looked into for that."""
    given: frozenset[str] = field(init=False, compare=False)
    """What the source, and no sender, names its events by."""
    _own: re.Pattern[str] | None = field(init=False, compare=False)
    _others: re.Pattern[str] | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", _given(self))
        object.__setattr__(self, "_own", _any_of(self.settings.event_sources))
        object.__setattr__(self, "_others", _any_of(sorted(self.taken)))
        object.__setattr__(self, "always", _always(self.settings.speaks_for, self._known_by))

    @property
    def path(self) -> str:
        return f"/events/{self.name}"

    @property
    def credential(self) -> bool:
        """Whether its senders say by a credential who they are."""
        return self.verifier is None and self.notices is None

    @property
    def names(self) -> EventNames | None:
        signature = self.settings.signature
        return self.settings.names or (SCHEME_NAMES.get(signature.scheme) if signature is not None else None)

    @property
    def claims(self) -> frozenset[str]:
        """CloudEvents `source` that are this source's own, `*` for any text: those that its events may have, where they are said, and what
        it names its events by. What may be anything is nobody's."""
        return self.given.union(each for each in self.settings.event_sources if each.strip("*"))

    @property
    def answers_challenges(self) -> bool:
        return self.settings.signature is not None and self.settings.signature.scheme == "slack"

    def check(self, event: Event) -> None:
        """A CloudEvent's source is written by who sends it, rules go by it, and with its id it makes two events the same: nobody may have
        what is another's. Raises RefusedError `event_invalid`."""
        source = event.named.source
        if source in self.given:
            return
        if self._own is not None:
            if self._own.fullmatch(source) is None:
                raise invalid(f"The event's source is none of the 'event_sources' of '{self.name}'.")
        elif self._others is not None and self._others.fullmatch(source) is not None:
            raise invalid(f"The event's source is another's; where '{self.name}' is to have it, it needs 'event_sources' that say so.")

    def speaker(self, event: Event) -> Subject | None:
        """None where the caller is the subject. Raises RefusedError `event_invalid` where the event does not say for whom it speaks."""
        wanted = self.settings.speaks_for
        if wanted is None:
            return None
        return self.always if self.always is not None else _subject(wanted, event, self._known_by)

    def key(self, event: Event, subject: Subject) -> bytes:
        """By which the same event is known when it comes again."""
        return event_key(subject.tenant, event.named, subject.id if self.settings.speaks_for is None else None)

    def order(self, event: Event, broker: bytes) -> bytes:
        """What the event's delivery has in common with those that it must not overtake; empty where it may. Raises RefusedError."""
        told = b"" if self.settings.order is None else _filled(self.settings.order, event).encode()
        kept = broker if self.settings.ordered else b""
        if not told and not kept:
            return b""
        return hashlib.sha256(b"\x00".join((self.name.encode(), kept, told))).digest()

    @property
    def _known_by(self) -> str:
        return "signature" if self.settings.signature is not None else "broker"


def _given(plan: SourcePlan) -> frozenset[str]:
    names, signature = plan.names, plan.settings.signature
    if names is None:
        return frozenset()
    if names.source is None:
        return frozenset({plan.path})
    if plan.settings.names is None and signature is not None:
        return frozenset(signature.topics)
    always = constant(names.source)
    return frozenset() if always is None else frozenset({always})


def _any_of(patterns: Sequence[str]) -> re.Pattern[str] | None:
    written = (".*".join(re.escape(text) for text in each.split("*")) for each in patterns)
    return re.compile("|".join(written)) if patterns else None


def _always(wanted: Speaker | None, known_by: str) -> Subject | None:
    if wanted is None or any(constant(each) is None for each in (wanted.subject, wanted.tenant) if each is not None):
        return None
    try:
        return _subject(wanted, Event({}, b"", ""), known_by)
    except RefusedError:  # no text that names anybody: each event is told so
        return None


def _subject(wanted: Speaker, event: Event, known_by: str) -> Subject:
    tenant = None if wanted.tenant is None else _filled(wanted.tenant, event)
    return Subject(_filled(wanted.subject, event), wanted.type, wanted.roles, wanted.groups, tenant, {}, known_by)


def _filled(template: TextTemplate, event: Event) -> str:
    try:
        return template.fill(document_of(event) if constant(template) is None else _NOTHING)
    except UnmappedError as error:
        raise invalid(f"The event lacks what its source is configured to look for: {error}.") from None


def constant(template: InputTemplate) -> str | None:
    return template.source if isinstance(template.source, str) and "{{" not in template.source else None


def document_of(event: Event) -> dict[str, Any]:
    """What templates see of an event."""
    kind = event.content_type.partition(";")[0].strip().lower()
    body: Any = None
    if kind == "application/json" or kind.endswith("+json"):
        try:
            body = orjson.loads(event.content) if event.content else None
        except orjson.JSONDecodeError:
            body = None
    return {**_NOTHING, "event": event.attributes, "body": body}
