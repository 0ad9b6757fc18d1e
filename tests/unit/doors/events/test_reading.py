"""What becomes an event, from HTTP and from brokers, and what does not."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.events import SCHEME_NAMES, EventNames, EventSource, Speaker
from router.decision import EventSource as Named
from router.doors.events.event import Event, event_key
from router.doors.events.plan import SourcePlan
from router.doors.events.reading import read_message, read_posted
from router.errors import RefusedError
from router.ports import Headers, Incoming
from router.secret import Secret

STRUCTURED = b"application/cloudevents+json"
EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created", "subject": "o-1", "data": {"amount": 3}}
NAMES = EventNames.model_validate({"id": "{{ body.id }}", "type": "order.{{ body.kind }}"})


def posted(headers: Headers, body: bytes, names: EventNames | None = None) -> list[Event]:
    return read_posted(headers, body, names, "/events/shop")


def refusal(headers: Headers, body: bytes, names: EventNames | None = None) -> tuple[str, int]:
    with pytest.raises(RefusedError) as refused:
        posted(headers, body, names)
    return refused.value.code, refused.value.status


def test_an_event_means_the_same_structured_binary_and_in_a_batch() -> None:
    structured = posted([(b"content-type", STRUCTURED)], orjson.dumps(EVENT))
    batch = posted([(b"content-type", b"application/cloudevents-batch+json")], orjson.dumps([EVENT]))
    fields: Headers = [(f"ce-{name}".encode(), str(EVENT[name]).encode()) for name in ("specversion", "id", "source", "type", "subject")]
    binary = posted([(b"content-type", b"application/json"), *fields], b'{"amount": 3}')
    assert structured == batch
    assert [(each.content, each.content_type, dict(each.attributes)) for each in binary] == [
        (each.content, each.content_type, dict(each.attributes)) for each in structured
    ]
    assert structured[0].named == Named("/shop", "7")


def test_the_fields_of_an_event_are_ones_that_http_can_carry_and_read_back_as_they_were() -> None:
    told = {**EVENT, "subject": 'ä "50 %"', "priority": 3, "urgent": True}
    (event,) = posted([(b"content-type", STRUCTURED)], orjson.dumps(told))
    fields = [(name.encode(), value.encode("ascii")) for name, value in event.fields()]
    (again,) = posted([(b"content-type", b"application/json"), *fields], event.content)
    assert again.attributes == event.attributes
    assert (event.attributes["priority"], event.attributes["urgent"]) == ("3", "true")


def test_data_that_is_no_json_stays_as_it_is() -> None:
    text = {**EVENT, "datacontenttype": "text/plain", "data": "cancel 4711"}
    raw = {name: value for name, value in EVENT.items() if name != "data"} | {"datacontenttype": "image/png", "data_base64": "AP8="}
    assert [(each.content, each.content_type) for each in posted([(b"content-type", STRUCTURED)], orjson.dumps(text))] == [
        (b"cancel 4711", "text/plain")
    ]
    assert [(each.content, each.content_type) for each in posted([(b"content-type", STRUCTURED)], orjson.dumps(raw))] == [
        (b"\x00\xff", "image/png")
    ]


def test_what_is_no_event_is_refused() -> None:
    assert refusal([(b"content-type", b"application/json")], b"{}") == ("event_media_type", 415)
    assert refusal([(b"content-type", STRUCTURED)], b"{") == ("event_invalid", 422)
    assert refusal([(b"content-type", STRUCTURED)], orjson.dumps({**EVENT, "id": ""})) == ("event_invalid", 422)
    assert refusal([(b"content-type", b"application/json")], b"{", NAMES) == ("event_invalid", 422)
    assert refusal([(b"content-type", b"application/json")], b'{"id": 1}', NAMES) == ("event_invalid", 422)
    assert refusal([(b"content-type", b"application/json")], orjson.dumps({"id": "x" * 513, "kind": "a"}), NAMES) == ("event_invalid", 422)


def test_other_senders_events_are_named_by_their_own_scheme() -> None:
    github: Headers = [(b"content-type", b"application/json"), (b"x-github-delivery", b"d-1"), (b"x-github-event", b"push")]
    (event,) = posted(github, b"{}", SCHEME_NAMES["github"])
    assert event.attributes == {"specversion": "1.0", "id": "d-1", "source": "/events/shop", "type": "push"}
    (event,) = posted([(b"content-type", b"application/json")], b'{"id":"evt_1","type":"charge.failed"}', SCHEME_NAMES["stripe"])
    assert (event.attributes["id"], event.attributes["type"]) == ("evt_1", "charge.failed")
    slack = b'{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}'
    (event,) = posted([(b"content-type", b"application/json")], slack, SCHEME_NAMES["slack"])
    assert (event.attributes["id"], event.attributes["type"]) == ("Ev1", "message")


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:", "cloudEvents_"])
def test_brokers_have_names_of_their_own_for_the_same_fields(prefix: str) -> None:
    fields = {f"{prefix}{name}": str(EVENT[name]) for name in ("specversion", "id", "source", "type")}
    (event,) = read_message(Incoming(b'{"amount":3}', "application/json", fields), NAMES, "/events/shop")
    assert (event.named, event.content) == (Named("/shop", "7"), b'{"amount":3}')


def test_a_message_that_says_nothing_of_events_is_named_by_its_source() -> None:
    (event,) = read_message(Incoming(b'{"id":9,"kind":"created"}', "application/json"), NAMES, "/events/shop")
    assert event.attributes == {"specversion": "1.0", "id": "9", "source": "/events/shop", "type": "order.created"}


def test_two_events_are_the_same_by_tenant_source_and_id_and_by_who_sends_them_with_a_credential() -> None:
    keys = {event_key(tenant, Named(source, one)) for tenant in (None, "", "a") for source in ("/s", "/sa") for one in ("1", "a1")}
    assert len(keys) == 12
    assert event_key("a", Named("/s", "1")) == event_key("a", Named("/s", "1"))
    assert event_key("ab", Named("c", "1")) != event_key("a", Named("bc", "1"))
    assert len({event_key("a", Named("/s", "1"), caller) for caller in (None, "", "ann", "bob")}) == 4


@pytest.mark.parametrize("content_type", ["", "text/plain"])
def test_a_message_that_says_its_contents_type_as_an_attribute_loses_no_other(content_type: str) -> None:
    """Whether its broker has a type of its own or none, and whichever attribute comes first."""
    told = {"class": "secret", "specversion": "1.0", "id": "1", "source": "/s", "type": "paid"}
    fields = {f"ce_{name}": value for name, value in {**told, "datacontenttype": "application/json"}.items()}
    (event,) = read_message(Incoming(b"{}", content_type, fields), None, "/events/shop")
    assert (event.attributes, event.content_type) == (told, "application/json")


@pytest.mark.parametrize("prefix", ["ce_", "cloudEvents:", "cloudEvents_"])
def test_values_of_kafkas_and_amqps_bindings_are_what_they_say(prefix: str) -> None:
    """Only HTTP's are percent-encoded: two ids would be one, and a URI none."""
    told = {"specversion": "1.0", "id": "a%41", "source": "/my%20shop", "type": "paid", "subject": '"100%"', "who": "Zoë"}
    message = Incoming(b"", "", {f"{prefix}{name}": value for name, value in told.items()})
    (event,) = read_message(message, None, "/events/shop")
    assert event.attributes == told


