"""Envelopes of SNS are believed when SNS signed them, with a certificate that only it could hand out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.aws.notices import KEPT, MOST_ASKED, MOST_BYTES, Notices
from adapters.aws.notifications import place
from router.errors import RefusedError
from tests.contract.sns_signer import TOPIC, Signer, certificate, signing

HOUR_S = 3600.0


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    with signing(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def notices(signer: Signer, base: str | None = "", ca: Path | None = None) -> Notices:
    return Notices((TOPIC,), HOUR_S, Path("/"), signer.base if base == "" else base, str(ca or signer.ca))


async def refusal(made: Notices, body: bytes, at_s: float | None = None) -> tuple[int, str]:
    with pytest.raises(RefusedError) as refused:
        await made.read(body, at_s or time.time())
    return refused.value.status, refused.value.code


def altered(envelope: bytes, **changes: Any) -> bytes:
    """After it was signed."""
    told = {**json.loads(envelope), **changes}
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("more", [{}, {"Subject": "s, t"}, {"Message": "plain ä\n"}])
async def test_what_sns_signed_is_handed_on_and_its_certificate_is_fetched_once(signer: Signer, version: str, more: Any) -> None:
    made = notices(signer)
    for _ in range(3):
        content, fields = await made.read(signer.envelope(version=version, **more), time.time()) or (b"", {})
    assert content.decode() == more.get("Message", '{"amount": 3}')
    assert (fields["sns-topic"], fields["sns-message-id"], fields.get("sns-subject")) == (TOPIC, "m-1", more.get("Subject"))
    assert fields["content-type"].startswith("text/plain" if "Message" in more else "application/json")
    assert signer.asked == ["/key.pem"]


async def test_what_is_not_signed_is_never_handed_on(signer: Signer) -> None:
    attributes = {"ce-type": {"Type": "String", "Value": "order.forged"}}
    _, fields = await notices(signer).read(altered(signer.envelope(), MessageAttributes=attributes, X="y"), time.time()) or (b"", {})
    assert set(fields) == {"content-type", "sns-topic", "sns-message-id", "sns-timestamp"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: altered(s.envelope(), Message="{}"), "event_signature_invalid"),
        (lambda s: altered(s.envelope(), MessageId="m-2"), "event_signature_invalid"),
        (lambda s: altered(s.envelope(), Subject="added"), "event_signature_invalid"),
        (lambda s: altered(s.envelope(Subject="taken away"), Subject=None), "event_signature_invalid"),
        (lambda s: altered(s.envelope(version="2"), SignatureVersion="1"), "event_signature_invalid"),
        (lambda s: altered(s.envelope(), SignatureVersion="3"), "event_signature_invalid"),
        (lambda s: altered(s.envelope(), Signature="no base64!"), "event_signature_invalid"),
        (lambda s: altered(s.envelope(), Signature=None), "event_unsigned"),
        (lambda s: altered(s.envelope(), Signature=""), "event_unsigned"),
        (lambda s: altered(s.envelope(), MessageId=None), "event_invalid"),
        (lambda s: altered(s.envelope(), Message=7), "event_invalid"),
        (lambda s: altered(s.envelope(), Type="Other"), "event_invalid"),
        (lambda s: altered(s.envelope(Message="a\nMessageId\nx"), Message="a", MessageId="x\nMessageId\nm-1"), "event_invalid"),
        (lambda s: s.envelope(Subject="a\nb"), "event_invalid"),
        (lambda s: s.envelope(Timestamp="2026-13-41T00:00:00Z"), "event_invalid"),
        (lambda s: s.envelope(Timestamp="yesterday"), "event_invalid"),
        (lambda s: s.envelope(Timestamp="2020-01-01T00:00:00.000Z"), "event_stale"),
        (lambda s: s.envelope(Timestamp="2199-01-01T00:00:00.000Z"), "event_stale"),
        (lambda s: s.envelope(TopicArn=TOPIC + "2"), "event_topic_unknown"),
        (lambda s: s.envelope(SigningCertURL="https://127.0.0.1:1/key.pem"), "event_certificate_refused"),
        (lambda s: s.envelope(SigningCertURL=s.base.replace("https", "http") + "/key.pem"), "event_certificate_refused"),
        (lambda s: s.envelope(SigningCertURL=s.base.replace("//", "//me@") + "/key.pem"), "event_certificate_refused"),
        (lambda s: s.envelope(SigningCertURL="https://sns.eu-central-1.amazonaws.com/key.pem"), "event_certificate_refused"),
        (lambda s: s.envelope(SigningCertURL=s.base + "/missing.pem"), "event_certificate_refused"),
        (lambda _: b"{", "event_invalid"),
        (lambda _: b"[]", "event_invalid"),
    ],
)
async def test_what_is_malformed_forged_replayed_or_of_another_topic_is_refused(
    signer: Signer, change: Callable[[Signer], bytes], code: str
) -> None:
    status, found = await refusal(notices(signer), change(signer))
    assert (found, status in (401, 403, 422)) == (code, True)


async def test_another_key_and_another_certificate_are_refused(signer: Signer, stranger: rsa.RSAPrivateKey) -> None:
    assert await refusal(notices(signer), signer.envelope(key=stranger)) == (401, "event_signature_invalid")
    for place_, content in {
        "/others.pem": certificate(stranger, "sns.amazonaws.com.evil.example"),
        "/over.pem": certificate(signer.key, days=(30, -1)),
        "/early.pem": certificate(signer.key, days=(-1, 30)),
        "/weak.pem": certificate(rsa.generate_private_key(65537, 1024)),
        "/text.pem": b"no certificate",
        "/long.pem": b"x" * (MOST_BYTES + 1),
        "/empty.pem": b"",
    }.items():
        signer.places[place_] = (200, content)
        envelope = signer.envelope(SigningCertURL=signer.base + place_)
        assert await refusal(notices(signer), envelope) == (401, "event_certificate_refused"), place_
    signer.places["/elsewhere.pem"] = (302, b"")
    assert await refusal(notices(signer), signer.envelope(SigningCertURL=f"{signer.base}/elsewhere.pem")) == (
        401,
        "event_certificate_refused",
    )


async def test_whose_server_nobody_vouches_for_hands_out_nothing(signer: Signer, tmp_path: Path) -> None:
    """Without its authority the certificate cannot be had: the sender may try again, and nothing is believed."""
    made = Notices((TOPIC,), HOUR_S, tmp_path, signer.base, None)
    assert await refusal(made, signer.envelope()) == (503, "event_certificate_unavailable")
    assert not signer.asked


async def test_a_certificate_that_cannot_be_had_now_is_asked_for_again_and_one_that_is_none_is_not(signer: Signer) -> None:
    made = notices(signer)
    before, signer.places["/key.pem"] = signer.places["/key.pem"], (503, b"")
    assert await refusal(made, signer.envelope()) == (503, "event_certificate_unavailable")
    signer.places["/key.pem"] = before
    assert await made.read(signer.envelope(), time.time()) is not None
    for _ in range(3):
        assert await refusal(made, signer.envelope(SigningCertURL=f"{signer.base}/none.pem")) == (401, "event_certificate_refused")
    assert signer.asked == ["/key.pem", "/key.pem", "/none.pem"]


async def test_names_that_strangers_make_up_take_no_certificates_place(signer: Signer) -> None:
    """What is not there is forgotten before what is."""
    made = notices(signer)
    assert await made.read(signer.envelope(), time.time()) is not None
    for number in range(2 * KEPT):
        assert (await refusal(made, signer.envelope(SigningCertURL=f"{signer.base}/{number}.pem")))[0] == 401
    assert await made.read(signer.envelope(), time.time()) is not None
    assert signer.asked.count("/key.pem") == 1


async def test_so_many_certificates_are_asked_for_and_no_more_wait(signer: Signer) -> None:
    """One that is known needs none of their places."""
    made = notices(signer)
    assert await made.read(signer.envelope(), time.time()) is not None
    forged = [signer.envelope(SigningCertURL=f"{signer.base}/{number}.pem") for number in range(MOST_ASKED + 1)]
    found = await asyncio.gather(*(refusal(made, each) for each in forged), made.read(signer.envelope(), time.time()))
    assert found[:-1] == [(401, "event_certificate_refused")] * MOST_ASKED + [(503, "event_certificate_unavailable")]
    assert found[-1] is not None


async def test_a_subscription_is_confirmed_where_sns_is_and_nowhere_else(signer: Signer) -> None:
    signer.places["/"] = (200, b"<ok/>")
    made = notices(signer)
    assert await made.read(signer.envelope("SubscriptionConfirmation"), time.time()) is None
    assert signer.asked[-1] == "/?Action=ConfirmSubscription&Token=t"
    asked = len(signer.asked)
    forged = altered(signer.envelope("SubscriptionConfirmation"), SubscribeURL=f"{signer.base}/?Action=Other")
    assert await refusal(made, forged) == (401, "event_signature_invalid")
    elsewhere = signer.envelope("SubscriptionConfirmation", SubscribeURL="https://127.0.0.1:1/")
    assert await refusal(made, elsewhere) == (401, "event_certificate_refused")
    assert await made.read(signer.envelope("UnsubscribeConfirmation"), time.time()) is None
    assert len(signer.asked) == asked


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-central-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com",
        "https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
        "http://sns.eu-central-1.amazonaws.com/a.pem",
        "https://s3.eu-central-1.amazonaws.com/a.pem",
        "https://sns.evil/.amazonaws.com/a.pem",
        "https://sns.a.b.amazonaws.com/a.pem",
        "https://[::1/a.pem",
        "https://sns.eu-central-1.amazonaws.com/a.pem#x",
        "",
    ],
)
def test_no_place_but_sns_own_is_asked(url: str) -> None:
    with pytest.raises(RefusedError) as refused:
        place(url, None)
    assert refused.value.code == "event_certificate_refused"


@pytest.mark.parametrize("host", ["sns.eu-central-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn", "sns.us-gov-west-1.amazonaws.com"])
def test_sns_own_hosts_are(host: str) -> None:
    assert place(f"https://{host}/SimpleNotificationService-0.pem", None) == host
