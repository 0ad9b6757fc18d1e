"""`POST /.lockgate/reviews/{decision id}`: whoever asked for a held request answers what a reviewer asks about it.

1 from a page that may call here   2 to a question, by its ETag   3 a text that is one   4 of one's own request   5 durable, on record

Forms of other sites cannot send `If-Match`, and scripts of theirs only where CORS lets them; 1 says so once more, for what a browser shows
by itself: a client certificate.
"""

from __future__ import annotations

import re
from typing import Any

from router.decision import Subject
from router.doors.body import read_text
from router.doors.cors import ORIGIN
from router.doors.following import follows
from router.doors.head import Head
from router.doors.held import IDENTIFIER, replied
from router.doors.own_space import Body, Told, missing
from router.doors.runtime import Runtime
from router.errors import RefusedError
from router.ports import Headers
from router.review.answering import MOST_CHARS
from router.review.given import Given
from router.review.waiting import Waits

MOST_BYTES = 32 * 1024
MOST_KEY = 255
_TAG = re.compile(r'"([0-9]{1,9})"')
_TYPES = ("application/json", "text/plain")


class AnswerWriter:
    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    async def write(self, runtime: Runtime, head: Head, subject: Subject, name: str, body: Body) -> Told:
        _own_page(runtime, head)  # 1
        version, key = question_of(head.headers), key_of(head.headers)  # 2
        media = media_of(head.headers)
        text = text_of(await body(MOST_BYTES), media)  # 3
        if not IDENTIFIER.fullmatch(name) or not follows(subject) or runtime.keys is None:
            raise missing()
        key_id, _ = await runtime.keys.key_for(subject.id)
        feed = self._waits.feed
        if await feed.standing(name, key_id, subject.tenant) is None:  # 4
            raise missing()
        new = await feed.answer(Given(name, subject, text, version, key))  # 5
        standing = await feed.standing(name, key_id, subject.tenant)
        if standing is None:
            raise missing()
        return replied(standing, name, again=not new)


def _own_page(runtime: Runtime, head: Head) -> None:
    """Raises RefusedError (403) where a browser says that another site's page sends this."""
    origins = _values(head.headers, ORIGIN)
    if is_no_page(head.headers):
        return
    if len(origins) == 1 and (_is_own(head, origins[0]) or _is_known(runtime, head, origins[0])):
        return
    raise RefusedError("Pages of this origin may not call here.", "cors_refused", 403)


def _is_own(head: Head, origin: bytes) -> bool:
    """A proxy may have taken TLS off, but none puts it on."""
    scheme, _, authority = origin.decode("latin-1").lower().partition("://")
    return authority == head.host and (scheme == "https" or scheme == head.scheme)


def _is_known(runtime: Runtime, head: Head, origin: bytes) -> bool:
    policy = runtime.options.cors.policy(head.method, head.path) if runtime.options.cors is not None else None
    return policy is not None and policy.knows(origin)


def is_no_page(headers: Headers) -> bool:
    """Whether no page of another site can have sent it, as far as a browser says."""
    sites = _values(headers, b"sec-fetch-site")
    return not _values(headers, ORIGIN) and all(site in (b"same-origin", b"none") for site in sites)


def question_of(headers: Headers) -> int:
    """By the one ETag that it came with. Raises RefusedError (400, 428)."""
    tags = _values(headers, b"if-match")
    if not tags:
        raise RefusedError("An answer names its question: If-Match with the ETag that it came with.", "if_match_missing", 428)
    found = _TAG.fullmatch(tags[0].decode("latin-1").strip()) if len(tags) == 1 else None
    if found is None:
        raise _invalid("If-Match is not one ETag of a held request.")
    return int(found[1])


def key_of(headers: Headers) -> str:
    """Raises RefusedError (400)."""
    keys = _values(headers, b"idempotency-key")
    if len(keys) > 1 or len(b"".join(keys)) > MOST_KEY:
        raise _invalid(f"An answer has at most one Idempotency-Key, of at most {MOST_KEY} characters.")
    return b"".join(keys).decode("latin-1")


def media_of(headers: Headers) -> str:
    """Raises RefusedError (415)."""
    found, encodings = _values(headers, b"content-type"), _values(headers, b"content-encoding")
    media = found[0].decode("latin-1") if len(found) == 1 else ""
    if media.partition(";")[0].strip().lower() not in _TYPES or any(each.lower() != b"identity" for each in encodings):
        detail = "An answer is text/plain, or application/json with its `text`; neither is compressed."
        raise RefusedError(detail, "answer_media_type", 415, fields=(("accept", ", ".join(_TYPES)),))
    return media


def text_of(body: bytes, media: str) -> str:
    """Raises RefusedError (422)."""
    document, text, problem = read_text(body, media, ())
    if problem is not None:
        raise _invalid(f"The answer cannot be read ({problem}).", 422)
    if text is None or media.lower().lstrip().startswith("application/json"):
        text = _member(document)
    if not text.strip() or len(text) > MOST_CHARS:
        raise _invalid(f"An answer has between 1 and {MOST_CHARS} characters.", 422)
    return text


def _member(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(text, str):
        raise _invalid('The answer is no JSON object with a "text" and nothing else.', 422)
    return text


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for each, value in headers if each == name]


def _invalid(sentence: str, status: int = 400) -> RefusedError:
    return RefusedError(sentence, "request_invalid", status)