NAMED = {"id": "{{ body.id }}", "type": "paid"}


def plan(**settings: object) -> SourcePlan:
    given = {"speaks_for": {"subject": "shop"}, "signature": {"scheme": "github", "secrets": [Secret("x")]}, **settings}
    return SourcePlan("shop", EventSource.model_validate(given))


def test_a_source_speaks_for_whom_it_is_configured_to_and_the_event_may_say_the_tenant() -> None:
    (event,) = posted([(b"content-type", STRUCTURED)], orjson.dumps({**EVENT, "tenant": "acme"}))
    wanted = {"subject": "shop-{{ body.amount }}", "tenant": "{{ event.tenant }}", "roles": ["service"]}
    subject = plan(speaks_for=wanted).speaker(event)
    assert subject is not None
    assert (subject.id, subject.type, subject.tenant, subject.roles) == ("shop-3", "service", "acme", ("service",))
    assert subject.authenticated_by == "signature"
    (other,) = posted([(b"content-type", STRUCTURED)], orjson.dumps(EVENT))
    with pytest.raises(RefusedError, match="lacks"):
        plan(speaks_for=wanted).speaker(other)
    assert Speaker.model_validate({"subject": "x"}).tenant is None


def refused_source(source: str, taken: frozenset[str] = frozenset(), **settings: object) -> bool:
    (event,) = posted([(b"content-type", STRUCTURED)], orjson.dumps({**EVENT, "source": source}))
    asked = replace(plan(**settings), taken=taken)
    try:
        asked.check(event)
    except RefusedError as error:
        return (error.code, error.status) == ("event_invalid", 422)
    return False


