"""Events over HTTP: each is decided once, acknowledged when that is on record, and delivered, also across crashes.

What one Lockgate that stands can be asked for: tests/e2e/test_event_door.py."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sns_signer import TOPIC, signing
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import load, save

SECRET = "whsec_" + b64encode(b"s" * 32).decode()
SOURCES = {
    "shop": {"signature": {"scheme": "standard-webhooks", "secrets": [SECRET]}, "speaks_for": {"subject": "shop", "roles": ["employee"]}},
    "git": {"signature": {"scheme": "github", "secrets": ["g"]}, "speaks_for": {"subject": "git", "roles": ["employee"]}},
    "chat": {"signature": {"scheme": "slack", "secrets": ["s"]}, "speaks_for": {"subject": "chat", "roles": ["employee"]}},
    "own": {},
    "guest": {"signature": {"scheme": "standard-webhooks", "secrets": [SECRET]}, "speaks_for": {"subject": "guest"}},
    "lanes": {
        "signature": {"scheme": "standard-webhooks", "secrets": [SECRET]},
        "names": {"id": "{{ request.headers['webhook-id'] }}", "type": "order"},
        "speaks_for": {"subject": "lanes", "roles": ["employee"]},
        "order": "{{ body.lane }}",
    },
}
EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "data": {"amount": 3}}


class Target:
    """A service that is told how to answer, and remembers what came."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Mapping[str, str], bytes]] = []
        self.answer: Callable[[str], int] = lambda _: 200
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                fields = {name.lower(): value for name, value in self.headers.items()}
                target.came.append((self.path, fields, body))
                self.send_response(target.answer(fields.get("idempotency-key", "")))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def keys(self) -> list[str]:
        return [fields["idempotency-key"] for _, fields, _ in self.came]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


@pytest.fixture
def lockgate(prepare: Callable[..., Lockgate], target: Target) -> Lockgate:
    made = prepare(events={"sources": SOURCES})
    leads(made, target)
    made.start()
    return made


def leads(made: Lockgate, target: Target) -> None:
    """What is posted to the door of events goes to the target."""
    config = load(made.yard.config)
    config["events"]["listen"] = f"127.0.0.1:{made.ports['events']}"
    save(made.yard.config, config)
    catalog = load(made.yard.folder / "catalog.yaml")
    catalog["destinations"]["target"] = {
        "adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{target.port}"}], "retries": {"attempts": 1},
        "circuit": {"failures": 1000, "open": "100ms"},
    }  # fmt: skip
    catalog["routes"]["orders"] = {
        "destination": "target", "path": "/orders", "delivery": {"for": "1h", "backoff": "200ms", "max_backoff": "1s"},
    }  # fmt: skip
    catalog["rules"][:0] = [
        {"name": "big", "match": {"header": {"ce-type": "order.big"}}, "intent": "pay", "route": "orders"},
        {"name": "orders", "match": {"path": "/events/{source}"}, "intent": "look", "route": "orders"},
        {"name": "accepted", "match": {"path": "/orders/{rest...}"}, "intent": "look", "route": "orders"},
    ]
    save(made.yard.folder / "catalog.yaml", catalog)
    data = load(made.yard.data)
    data["lockgate"]["config"]["access"]["routes"]["orders"] = {"employee": ["*"]}
    save(made.yard.data, data)


def posted(lockgate: Lockgate, source: str, body: Any, **fields: str) -> Answer:
    return ask(lockgate.ports["events"], "POST", f"/events/{source}", None, body, **fields)


def signed(body: bytes, message_id: str, at: float | None = None) -> dict[str, str]:
    moment = str(int(at if at is not None else time.time()))
    digest = hmac.digest(b"s" * 32, b".".join((message_id.encode(), moment.encode(), body)), hashlib.sha256)
    return {"webhook-id": message_id, "webhook-timestamp": moment, "webhook-signature": "v1," + b64encode(digest).decode()}


def shop(lockgate: Lockgate, message_id: str, source: str = "shop", **body: Any) -> Answer:
    raw = json.dumps({"type": "order.paid", **body}).encode()
    return posted(lockgate, source, raw, **{"content-type": "application/json", **signed(raw, message_id)})


