"""What a stranger may be sent: never a traceback, and no change to a bundle that makes it say more than it did."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate_verify.strict_json import StrictError, canonical, parse
from tests.unit.verifier.places import paths, put
from tests.unit.verifier.vectors import answer, raw_bundle, vectors

BY_EITHER = "handover-itself-old-key"  # two trusted keys signed its checkpoint, of which the rotation says which one counts
HOLDING = sorted(name for name, vector in vectors().items() if vector["id"] == "holds" and name != BY_EITHER)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def says_no_more(said: dict[str, Any], before: dict[str, Any]) -> bool:
    """All that holds now held before. That an erasure was ordered may be left out, and so may records, fields and witnesses."""
    erased = {one["record"]: one["erasure"] for one in before["erased"]}
    return (
        all(said[name] == before[name] for name in ("decision", "origin", "size", "root", "signed_by", "outside_checkpoint"))
        and all(one in before[name] for name in ("records", "opened", "witnessed") for one in said[name])
        and all(one["erasure"] in (None, erased.get(one["record"], -1)) for one in said["erased"])
    )


def check(raw: bytes, name: str) -> None:
    vector = vectors()[name]
    said = answer(raw, vector)
    assert not said["ok"] or says_no_more(said, answer(raw_bundle(vector), vector))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(HOLDING), st.data())
def test_a_bundle_with_other_bytes_is_refused_or_means_the_same(name: str, data: st.DataObject) -> None:
    """Bytes exchanged, put in, taken out or repeated anywhere."""
    raw = bytearray(raw_bundle(vectors()[name]))
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 40)))
    raw[start:end] = data.draw(
        st.binary(max_size=8) | st.just(bytes(raw[start:end]) * 2) | st.sampled_from([b'"', b"0", b"A", b"=", b"\n"])
    )
    check(bytes(raw), name)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(HOLDING), st.data())
def test_a_bundle_with_other_values_is_refused_or_means_the_same(name: str, data: st.DataObject) -> None:
    """Any value taken out, or exchanged for another of the same bundle or of no sense."""
    document = json.loads(raw_bundle(vectors()[name]))
    source = copy.deepcopy(document)
    places = paths(document)
    place = data.draw(st.sampled_from(places[1:]))
    if data.draw(st.booleans()):
        put(document, place, lambda owner, key: owner.pop(key))
    else:
        other: Any = source
        for part in data.draw(st.sampled_from(places)):
            other = other[part]
        value = data.draw(st.just(other) | JSON)
        put(document, place, lambda owner, key: owner.__setitem__(key, value))
    check(json.dumps(document).encode(), name)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"format": value}).encode())
)
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"format":"lockgate.bundle.v1","decision":"' + b"\\" * 9)
@example(b"1" * 100_000)
@example(b'"' + b'\\"' * 200_000)
@example(b'"' + b"\\" * 200_001)
@example(b"[]" * 200_000)
def test_nonsense_is_refused_in_one_sentence(raw: bytes) -> None:
    """Whatever it is, and however deep."""
    said = answer(raw, vectors()["one-record"])
    assert (said["status"], said["ok"]) == (11, False)
    assert "\n" not in said["sentence"]


def test_what_is_too_large_is_not_read() -> None:
    """Sixteen MiB, and no more."""
    assert answer(b" " * (16 * 2**20 + 1), vectors()["one-record"])["id"] == "bundle_too_large"
    padded = raw_bundle(vectors()["one-record"]).ljust(16 * 2**20)
    assert answer(padded, vectors()["one-record"])["ok"]


@pytest.mark.parametrize("name", ["policy", "checkpoint"])
def test_what_is_given_beside_is_bounded_too(name: str) -> None:
    """A policy of 64 KiB, a checkpoint of one MiB."""
    vector = {**vectors()["everything"]}
    vector[name] += "#" * 2**20
    assert answer(raw_bundle(vector), vector)["id"] == f"{name}_malformed"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    )
)
@settings(deadline=None)
def test_canonical_json_is_read_back_as_itself(value: Any) -> None:
    """And is what the reference implementation of RFC 8785 writes."""
    rfc8785 = pytest.importorskip("rfc8785")
    written = canonical(value)
    assert written == rfc8785.dumps(value)
    assert parse(written) == value


@pytest.mark.parametrize(
    "text", ['"\\ud800"', "1.0", "1e3", "NaN", "-Infinity", '{"a":1,"a":1}', "9007199254740992", "[" * 65 + "]" * 65, "\ufeff1", "1 2", ""]
)
def test_what_json_leaves_open_is_refused(text: str) -> None:
    """What two programs could read differently is not read at all."""
    with pytest.raises(StrictError):
        parse(text.encode("utf-8", "surrogatepass"))
