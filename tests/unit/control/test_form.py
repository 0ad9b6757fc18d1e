"""Files of a request's body."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from router.control.form import files
from router.errors import RefusedError

NAMES = frozenset({"bundle", "input"})


@given(st.binary(max_size=400), st.binary(max_size=50))
def test_a_form_of_another_client_is_read_to_the_byte(bundle: bytes, text: bytes) -> None:
    """Whatever is in the files."""
    made = requests.Request("POST", "http://a/", files={"bundle": ("b.tar.gz", bundle, "application/gzip"), "input": ("i", text)}).prepare()
    assert files(made.headers["content-type"], made.body, "bundle", NAMES) == {"bundle": bundle, "input": text}


def test_a_file_alone_is_the_body() -> None:
    """As `curl --data-binary` sends it with its type."""
    assert files("application/gzip", b"\x1f\x8b", "bundle", NAMES) == {"bundle": b"\x1f\x8b"}


FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (None, b"{}", 415),
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 415),
        (FORM, b"", 400),
        (FORM, PART % b"bundle", 400),
        (FORM, b"before" + PART % b"bundle" + b"--x--", 400),
        (FORM, b"--x\r\nContent-Type: a/b\r\n\r\n1\r\n--x--", 400),
        (FORM, b"--x\r\n\r\n1\r\n--x--", 400),
        (FORM, PART % b"bundle" * 10 + b"--x--", 400),
        (FORM, PART % b"bundle" + PART % b"bundle" + b"--x--", 422),
        (FORM, PART % b"other" + b"--x--", 422),
    ],
)
def test_what_is_no_form_is_refused(kind: str | None, body: bytes, status: int) -> None:
    """Cut off, without names, with another's, or one twice."""
    with pytest.raises(RefusedError) as caught:
        files(kind, body, "bundle", NAMES)
    assert caught.value.status == status
