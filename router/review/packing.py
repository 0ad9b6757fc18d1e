"""A held request as bytes: for the way to the control process, and for the seal that it is stored under."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from router.errors import ReviewError
from router.ports import Held, Outbound

VERSION = b"\x01"
_NONCE = 12
_HELD_FIELDS = Held.__slots__


@dataclass(frozen=True, slots=True)
class Information:
    """What a reviewer asked, and what whoever asked for the request said to it: masked, as it is shown. `digest`: of what was said, which
    is in its record; empty for what an older release took, which did not mask."""

    question: str
    text: str
    by: str
    at_ns: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What is sealed of a held request. `text` is masked; masking misses names, so it is sealed all the same. `subject` asked for it, in
    the name or by the hand of `actors`; `document` is the JSON that policy decided on, so that it can be asked again."""

    outbound: Outbound
    text: str = ""
    subject: str = ""
    document: str = ""
    actors: tuple[str, ...] = ()
    information: tuple[Information, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of what the upstream answered."""

    status: int
    content_type: str
    body: bytes
    whole: bool
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, fields: Any) -> Answer:
        """Of what was packed; there was a time without header fields."""
        status, content_type, body, whole, *headers = fields
        return cls(status, content_type, body, whole, tuple((name, value) for name, value in headers[0]) if headers else ())


def pack_held(held: Held) -> bytes:
    return packed([getattr(held, name) for name in _HELD_FIELDS])


def unpack_held(held: bytes) -> Held:
    return Held(**dict(zip(_HELD_FIELDS, unpacked(held), strict=True)))


def seal_content(key: bytes, content: Content, held: Held) -> bytes:
    """AES-256-GCM under the subject's key, bound to everything else that is held: who may approve, how many must, until when, and the
    digest that an approval names. Raises ReviewError for a body that was not read whole."""
    outbound = content.outbound
    if not isinstance(outbound.body, bytes):
        raise ReviewError("Only a request whose body was read whole can be held.", "body_truncated")
    request = [outbound.method, outbound.target, outbound.headers, outbound.body, outbound.idempotent, outbound.idempotency_key]
    told = [[each.question, each.text, each.by, each.at_ns, each.digest] for each in content.information]
    parts = [request, content.text, content.subject, content.document, list(content.actors), told]
    return seal_value(key, parts, _terms(held))


def open_content(key: bytes, held: Held) -> Content:
    """Raises ReviewError `content_changed` where anything of it is not what was held."""
    request, text, subject, *later = open_value(key, held.sealed, _terms(held))
    method, target, headers, body, idempotent, idempotency_key = request
    outbound = Outbound(method, target, [(name, value) for name, value in headers], body, idempotent, idempotency_key)
    document, actors, told = later or ("", (), ())  # an older release sealed three parts
    return Content(outbound, text, subject, document, tuple(actors), tuple(Information(*each) for each in told))


def seal_answer(key: bytes, answer: Answer, decision_id: str) -> bytes:
    return seal_value(key, [answer.status, answer.content_type, answer.body, answer.whole, list(answer.headers)], _answer_to(decision_id))


def open_answer(key: bytes, sealed: bytes, decision_id: str) -> Answer:
    return Answer.of(open_value(key, sealed, _answer_to(decision_id)))


def seal_value(key: bytes, value: Any, bound_to: bytes) -> bytes:
    """AES-256-GCM over anything that msgpack takes."""
    nonce = os.urandom(_NONCE)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, packed(value), bound_to)


def open_value(key: bytes, sealed: bytes, bound_to: bytes) -> Any:
    """Raises ReviewError `content_changed` where it was not sealed so, under this key and bound to this."""
    try:
        if sealed[:1] != VERSION:
            raise ValueError("unknown form")
        return unpacked(AESGCM(key).decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], bound_to))
    except (InvalidTag, ValueError) as error:
        raise ReviewError("The request is not the one that was stored for this decision.", "content_changed") from error


def _terms(held: Held) -> bytes:
    fields = {name: getattr(held, name) for name in _HELD_FIELDS if name != "sealed"}
    return b"lockgate.held.v1\x00" + json.dumps(fields, sort_keys=True, default=dict).encode()


def _answer_to(decision_id: str) -> bytes:
    return f"lockgate.answer.v1\x00{decision_id}".encode()


def packed(value: Any) -> bytes:
    found: bytes = msgpack.packb(value, unicode_errors="surrogatepass")  # an issuer may put lone surrogates into a subject
    return found


def unpacked(found: bytes) -> Any:
    return msgpack.unpackb(found, unicode_errors="surrogatepass")
