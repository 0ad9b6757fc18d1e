from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from router.cloud_events import Headers
from router.control.cloud_events import BATCH, STRUCTURED, CloudEvent, cloud_events
from router.errors import RefusedError

DECISION = "019ab9d0-1111-7000-8000-000000000001"
WHOLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "payments",
    "type": "example.payment.refunded",
    "lockgatedecision": DECISION,
    "lockgatephase": "completed",
    "time": "2026-11-24T09:45:20.5Z",
    "data": {"amount": 12},
}
BINARY: Headers = [(b"ce-" + name.encode(), str(value).encode()) for name, value in WHOLE.items() if name != "data"]
JSON = (b"content-type", b"application/json")


def structured(value: Any, kind: str = STRUCTURED) -> list[CloudEvent]:
    return cloud_events([(b"content-type", kind.encode())], json.dumps(value).encode())


def refusal(headers: Headers, body: bytes) -> tuple[int, str]:
    with pytest.raises(RefusedError) as refused:
        cloud_events(headers, body)
    return refused.value.status, refused.value.code


def changed(**attributes: Any) -> dict[str, Any]:
    return {**WHOLE, **attributes}


def test_an_event_is_read_with_its_decision_and_phase() -> None:
    """Structured mode."""
    (event,) = structured(WHOLE)
    assert (event.source, event.id, event.type) == ("payments", "e-1", "example.payment.refunded")
    assert (event.decision, event.phase) == (DECISION, "completed")
    assert json.loads(event.document) == WHOLE


def test_a_batch_is_read_in_order() -> None:
    """One event each."""
    assert [event.id for event in structured([WHOLE, changed(id="e-2")], BATCH)] == ["e-1", "e-2"]


def test_header_fields_are_attributes_and_the_body_is_data() -> None:
    """Binary mode; percent-encoding and quoting are undone."""
    quoted = [(name, b'"pay%C3%A4%20me"' if name == b"ce-subject" else value) for name, value in [*BINARY, (b"ce-subject", b"")]]
    (event,) = cloud_events([*quoted, JSON], b'{"amount":12}')
    assert json.loads(event.document) == changed(subject="payä me")


def test_what_is_no_json_is_kept_as_base64() -> None:
    """Bytes of any other type."""
    (event,) = cloud_events([*BINARY, (b"content-type", b"text/plain")], b"done\xff")
    assert json.loads(event.document)["data_base64"] == b64encode(b"done\xff").decode()


def test_equal_events_have_equal_documents() -> None:
    """Neither order nor white space nor an attribute that is null makes another event."""
    (first,) = structured(WHOLE)
    (second,) = cloud_events(
        [(b"content-type", STRUCTURED.encode())], json.dumps({"subject": None, **dict(reversed(WHOLE.items()))}, indent=2).encode()
    )
    assert first == second


def test_an_event_need_name_neither_decision_nor_phase() -> None:
    """Then it has none, and was only reported."""
    (event,) = structured({name: value for name, value in WHOLE.items() if not name.startswith("lockgate")})
    assert (event.decision, event.phase) == (None, "reported")


@pytest.mark.parametrize(
    "value",
    [
        [],
        "text",
        {name: item for name, item in WHOLE.items() if name != "id"},
        changed(specversion="0.3"),
        changed(id=""),
        changed(id=7),
        changed(id="x" * 513),
        changed(source="two words"),
        changed(type="a\nb"),
        changed(time="yesterday"),
        changed(lockgatephase="half-way"),
        changed(lockgatedecision=1),
        changed(Upper="x"),
        changed(nested={"a": 1}),
        changed(large=2**31),
        changed(real=1.5),
        changed(data_base64="AA=="),
        {**{name: item for name, item in WHOLE.items() if name != "data"}, "data_base64": "*"},
        {**WHOLE, **{f"a{number}": 1 for number in range(40)}},
    ],
)
def test_what_the_specification_forbids_is_refused(value: Any) -> None:
    """With one code, and alone as well as within a batch."""
    assert refusal([(b"content-type", STRUCTURED.encode())], json.dumps(value).encode()) == (422, "evidence_invalid")
    assert refusal([(b"content-type", BATCH.encode())], json.dumps([WHOLE, value]).encode()) == (422, "evidence_invalid")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([(b"content-type", b"application/cloudevents+xml")], b"<event/>", 415),
        ([(b"content-type", b"application/cloudevents+json; charset=latin1")], b"{}", 415),
        ([(b"content-type", STRUCTURED.encode()), (b"content-encoding", b"gzip")], b"{}", 415),
        ([JSON], b"{}", 415),
        ([], b"", 415),
        ([(b"content-type", STRUCTURED.encode())], b"{", 422),
        ([(b"content-type", STRUCTURED.encode())], b'"\xff"', 422),
        ([(b"content-type", BATCH.encode())], b"[]", 422),
        ([(b"content-type", STRUCTURED.encode()), JSON], b"{}", 422),
        ([*BINARY, BINARY[1]], b"", 422),
        ([*BINARY, JSON], b"no json", 422),
        ([*BINARY, (b"ce-subject", b"%ff")], b"", 422),
        ([*BINARY, (b"ce-datacontenttype", b"text/plain")], b"", 422),
    ],
)
def test_other_forms_are_refused(headers: Headers, body: bytes, status: int) -> None:
    """By media type, or as invalid."""
    assert refusal(headers, body) == (status, "evidence_media_type" if status == 415 else "evidence_invalid")


def test_a_batch_has_an_end() -> None:
    """A hundred events at most."""
    batch = [changed(id=str(number)) for number in range(101)]
    assert len(structured(batch[:100], BATCH)) == 100
    assert refusal([(b"content-type", BATCH.encode())], json.dumps(batch).encode()) == (422, "evidence_invalid")
