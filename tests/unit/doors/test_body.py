"""Bodies are read under limits, and seen as one text or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import NO_BODY, BodyView
from router.doors.body import BodyLimits, BodyReader, ClientGoneError, body_view, read_text
from router.errors import RefusedError

LIMITS = BodyLimits(body=100, view=20, text_chars=10, timeout_s=5.0)
PATHS = (("text",), ("message", "content"))


class Caller:
    """Sends the given pieces, then nothing any more. None is a disconnect, "silence" a caller who stops."""

    def __init__(self, *pieces: bytes | str | None) -> None:
        self._pieces = list(pieces)

    async def __call__(self) -> dict[str, Any]:
        piece = self._pieces.pop(0)
        if piece == "silence":
            await asyncio.sleep(60)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}


def reader(*pieces: bytes | str | None, declared: int | None = None, limits: BodyLimits = LIMITS) -> BodyReader:
    return BodyReader(Caller(*pieces), limits, declared)


async def everything(read: BodyReader) -> bytes:
    return b"".join([chunk async for chunk in read.rest()])


async def viewed_and_streamed(read: BodyReader) -> bytes:
    await read.read_view()
    return await everything(read)


async def test_a_body_within_the_view_is_whole() -> None:
    """It is complete before the decision, with its digest."""
    read = reader(b"abc", b"", b"def")
    await read.read_view()
    assert (read.data, read.complete, read.digest) == (b"abcdef", True, hashlib.sha256(b"abcdef").hexdigest())
    assert await everything(read) == b"abcdef"


async def test_a_body_beyond_the_view_streams_on() -> None:
    """The decision sees its beginning; the digest is known when the rest went by."""
    read = reader(b"x" * 15, b"y" * 15, b"z" * 15, b"!")
    await read.read_view()
    assert (read.data, read.complete, read.digest) == (b"x" * 15 + b"y" * 15, False, None)
    whole = await everything(read)
    assert whole == b"x" * 15 + b"y" * 15 + b"z" * 15 + b"!"
    assert read.digest == hashlib.sha256(whole).hexdigest()


async def test_no_body_is_no_data() -> None:
    """A request without a body reads as empty."""
    read = reader(b"")
    await read.read_view()
    assert (read.data, read.complete, read.digest) == (b"", True, NO_BODY.digest)


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    """Nothing is read of a body that announces itself as too large."""
    with pytest.raises(RefusedError) as caught:
        reader(declared=101)
    assert (caught.value.status, caught.value.code) == (413, "body_too_large")


@pytest.mark.parametrize("pieces", [(b"x" * 101,), (b"x" * 15,) * 7])
async def test_a_body_over_the_limit_is_refused(pieces: tuple[bytes, ...]) -> None:
    """What was not announced is counted while it arrives, before and after the decision."""
    read = reader(*pieces)
    with pytest.raises(RefusedError) as caught:
        await viewed_and_streamed(read)
    assert caught.value.status == 413


async def test_a_body_that_stops_is_refused() -> None:
    """A caller who stops in the middle is answered, not waited for."""
    read = reader(b"abc", "silence", limits=BodyLimits(timeout_s=0.01))
    with pytest.raises(RefusedError) as caught:
        await read.read_view()
    assert (caught.value.status, caught.value.code) == (408, "body_timeout")


async def test_a_rest_that_stops_is_refused() -> None:
    """After the decision as well."""
    read = reader(b"x" * 21, "silence", limits=BodyLimits(view=20, timeout_s=0.01))
    await read.read_view()
    with pytest.raises(RefusedError) as caught:
        await everything(read)
    assert caught.value.code == "body_timeout"


@pytest.mark.parametrize("pieces", [(None,), (b"abc", None), (b"x" * 30, None)])
async def test_a_caller_may_vanish(pieces: tuple[bytes | None, ...]) -> None:
    """A disconnect in the middle is its own error: nobody is left to be answered."""
    read = reader(*pieces)
    with pytest.raises(ClientGoneError):
        await viewed_and_streamed(read)


def view(data: bytes, content_type: str = "application/json", encoding: str = "", digest: str | None = "d") -> BodyView:
    return body_view(data, digest, content_type, encoding, PATHS, 10)


def test_a_body_that_was_not_read_whole_is_truncated() -> None:
    """Without a digest nothing of it is judged."""
    assert view(b'{"text": "x"}', digest=None) == BodyView(b'{"text": "x"}', None, truncated=True)


def test_an_empty_body_is_none() -> None:
    """It has no text and no problem."""
    assert view(b"") == NO_BODY


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_an_encoded_body_is_not_judged(encoding: str) -> None:
    """What would have to be decompressed first has a problem, not a text."""
    seen = view(b"\x1f\x8b", encoding=encoding)
    assert (seen.text, seen.problem) == (None, "encoded_body")


def test_a_long_text_is_cut_and_says_so() -> None:
    """The beginning is kept for people, and the problem keeps it from being classified."""
    seen = view(b"0123456789X", "text/plain")
    assert (seen.text, seen.problem) == ("0123456789", "text_too_long")
    assert view(b"0123456789", "text/plain").problem is None


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("application/json", b'{"text": "hi"}', "hi"),
        ("application/json; charset=utf-8", b'{"text": "hi"}', "hi"),
        ("Application/JSON", b'{"text": "hi"}', "hi"),
        ("application/vnd.halden+json", b'{"text": "hi"}', "hi"),
        ("application/json", b'{"message": {"content": "hi"}}', "hi"),
        ("application/json", b'{"text": 1, "message": {"content": "hi"}}', "hi"),
        ("application/json", b'"hi"', "hi"),
        ("application/json", b'{"other": "hi"}', None),
        ("application/json", b'["hi"]', None),
        ("application/json", b'{"text": "caf\\u00e9 \\ud83d\\ude00"}', "café 😀"),
        ("text/plain", b"hi", "hi"),
        ('text/plain; charset="UTF-8"; format=flowed', b"hi", "hi"),
        ("text/plain; charset=us-ascii", b"hi", "hi"),
        ("text/markdown", "grüß".encode(), "grüß"),
    ],
)
def test_the_request_text_is_found(content_type: str, data: bytes, text: str | None) -> None:
    """By the first path that holds a string, or the whole of a text."""
    _, found, problem = read_text(data, content_type, PATHS)
    assert (found, problem) == (text, None)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "multipart/form-data; boundary=x", "", "application/x-json"])
def test_a_body_of_another_kind_has_no_text(content_type: str) -> None:
    """It is not looked into, whatever it holds; that is no problem by itself."""
    assert read_text(b'{"text": "hi"}', content_type, PATHS) == (None, None, None)


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"", b"{'a': 1}", b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b'{"a": NaN}', b'{"a": -Infinity}',
        b'{"a": 1e999}', b'{"a": 1} x',
        b'{"text": "\\ud800"}', b'{"\\udfff": 1}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}",
        b'{"a": "\x00"}',
    ],
    ids=lambda data: data[:24].decode("latin-1"),
)  # fmt: skip
def test_json_with_more_than_one_meaning_is_malformed(data: bytes) -> None:
    """Repeated keys, numbers without end, lone surrogates, endless nesting and plain mistakes have one name."""
    assert read_text(data, "application/json", PATHS) == (None, None, "malformed_json")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_bytes_that_are_no_utf8_are_undecodable(content_type: str) -> None:
    """Nothing is guessed about their encoding."""
    assert read_text(b'{"text": "\xff"}', content_type, PATHS) == (None, None, "undecodable")


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", '"latin1"', "utf-7"])
def test_other_charsets_are_not_read(charset: str) -> None:
    """A body that claims another encoding is not read as UTF-8."""
    assert read_text(b"hi", f"text/plain; charset={charset}", PATHS) == (None, None, "charset_unsupported")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
        max_leaves=8,
    )
)
def test_proper_json_is_read_as_it_is(document: Any) -> None:
    """Every document that Python can write is read back the same."""
    read, _, problem = read_text(json.dumps(document).encode(), "application/json", PATHS)
    assert (read, problem) == (document, None)


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", "image/png"]))
def test_no_body_is_an_error(data: bytes, content_type: str) -> None:
    """Arbitrary bytes are a view: with a text, with a problem, or with neither."""
    seen = view(data, content_type)
    assert seen.text is None or seen.problem in (None, "text_too_long")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
DRAWN = st.text('{}[]",:\\u0019ateflsrnNIiy.-+ \ufeff\n', max_size=30)


@given(JSON.map(json.dumps) | DRAWN)
def test_strict_json_is_json_of_the_standard_library_or_refused(text: str) -> None:
    """The decoder that is kept reads as one that is made for the occasion."""
    document, _, problem = read_text(text.encode(), "application/json", ())
    try:
        expected = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        assert problem == "malformed_json"
        return
    assert problem == "malformed_json" or document == expected


def _no_constant(name: str) -> None:
    raise ValueError(name)