def test_the_same_event_again_gets_the_first_answer_and_is_delivered_once(lockgate: Lockgate, target: Target) -> None:
    first = shop(lockgate, "msg_1", amount=3)
    again = [shop(lockgate, "msg_1", amount=3) for _ in range(5)]
    assert {each.json["decision_id"] for each in again} == {first.json["decision_id"]}
    assert all(each.json["duplicate"] for each in again)
    assert shop(lockgate, "msg_2", amount=3).json["decision_id"] != first.json["decision_id"]
    until(lambda: len(target.came) >= 2, "both were delivered")
    lockgate.process.stop()
    lockgate.start()
    assert shop(lockgate, "msg_1", amount=3).json["decision_id"] == first.json["decision_id"]
    assert len(target.came) == 2
    assert len([leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.decision.v1"]) == 2


def test_other_senders_are_verified_in_their_own_way(lockgate: Lockgate, target: Target, tmp_path: Path) -> None:
    _github_and_slack(lockgate, target)
    target.came.clear()
    _sns(lockgate, target, tmp_path)


def _sns(lockgate: Lockgate, target: Target, tmp_path: Path) -> None:
    """What it signed is an event, once; a subscription is confirmed; what it did not sign is nothing."""
    with signing(tmp_path) as signer:
        config = load(lockgate.yard.config)
        config["events"]["sources"]["topic"] = {
            "signature": {"scheme": "sns", "topics": [TOPIC], "certificates": signer.base, "ca": str(signer.ca)},
            "speaks_for": {"subject": "topic", "roles": ["employee"]},
        }
        save(lockgate.yard.config, config)
        until(lambda: _sns_posts(lockgate, b"{}").status != 404, "the source is there")
        signer.places["/"] = (200, b"")
        confirmation = signer.envelope("SubscriptionConfirmation")
        assert _sns_posts(lockgate, confirmation).status == 200
        assert signer.asked[-1].startswith("/?Action=ConfirmSubscription")
        envelope = signer.envelope()
        first, again = _sns_posts(lockgate, envelope), _sns_posts(lockgate, envelope)
        assert (first.status, first.json["outcome"]) == (202, "accepted")
        assert (again.json["decision_id"], again.json["duplicate"]) == (first.json["decision_id"], True)
        forged = json.dumps({**json.loads(envelope), "Message": "{}"}).encode()
        assert (_sns_posts(lockgate, forged).status, _sns_posts(lockgate, forged).code) == (401, "event_signature_invalid")
        assert _sns_posts(lockgate, signer.envelope(TopicArn=f"{TOPIC}2")).code == "event_topic_unknown"
        until(lambda: target.came, "it was delivered")
        (_, fields, body) = target.came[0]
        assert (json.loads(body), fields["ce-id"], fields["ce-source"]) == ({"amount": 3}, "m-1", TOPIC)


def _sns_posts(lockgate: Lockgate, body: bytes) -> Answer:
    return posted(lockgate, "topic", body, **{"content-type": "text/plain; charset=UTF-8"})


def _github_and_slack(lockgate: Lockgate, target: Target) -> None:
    raw = b'{"zen":"x"}'
    git = {"x-hub-signature-256": "sha256=" + hmac.new(b"g", raw, hashlib.sha256).hexdigest(), "x-github-delivery": "d1"}
    answer = posted(lockgate, "git", raw, **git, **{"x-github-event": "push", "content-type": "application/json"})
    assert answer.json["outcome"] == "accepted", answer.json
    until(lambda: target.came and target.came[0][1]["ce-type"] == "push", "it was delivered")
    challenge = b'{"type":"url_verification","challenge":"abc123"}'
    moment = str(int(time.time()))
    digest = hmac.new(b"s", b"v0:" + moment.encode() + b":" + challenge, hashlib.sha256).hexdigest()
    answer = posted(lockgate, "chat", challenge, **{"x-slack-request-timestamp": moment, "x-slack-signature": f"v0={digest}"})
    assert (answer.status, answer.body) == (200, b"abc123")


def test_an_accepted_event_survives_kill_9_of_everything(lockgate: Lockgate, target: Target) -> None:
    """What was acknowledged is delivered by whoever comes next, under the same key, and decided no second time."""
    target.answer = lambda _: 503
    answers = [shop(lockgate, f"m{number}") for number in range(10)]
    assert {each.status for each in answers} == {202}
    for pid in (*lockgate.workers(), lockgate.process.pid):
        os.kill(pid, signal.SIGKILL)
    until(lambda: lockgate.process.ended is not None, "it ended")
    target.answer = lambda _: 200
    target.came.clear()
    lockgate.start()
    wanted = {each.json["decision_id"] for each in answers}
    until(lambda: set(target.keys()) >= wanted, "all were delivered", 60)
    for number, answer in enumerate(answers):
        again = shop(lockgate, f"m{number}")
        assert (again.json["decision_id"], again.json["duplicate"]) == (answer.json["decision_id"], True)
        assert lockgate.outcome(answer.json["decision_id"])["result"] == "routed"
    assert lockgate.verify().returncode == 0
