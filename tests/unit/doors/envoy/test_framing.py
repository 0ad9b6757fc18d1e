"""gRPC's framing: messages in any pieces, whatever is none of them, and what a call is told of how it ended."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given
from hypothesis import strategies as st

from router.doors.envoy.framing import Messages, StatusError, framed, timeout, trailers

MOST = 1000


def message(value: bytes) -> bytes:
    return framed(BytesValue(value=value))


def taken(pieces: list[bytes]) -> list[bytes]:
    """What there is after each piece, in one list."""
    messages, found = Messages(BytesValue, MOST), []
    for piece in pieces:
        messages.feed(piece)
        while (each := messages.take()) is not None:
            assert isinstance(each, BytesValue)
            found.append(each.value)
    assert messages.size == len(b"".join(pieces)) - sum(len(message(each)) for each in found)
    return found


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 400), max_size=12))
def test_messages_come_as_they_were_sent_in_whatever_pieces(values: list[bytes], cuts: list[int]) -> None:
    """Two in one piece, one in many, none at all."""
    whole = b"".join(map(message, values))
    places = sorted({min(cut, len(whole)) for cut in cuts})
    assert taken([whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]) == values


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        (b"\1" + message(b"a")[1:], 12, "compressed"),
        (b"\0\0\0\3\xe9" + b"x" * 1001, 8, "longer than 1000 bytes"),
        (b"\0\xff\xff\xff\xff", 8, "longer"),
        (b"\0\0\0\0\2\xff\xff", 13, "not of its kind"),
        (message(b"a") + b"\0\0\0\0\2\xff\xff", 13, "not of its kind"),
    ],
)
def test_what_is_not_framed_as_it_has_to_be_has_a_status(sent: bytes, status: int, detail: str) -> None:
    """A length that is too large is refused before any of it is waited for."""
    with pytest.raises(StatusError, match=detail) as refused:
        taken([sent])
    assert refused.value.status == status


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0\0\0", message(b"abc")[:-1]])
def test_what_is_not_whole_is_waited_for(sent: bytes) -> None:
    assert taken([sent]) == []


def test_a_message_of_trailers_is_written_in_percent() -> None:
    """What no header field may have in it, and the sign itself."""
    assert trailers(9, "50 %\r\nnaïve") == [(b"grpc-status", b"9"), (b"grpc-message", b"50 %25%0D%0Ana%C3%AFve")]
    assert trailers(0, "") == [(b"grpc-status", b"0")]


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"3H", 10800.0), (b"2M", 120.0), (b"1S", 1.0), (b"5m", 0.005), (b"7u", 7e-6), (b"9n", 9e-9)]
)
def test_a_time_has_a_unit(said: bytes, seconds: float) -> None:
    assert timeout([(b"te", b"trailers"), (b"grpc-timeout", said)]) == pytest.approx(seconds)


def test_a_time_need_not_be_given() -> None:
    assert timeout([(b"te", b"trailers")]) is None


@pytest.mark.parametrize("said", [b"", b"S", b"1", b"-1S", b"1s", b"123456789S", b"1S "])
def test_a_time_that_is_not_understood_is_refused(said: bytes) -> None:
    with pytest.raises(StatusError):
        timeout([(b"grpc-timeout", said)])
