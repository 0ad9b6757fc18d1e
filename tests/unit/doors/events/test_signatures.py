"""Signatures over events: what their owners publish verifies, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from router.doors.events.signatures import GITHUB, PlainScheme, Verifier, by_name, slack, standard_webhooks, stripe
from router.errors import RefusedError

Headers = list[tuple[bytes, bytes]]

# The examples that Standard Webhooks, GitHub and Slack publish with their descriptions.
WEBHOOK_SECRET, WEBHOOK_AT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330
WEBHOOK_BODY = b'{"test": 2432232314}'
WEBHOOK: Headers = [
    (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
    (b"webhook-timestamp", b"1614265330"),
    (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
]
GITHUB_SECRET, GITHUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
GITHUB_FIELDS: Headers = [(b"x-hub-signature-256", b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")]
SLACK_SECRET, SLACK_AT = "8f742231b10e8888abcd99yyyzzz85a5", 1531420618
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&"
    b"user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F"
    b"commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_FIELDS: Headers = [
    (b"x-slack-request-timestamp", b"1531420618"),
    (b"x-slack-signature", b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
]


def refusal(verifier: Verifier, headers: Sequence[tuple[bytes, bytes]], body: bytes, now: float) -> str:
    with pytest.raises(RefusedError) as refused:
        verifier.check(by_name(headers), body, now)
    assert refused.value.status == 401
    return refused.value.code


PUBLISHED = [
    (standard_webhooks([WEBHOOK_SECRET], 300), WEBHOOK, WEBHOOK_BODY, WEBHOOK_AT),
    (GITHUB.verifier([GITHUB_SECRET]), GITHUB_FIELDS, GITHUB_BODY, 0),
    (slack([SLACK_SECRET], 300), SLACK_FIELDS, SLACK_BODY, SLACK_AT),
]


@pytest.mark.parametrize(("verifier", "headers", "body", "at"), PUBLISHED, ids=["standard-webhooks", "github", "slack"])
def test_published_examples_verify_and_a_changed_byte_does_not(verifier: Verifier, headers: Headers, body: bytes, at: int) -> None:
    verifier.check(by_name(headers), body, at)
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert refusal(verifier, headers, changed, at) == "event_signature_invalid"


@pytest.mark.parametrize(("verifier", "headers", "body", "at"), PUBLISHED, ids=["standard-webhooks", "github", "slack"])
def test_each_field_must_be_there_once(verifier: Verifier, headers: Headers, body: bytes, at: int) -> None:
    for place in range(len(headers)):
        assert refusal(verifier, headers[:place] + headers[place + 1 :], body, at) == "event_unsigned"
        if headers[place][0] != b"webhook-signature":  # of which there may be several
            assert refusal(verifier, [*headers, headers[place]], body, at) == "event_signature_invalid"


@pytest.mark.parametrize("late", [-301, 301, 10**9])
def test_what_was_signed_at_another_time_is_refused(late: int) -> None:
    assert refusal(standard_webhooks([WEBHOOK_SECRET], 300), WEBHOOK, WEBHOOK_BODY, WEBHOOK_AT + late) == "event_stale"
    assert refusal(slack([SLACK_SECRET], 300), SLACK_FIELDS, SLACK_BODY, SLACK_AT + late) == "event_stale"


@pytest.mark.parametrize("moment", [b"", b"-1", b"1e9", b"\xd9\xa1\xd9\xa2", b"1" * 13, b" 1614265330"])
def test_a_time_is_a_plain_number(moment: bytes) -> None:
    headers = [(name, moment if name == b"webhook-timestamp" else value) for name, value in WEBHOOK]
    assert refusal(standard_webhooks([WEBHOOK_SECRET], 300), headers, WEBHOOK_BODY, WEBHOOK_AT) in (
        "event_unsigned",
        "event_signature_invalid",
    )


def test_any_of_several_secrets_may_have_signed_so_that_they_can_be_exchanged() -> None:
    new = "whsec_" + b64encode(b"n" * 32).decode()
    standard_webhooks([new, WEBHOOK_SECRET], 300).check(by_name(WEBHOOK), WEBHOOK_BODY, WEBHOOK_AT)
    several = [(name, b"v1,AAAA v2,x " + value if name == b"webhook-signature" else value) for name, value in WEBHOOK]
    standard_webhooks([WEBHOOK_SECRET], 300).check(by_name(several), WEBHOOK_BODY, WEBHOOK_AT)
    assert refusal(standard_webhooks([new], 300), WEBHOOK, WEBHOOK_BODY, WEBHOOK_AT) == "event_signature_invalid"


def test_a_public_key_verifies_what_its_private_key_signed() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    signature = b"v1a," + b64encode(private.sign(b"msg_1.1614265330." + WEBHOOK_BODY))
    headers: Headers = [(b"webhook-id", b"msg_1"), (b"webhook-timestamp", b"1614265330"), (b"webhook-signature", signature)]
    standard_webhooks([public], 300).check(by_name(headers), WEBHOOK_BODY, WEBHOOK_AT)
    assert refusal(standard_webhooks([public], 300), headers, WEBHOOK_BODY + b" ", WEBHOOK_AT) == "event_signature_invalid"
    assert refusal(standard_webhooks([public], 300), WEBHOOK, WEBHOOK_BODY, WEBHOOK_AT) == "event_signature_invalid"


@pytest.mark.parametrize("secret", ["whsec_%%", "whsec_a", "whpk_AAAA"])
def test_a_secret_that_is_none_is_refused_when_it_is_read(secret: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        standard_webhooks([secret], 300)


def test_stripes_way() -> None:
    body, at = b'{"id":"evt_1"}', 1700000000
    good = hmac.new(b"whsec_test", b"1700000000." + body, hashlib.sha256).hexdigest().encode()
    verifier = stripe(["whsec_other", "whsec_test"], 300)
    verifier.check(by_name([(b"stripe-signature", b"t=1700000000,v1=00,v1=" + good + b",v0=x")]), body, at)
    for value in (b"t=1700000000,v0=" + good, b"v1=" + good, b"t=1700000000,t=1700000000,v1=" + good, b"t=1700000001,v1=" + good, b"=,,="):
        assert refusal(verifier, [(b"stripe-signature", value)], body, at) == "event_signature_invalid"
    assert refusal(verifier, [(b"stripe-signature", b"t=1700000000,v1=" + good)], body, at + 301) == "event_stale"


def test_a_plain_hmac_in_a_field_of_ones_own_in_base64() -> None:
    verifier = PlainScheme(b"x-shop-signature", b"", base64=True).verifier(["s"])
    good = b64encode(hmac.digest(b"s", b"{}", hashlib.sha256))
    verifier.check(by_name([(b"X-Shop-Signature", good)]), b"{}", 0)
    assert refusal(verifier, [(b"x-shop-signature", good[:-2])], b"{}", 0) == "event_signature_invalid"


@given(st.dictionaries(st.sampled_from([name for name, _ in WEBHOOK]), st.binary(max_size=80)), st.binary(max_size=40))
def test_nothing_that_is_made_up_verifies_or_breaks(fields: dict[bytes, bytes], body: bytes) -> None:
    assert refusal(standard_webhooks([WEBHOOK_SECRET], 300), list(fields.items()), body, WEBHOOK_AT)