def test_a_source_has_events_of_no_other_source() -> None:
    """Of one that names its events itself, by its path; and of none but its own where those are said."""
    taken = frozenset({"/events/till", "/bank/*"})
    told = ("/events/till", "/bank/7", "/events/shop", "/events/tills", "/bank")
    assert [refused_source(each, taken) for each in told] == [True, True, False, False, False]
    assert refused_source("/events/till", taken, names=NAMED | {"source": "{{ body.from }}"})
    only = {"event_sources": ["/shop", "urn:shop:*:a.b"]}
    sources = ("/shop", "/shop/1", "x/shop", "urn:shop:7:a.b", "urn:shop::a.b", "urn:shop:7:a_b", "/events/till")
    assert [refused_source(each, taken, **only) for each in sources] == [False, True, True, False, False, True, True]
    assert not refused_source("/events/till", taken, event_sources=["/events/*"])  # who writes it so means it
    assert refused_source("/shop", event_sources=["/none"])
    assert not refused_source("/events/shop", event_sources=["/none"])  # by which it names them itself


@pytest.mark.parametrize(
    ("settings", "claims"),
    [
        ({}, {"/events/shop"}),
        ({"event_sources": ["/shop/*", "*"]}, {"/events/shop", "/shop/*"}),
        ({"names": NAMED | {"source": "/shop"}}, {"/shop"}),
        ({"names": NAMED | {"source": "{{ body.from }}"}}, set()),
        ({"signature": {"scheme": "sns", "topics": ["arn:1"]}}, {"arn:1"}),
        ({"signature": None, "consume": {"adapter": "nats"}}, set()),
    ],
)
def test_what_a_source_names_its_events_by_and_what_they_may_have_is_its_own(settings: dict[str, object], claims: set[str]) -> None:
    assert plan(**settings).claims == claims


def test_deliveries_keep_an_order_only_where_it_is_asked_for() -> None:
    (event,) = posted([(b"content-type", STRUCTURED)], orjson.dumps(EVENT))
    assert plan().order(event, b"3") == b""
    by_subject = plan(order="{{ event.subject }}")
    (other,) = posted([(b"content-type", STRUCTURED)], orjson.dumps({**EVENT, "subject": "o-2"}))
    assert by_subject.order(event, b"3") == by_subject.order(event, b"4") != by_subject.order(other, b"3")
    kept = {"signature": None, "consume": {"adapter": "nats"}, "ordered": True}
    assert plan(**kept).order(event, b"3") == plan(**kept).order(other, b"3") != plan(**kept).order(event, b"4")


@given(st.text(max_size=40) | st.text(st.characters(max_codepoint=127), max_size=40))
def test_attributes_are_encoded_as_the_binding_says(value: str) -> None:
    """CloudEvents HTTP binding, 3.1.3.2: printable ASCII stays, but the escape, the quotation mark and, as it may, the backslash."""
    ((_, written),) = Event({"subject": value}, b"", "").fields()
    assert written == "".join(each if " " <= each <= "~" and each not in '%"\\' else quote(each, safe="") for each in value)


@pytest.mark.parametrize(
    ("speaks_for", "always"),
    [
        ({"subject": "shop"}, True),
        ({"subject": "shop", "tenant": "north"}, True),
        ({"subject": "{{ body.who }}"}, False),
        ({"subject": "shop", "tenant": "{{ body.who }}"}, False),
    ],
)
def test_who_always_speaks_is_made_ready(speaks_for: dict[str, str], always: bool) -> None:
    """And is who would be found in each event."""
    made = plan(speaks_for=speaks_for)
    event = Event({"id": "1", "source": "s", "type": "t"}, b'{"who": "ann"}', "application/json")
    assert (made.always is not None) is always
    wanted = {name: value if "{{" not in value else "ann" for name, value in speaks_for.items()}
    speaker = made.speaker(event)
    assert speaker is not None
    assert (speaker.id, speaker.tenant) == (wanted["subject"], wanted.get("tenant"))


def test_who_never_can_be_named_is_refused_with_each_event() -> None:
    made = plan(speaks_for={"subject": "a\tb"})
    assert made.always is None
    with pytest.raises(RefusedError):
        made.speaker(Event({"id": "1", "source": "s", "type": "t"}, b"", ""))
