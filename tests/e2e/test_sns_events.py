"""Events that Amazon SNS posts: believed by its signature, decided once, and a subscription confirmed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.contract.sns_signer import TOPIC, Signer, signing
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_events import Target, lockgate, posted, target
from tests.e2e.wire import Answer
from tests.e2e.yard import load, save

__all__ = ["lockgate", "target"]  # fixtures
PLAIN = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}


def test_what_sns_signed_is_an_event_once_and_what_it_did_not_is_none(lockgate: Lockgate, target: Target, tmp_path: Path) -> None:
    with signing(tmp_path) as signer:
        _configured(lockgate, signer)
        until(lambda: _post(lockgate, b"{}").status != 404, "the source is there")
        signer.places["/"] = (200, b"")
        confirmation = signer.envelope("SubscriptionConfirmation")
        assert _post(lockgate, confirmation).status == 200
        assert signer.asked[-1].startswith("/?Action=ConfirmSubscription")
        envelope = signer.envelope()
        first, again = _post(lockgate, envelope), _post(lockgate, envelope)
        assert (first.status, first.json["outcome"]) == (202, "accepted")
        assert (again.json["decision_id"], again.json["duplicate"]) == (first.json["decision_id"], True)
        forged = json.dumps({**json.loads(envelope), "Message": "{}"}).encode()
        assert (_post(lockgate, forged).status, _post(lockgate, forged).code) == (401, "event_signature_invalid")
        assert _post(lockgate, signer.envelope(TopicArn=f"{TOPIC}2")).code == "event_topic_unknown"
        until(lambda: target.came, "it was delivered")
        (_, fields, body) = target.came[0]
        assert (json.loads(body), fields["ce-id"], fields["ce-source"]) == ({"amount": 3}, "m-1", TOPIC)


def _configured(lockgate: Lockgate, signer: Signer) -> None:
    config = load(lockgate.yard.config)
    config["events"]["sources"]["topic"] = {
        "signature": {"scheme": "sns", "topics": [TOPIC], "certificates": signer.base, "ca": str(signer.ca)},
        "speaks_for": {"subject": "topic", "roles": ["employee"]},
    }
    save(lockgate.yard.config, config)


def _post(lockgate: Lockgate, body: bytes) -> Answer:
    return posted(lockgate, "topic", body, **PLAIN)
