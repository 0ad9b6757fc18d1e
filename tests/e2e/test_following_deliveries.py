"""How who asked learns what became of a request that was taken on to be delivered, and nobody else does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_deliveries import command
from tests.e2e.test_erasure import order
from tests.e2e.test_events import EVENT, Target, lockgate, target
from tests.e2e.wire import Answer, ask

__all__ = ["lockgate", "target"]  # fixtures


def accepted(lockgate: Lockgate, who: str = "ann") -> str:
    answer = lockgate.ask(who, "POST", "/orders/7", {"amount": 1})
    assert (answer.status, answer.fields["location"]) == (202, f"/.lockgate/deliveries/{answer.decision}"), answer
    return answer.decision


def followed(lockgate: Lockgate, delivery: str, who: str = "ann", method: str = "GET") -> Answer:
    return lockgate.ask(who, method, f"/.lockgate/deliveries/{delivery}")


def becomes(lockgate: Lockgate, delivery: str, state: str) -> Any:
    def found() -> Any:
        told = followed(lockgate, delivery).json
        return told if told["state"] == state else None

    return until(found, f"it is {state}")


def test_a_caller_follows_its_delivery_to_its_end_and_nobody_else_is_told(lockgate: Lockgate, target: Target) -> None:
    _pending_then_delivered(lockgate, target)
    _given_up_then_dropped(lockgate, target)
    target.answer = lambda _: 200
    _nobody_else(lockgate)
    _erased(lockgate, target)


def _pending_then_delivered(lockgate: Lockgate, target: Target) -> None:
    target.answer = lambda _: 503
    delivery = accepted(lockgate)
    until(lambda: followed(lockgate, delivery).json["attempts"], "it failed once")
    answer = followed(lockgate, delivery)
    told = answer.json
    assert (answer.status, told["state"], told["reason"], told["decision_id"]) == (200, "pending", "status_503", delivery)
    assert int(answer.fields["retry-after"]) >= 1
    assert answer.fields["cache-control"] == "no-store"
    assert told["next"] < told["until"]
    target.answer = lambda _: 200
    told = becomes(lockgate, delivery, "delivered")
    assert (told["status"], told["answer"]) == (200, {"bytes": 0, "kept": False})
    assert told["attempts"] >= 2
    assert "retry-after" not in followed(lockgate, delivery).fields
    assert followed(lockgate, delivery, method="HEAD").status == 200
    shown = lockgate.control("GET", f"/v1/deliveries/{delivery}").json
    assert (shown["state"], shown["route"], shown["status"], shown["ended"]) == ("delivered", "orders", 200, told["ended"])
    assert "delivered" in command(lockgate, "show", delivery).stdout


def _given_up_then_dropped(lockgate: Lockgate, target: Target) -> None:
    target.answer = lambda _: 400
    delivery = accepted(lockgate)
    told = becomes(lockgate, delivery, "dead")
    assert (told["reason"], "status" in told) == ("delivery_refused", False)
    assert command(lockgate, "drop", delivery, "--yes").returncode == 0
    assert becomes(lockgate, delivery, "dropped")["reason"] == "delivery_refused"
    shown = json.loads(command(lockgate, "show", delivery, "--json").stdout)
    assert (shown["state"], shown["reason"]) == ("dropped", "delivery_refused")


def _nobody_else(lockgate: Lockgate) -> None:
    """Somebody else's, one that never was, and what was no delivery are all the same to who asks; nothing below that path goes further."""
    delivery = accepted(lockgate)
    becomes(lockgate, delivery, "delivered")
    direct = lockgate.ask("ann", "GET", "/items/1").decision
    answers = [
        followed(lockgate, delivery, "bob"),
        followed(lockgate, "0" * 32),
        followed(lockgate, direct),
        followed(lockgate, "a/b"),
        lockgate.ask("ann", "GET", "/.lockgate/orders"),
        lockgate.ask("ann", "GET", "/.lockgate/"),
    ]
    assert {(each.status, each.code) for each in answers} == {(404, "not_found")}
    assert len({each.json["detail"] for each in answers}) == 1
    assert lockgate.ask(None, "GET", f"/.lockgate/deliveries/{delivery}").status == 401
    refused = followed(lockgate, delivery, method="DELETE")
    assert (refused.status, refused.code, refused.fields["allow"]) == (405, "method_not_allowed", "GET, HEAD")
    assert not [each for each in lockgate.arrivals() if ".lockgate" in each["target"]]
    assert lockgate.control("GET", f"/v1/deliveries/{direct}").code == "delivery_not_found"


def _erased(lockgate: Lockgate, target: Target) -> None:
    """What is sealed can be read by nobody: it ends, by name and on record, and is not tried for ever."""
    target.answer = lambda _: 503
    delivery = accepted(lockgate, "bob")
    until(lambda: followed(lockgate, delivery, "bob").json["attempts"], "it failed once")
    given = order(lockgate, "erase", "--subject", "bob", "--authority", "Olga Brandt", "--reason", "gdpr_art_17", "--case", "DSR 2", "-y")
    assert given.returncode == 0, given.stderr
    assert lockgate.outcome(delivery)["reason"] == "subject_erased"
    shown = lockgate.control("GET", f"/v1/deliveries/{delivery}").json
    assert (shown["state"], shown["reason"]) == ("dropped", "subject_erased")
    assert followed(lockgate, delivery, "bob").status == 404
    assert lockgate.control("GET", "/v1/deliveries?state=pending").json["deliveries"] == []
    assert lockgate.verify().returncode == 0


@pytest.mark.slow
def test_who_sent_an_event_with_a_credential_follows_it_too(lockgate: Lockgate, target: Target) -> None:
    """Also after everything was started anew: it is told from the ledger."""
    sent = ask(
        lockgate.ports["events"], "POST", "/events/own", lockgate.keys["ann"], EVENT, **{"content-type": "application/cloudevents+json"}
    )
    delivery = sent.json["decision_id"]
    becomes(lockgate, delivery, "delivered")
    lockgate.process.stop()
    lockgate.start()
    assert followed(lockgate, delivery).json["state"] == "delivered"
    assert followed(lockgate, delivery, "bob").status == 404
