"""Who sent an event, by a signature over the bytes that came. Nothing is parsed before it is verified.

Where a scheme signs a time, what is older (or newer) than the tolerance is refused; what is repeated within it is the same event.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from router.errors import RefusedError

Fields = Mapping[bytes, bytes]
"""Header fields by their name in lower case; of one that stands twice the values with a comma between, which no scheme accepts."""

MOST_SIGNATURES = 32
SYMMETRIC, PUBLIC = "whsec_", "whpk_"

_ABSENT = RefusedError("The event has no signature.", "event_unsigned", 401)
_WRONG = RefusedError("The event's signature fits none of the secrets that are configured.", "event_signature_invalid", 401)


class Verifier:
    """`check` raises RefusedError: `event_unsigned`, `event_signature_invalid`, `event_stale` (401)."""

    def __init__(self, check: Callable[[Fields, bytes, float], None]) -> None:
        self._check = check

    def check(self, fields: Fields, body: bytes, now_s: float) -> None:
        """`body`: the bytes as they came. `now_s`: Unix time in seconds."""
        self._check(fields, body, now_s)


@dataclass(frozen=True, slots=True)
class PlainScheme:
    """An HMAC-SHA256 over the body alone, in the field `header` as `prefix` and hex or base64."""

    header: bytes
    prefix: bytes = b""
    base64: bool = False

    def verifier(self, secrets: Sequence[str]) -> Verifier:
        keys = [secret.encode() for secret in secrets]

        def check(fields: Fields, body: bytes, now_s: float) -> None:
            given = _field(fields, self.header)
            if not given.startswith(self.prefix):
                raise _again(_WRONG)
            digests = (hmac.digest(key, body, hashlib.sha256) for key in keys)
            _equal(given[len(self.prefix) :], [b64encode(each) if self.base64 else each.hex().encode() for each in digests])

        return Verifier(check)


GITHUB = PlainScheme(b"x-hub-signature-256", b"sha256=")


def standard_webhooks(secrets: Sequence[str], tolerance_s: float) -> Verifier:
    """Standard Webhooks 1.0: `v1` with secrets `whsec_…`, `v1a` with public keys `whpk_…`. Raises ValueError for what is neither."""
    shared = [_decoded(secret.removeprefix(SYMMETRIC)) for secret in secrets if not secret.startswith(PUBLIC)]
    public = [Ed25519PublicKey.from_public_bytes(_decoded(key.removeprefix(PUBLIC))) for key in secrets if key.startswith(PUBLIC)]

    def check(fields: Fields, body: bytes, now_s: float) -> None:
        message_id, moment = _field(fields, b"webhook-id"), _field(fields, b"webhook-timestamp")
        given = _field(fields, b"webhook-signature").split(b" ")[:MOST_SIGNATURES]
        _recent(moment, now_s, tolerance_s)
        signed = b".".join((message_id, moment, body))
        expected = [b"v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in shared]
        if any(hmac.compare_digest(one, other) for one in given for other in expected):
            return
        if not any(_verifies(key, one[4:], signed) for one in given if one.startswith(b"v1a,") for key in public):
            raise _again(_WRONG)

    return Verifier(check)


def stripe(secrets: Sequence[str], tolerance_s: float) -> Verifier:
    """`Stripe-Signature: t=…,v1=…`: HMAC-SHA256 over `t.body`, in hex."""
    keys = [secret.encode() for secret in secrets]

    def check(fields: Fields, body: bytes, now_s: float) -> None:
        parts = [part.strip().partition(b"=") for part in _field(fields, b"stripe-signature").split(b",")[:MOST_SIGNATURES]]
        moments = [value for name, _, value in parts if name == b"t"]
        if len(moments) != 1:
            raise _again(_WRONG)
        _recent(moments[0], now_s, tolerance_s)
        expected = [hmac.digest(key, moments[0] + b"." + body, hashlib.sha256).hex().encode() for key in keys]
        if not any(hmac.compare_digest(value, one) for name, _, value in parts if name == b"v1" for one in expected):
            raise _again(_WRONG)

    return Verifier(check)


def slack(secrets: Sequence[str], tolerance_s: float) -> Verifier:
    """`X-Slack-Signature: v0=…`: HMAC-SHA256 over `v0:time:body`, in hex."""
    keys = [secret.encode() for secret in secrets]

    def check(fields: Fields, body: bytes, now_s: float) -> None:
        moment, given = _field(fields, b"x-slack-request-timestamp"), _field(fields, b"x-slack-signature")
        _recent(moment, now_s, tolerance_s)
        signed = b"v0:" + moment + b":" + body
        _equal(given, [b"v0=" + hmac.digest(key, signed, hashlib.sha256).hex().encode() for key in keys])

    return Verifier(check)


def by_name(headers: Sequence[tuple[bytes, bytes]]) -> Fields:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = found[key] + b", " + value if key in found else value
    return found


def _field(fields: Fields, name: bytes) -> bytes:
    value = fields.get(name)
    if not value:
        raise _again(_ABSENT)
    return value


def _recent(moment: bytes, now_s: float, tolerance_s: float) -> None:
    """A time is a plain number of seconds: what else `int` reads is not what was signed for."""
    if not moment.isdigit() or len(moment) > 12:
        raise _again(_WRONG)
    if abs(now_s - int(moment)) > tolerance_s:
        raise RefusedError("The event was signed too long ago, or by a clock that is ahead.", "event_stale", 401)


def _equal(given: bytes, expected: Sequence[bytes]) -> None:
    if not any([hmac.compare_digest(given, one) for one in expected]):  # noqa: C419  # all of them, whichever fits
        raise _again(_WRONG)


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(b64decode(signature, validate=True), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("is not base64 after its prefix, as Standard Webhooks has secrets") from None


def _again(error: RefusedError) -> RefusedError:
    return RefusedError(str(error), error.code, error.status)
