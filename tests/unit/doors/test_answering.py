"""From where an answer to a reviewer's question may come, and what is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from router.decision import Subject
from router.doors.answering import AnswerWriter
from router.doors.cors import Cors, make_cors_policy
from router.doors.head import read_head
from router.doors.runtime import DoorOptions
from router.errors import RefusedError
from tests.unit.doors.parts import scope

ANNA = Subject("anna", "user", authenticated_by="certificate")
LISTED = Cors(make_cors_policy(["https://app.halden.example"], ["POST"], ["if-match"], [], False, 600.0), {}, lambda *_: None)
GOOD = ((b"if-match", b'"2"'), (b"content-type", b"text/plain"))


async def code(*fields: tuple[bytes, bytes], body: bytes = b"For Zoe.", cors: Cors | None = None, scheme: str = "https") -> str:
    """Why it is refused, before anybody is asked; `not_found` where it is an answer."""
    runtime: Any = SimpleNamespace(options=DoorOptions(cors=cors), keys=None)
    asked = {**scope("/.lockgate/reviews/r1"), "method": "POST", "scheme": scheme, "headers": [(b"host", b"gate.example:8443"), *fields]}
    writer = AnswerWriter(SimpleNamespace())  # type: ignore[arg-type]  # nobody is asked

    async def read(most: int) -> bytes:
        return body

    with pytest.raises(RefusedError) as refused:
        await writer.write(runtime, read_head(asked, (), sample=False), ANNA, "r1", read)
    return refused.value.code


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ((b"origin", b"https://gate.example:8443"),),
        ((b"origin", b"https://GATE.example:8443"), (b"sec-fetch-site", b"same-origin")),
        ((b"sec-fetch-site", b"none"),),
        ((b"origin", b"https://app.halden.example"), (b"sec-fetch-site", b"cross-site")),
    ],
)
async def test_a_page_of_ours_or_of_a_listed_origin_may_answer(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """As may whatever is no page."""
    assert await code(*fields, *GOOD, cors=LISTED) == "not_found"


@pytest.mark.parametrize(
    "fields",
    [
        ((b"origin", b"https://evil.example"),),
        ((b"origin", b"null"),),
        ((b"origin", b""),),
        ((b"origin", b"http://gate.example:8443"),),
        ((b"origin", b"https://gate.example"),),
        ((b"origin", b"https://gate.example:8443"), (b"origin", b"https://evil.example")),
        ((b"sec-fetch-site", b"cross-site"),),
        ((b"sec-fetch-site", b"same-site"),),
        ((b"origin", b"https://evil.example"), (b"sec-fetch-site", b"same-origin")),
    ],
)
async def test_other_pages_may_not_whatever_the_browser_shows_of_its_user(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """Also where they could send the header field that a form cannot."""
    assert await code(*fields, *GOOD, cors=LISTED) == "cors_refused"


async def test_a_proxy_may_have_taken_tls_off() -> None:
    """Then the page's scheme is not the one that comes in here."""
    assert await code((b"origin", b"https://gate.example:8443"), *GOOD, scheme="http") == "not_found"


async def test_who_calls_with_no_page_and_no_cors_may() -> None:
    assert await code(*GOOD) == "not_found"


@pytest.mark.parametrize("body", [b"x", "\u00fc".encode() * 4000, b"a\nb\tc"])
async def test_up_to_so_many_characters_are_an_answer(body: bytes) -> None:
    """Characters, and not bytes."""
    assert await code(*GOOD, body=body) == "not_found"
    assert await code(*GOOD, body=body + b"x" * 4000) == "request_invalid"
