"""What becomes of events that are posted: one Lockgate and one target for all tests, each with messages of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_events import EVENT, SOURCES, Target, leads, posted, shop, signed
from tests.e2e.wire import ask
from tests.e2e.yard import load, save


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lockgate, Target]]:
    target = Target()
    with prepared(tmp_path_factory.mktemp("events"), events={"sources": SOURCES}) as made:
        leads(made, target)
        made.start()
        yield made, target
    target.close()


@pytest.fixture
def lockgate(standing: tuple[Lockgate, Target]) -> Lockgate:
    return standing[0]


@pytest.fixture
def target(standing: tuple[Lockgate, Target]) -> Target:
    """It has heard nothing yet, and takes everything."""
    _, made = standing
    made.came.clear()
    made.answer = lambda _: 200
    return made


def test_a_signed_webhook_is_decided_recorded_and_delivered_as_an_event(lockgate: Lockgate, target: Target) -> None:
    answer = shop(lockgate, "signed", amount=3)
    assert (answer.status, answer.json["outcome"]) == (202, "accepted")
    until(lambda: target.came, "it was delivered")
    path, fields, body = target.came[0]
    assert (path, json.loads(body)) == ("/orders", {"type": "order.paid", "amount": 3})
    told = {name: fields[name] for name in ("ce-id", "ce-source", "ce-type", "x-lockgate-subject", "idempotency-key", "content-type")}
    assert told == {
        "ce-id": "signed", "ce-source": "/events/shop", "ce-type": "order.paid", "x-lockgate-subject": "shop",
        "idempotency-key": answer.json["decision_id"], "content-type": "application/json",
    }  # fmt: skip
    assert lockgate.outcome(answer.json["decision_id"])["result"] == "routed"
    decision = lockgate.story(answer.json["decision_id"])[0]
    assert (decision["request"]["door"], decision["subject"]["authenticated_by"]) == ("events", "signature")
    assert lockgate.verify().returncode == 0


def test_answers_have_one_date(lockgate: Lockgate, target: Target) -> None:
    """Of an event, and of a call of the decide API that is refused by its announcement; two are none that HTTP knows."""
    refused = ask(lockgate.ports["decide"], "POST", "/v1/decide", content_length="999999999")
    assert refused.code == "body_too_large"
    for answer in (shop(lockgate, "dated", amount=1), ask(lockgate.ports["events"], "GET", "/readyz"), refused):
        assert [name.lower() for name, _ in answer.headers].count("date") == 1
    until(lambda: target.came, "the event was delivered")


def test_what_is_not_signed_or_signed_by_another_is_no_event(lockgate: Lockgate, target: Target) -> None:
    raw, before = b"{}", decisions(lockgate)
    good = signed(raw, "m")
    assert posted(lockgate, "shop", raw).code == "event_unsigned"
    assert posted(lockgate, "shop", b'{"a":1}', **good).code == "event_signature_invalid"
    assert posted(lockgate, "shop", raw, **signed(raw, "m", time.time() - 400)).code == "event_stale"
    assert posted(lockgate, "nobody", raw, **good).status == 404
    assert posted(lockgate, "own", EVENT, **{"content-type": "application/cloudevents+json"}).status == 401
    assert not target.came
    assert decisions(lockgate) == before


def test_cloud_events_come_with_a_credential_one_by_one_and_in_batches(lockgate: Lockgate, target: Target) -> None:
    kind = {"content-type": "application/cloudevents+json"}
    answer = ask(lockgate.ports["events"], "POST", "/events/own", lockgate.keys["ann"], EVENT, **kind)
    assert (answer.status, answer.json["outcome"]) == (202, "accepted")
    batch = [{**EVENT, "id": str(number)} for number in (1, 2, 3)]
    kind = {"content-type": "application/cloudevents-batch+json"}
    answers = ask(lockgate.ports["events"], "POST", "/events/own", lockgate.keys["ann"], batch, **kind)
    assert [each.get("duplicate", False) for each in answers.json] == [True, False, False]
    assert answers.json[0]["decision_id"] == answer.json["decision_id"]
    until(lambda: len(target.came) == 3, "all were delivered")
    assert sorted(fields["ce-id"] for _, fields, _ in target.came) == ["1", "2", "3"]


def test_a_caller_keeps_nobody_elses_event_from_being_decided(lockgate: Lockgate, target: Target) -> None:
    """A CloudEvent has whatever source and id its sender writes into it: those of a shop's next order, or of another caller's event."""
    before, kind = len(target.came), {"content-type": "application/cloudevents+json"}
    door = lockgate.ports["events"]
    forged = ask(door, "POST", "/events/own", lockgate.keys["ann"], {**EVENT, "source": "/events/shop", "id": "claimed"}, **kind)
    assert (forged.status, forged.json["code"]) == (422, "event_invalid")
    mine = shop(lockgate, "claimed", amount=1)
    named = {**EVENT, "source": "/orders", "id": "claimed"}
    others = [ask(door, "POST", "/events/own", lockgate.keys[who], named, **kind) for who in ("ann", "bob")]
    assert ["duplicate" in each.json for each in (mine, *others)] == [False, False, False]
    assert len({each.json["decision_id"] for each in (mine, *others)}) == 3
    assert shop(lockgate, "claimed", amount=1).json["decision_id"] == mine.json["decision_id"]
    went = 1 + sum(each.json["outcome"] == "accepted" for each in others)
    until(lambda: len(target.came) == before + went, "the shop's was delivered, too")


def test_what_policy_forbids_is_on_record_and_goes_nowhere(lockgate: Lockgate, target: Target) -> None:
    answer = shop(lockgate, "forbidden", "guest")
    assert (answer.status, answer.json["outcome"]) == (200, "denied")
    assert shop(lockgate, "forbidden", "guest").json["outcome"] == "denied"
    time.sleep(0.5)
    assert not target.came
    assert lockgate.story(answer.json["decision_id"])[0]["verdict"]["effect"] == "deny"


def test_what_policy_holds_waits_for_a_person_and_goes_out_when_approved(lockgate: Lockgate, target: Target) -> None:
    answer = shop(lockgate, "held", type="order.big")
    assert (answer.status, answer.json["outcome"]) == (202, "held")
    held = answer.json["decision_id"]
    review = until(lambda: (found := lockgate.control("GET", f"/v1/reviews/{held}", who="max")).status == 200 and found.json, "it was held")
    assert not target.came
    approval = {"comment": "looked at", "content_digest": review["content_digest"]}
    assert lockgate.control("POST", f"/v1/reviews/{held}/approve", approval, who="max").status == 200
    until(lambda: target.came, "it was delivered")
    assert target.keys() == [held]
    again = shop(lockgate, "held", type="order.big")
    assert (again.json["decision_id"], again.json["outcome"], again.json["duplicate"]) == (held, "held", True)


def test_a_target_that_fails_is_asked_again_until_it_takes_it(lockgate: Lockgate, target: Target) -> None:
    target.answer = lambda _: 503 if len(target.came) < 4 else 200
    answer = shop(lockgate, "failing")
    outcome = lockgate.outcome(answer.json["decision_id"])
    assert (outcome["result"], outcome["status"], outcome["attempts"]) == ("routed", 200, 4)
    assert target.keys() == [answer.json["decision_id"]] * 4


@pytest.mark.parametrize(("status", "reason"), [(410, "delivery_gone"), (400, "delivery_refused")])
def test_what_is_of_no_use_to_try_again_is_given_up_and_kept(lockgate: Lockgate, target: Target, status: int, reason: str) -> None:
    target.answer = lambda _: status
    answer = shop(lockgate, f"useless {status}")
    outcome = lockgate.outcome(answer.json["decision_id"])
    assert (outcome["result"], outcome["status"], outcome["reason"]) == ("failed", status, reason)
    assert len(target.came) == 1


def test_deliveries_of_one_lane_keep_their_order_and_others_do_not_wait(lockgate: Lockgate, target: Target) -> None:
    refused = set[str]()

    def answer(key: str) -> int:
        place = json.loads(target.came[-1][2])
        if place == {"type": "order.paid", "lane": "a", "place": 0} and key not in refused:
            refused.add(key)
            return 503
        return 200

    target.answer = answer
    for place in range(4):
        for lane in "ab":
            assert shop(lockgate, f"{lane}{place}", "lanes", lane=lane, place=place).json["outcome"] == "accepted"
    until(lambda: len(target.came) >= 9, "all were delivered")
    done = [json.loads(body) for _, _, body in target.came]
    assert [each["place"] for each in done if each["lane"] == "a"] == [0, 0, 1, 2, 3]
    assert [each["place"] for each in done if each["lane"] == "b"] == [0, 1, 2, 3]


def test_a_request_on_such_a_route_is_accepted_and_delivered(lockgate: Lockgate, target: Target) -> None:
    target.answer = lambda _: 503 if len(target.came) < 2 else 200
    answer = lockgate.ask("ann", "POST", "/orders/7", {"amount": 1})
    assert (answer.status, answer.json) == (202, {"decision_id": answer.decision, "status": "accepted"})
    assert lockgate.outcome(answer.decision)["attempts"] == 2
    assert target.keys() == [answer.decision] * 2


def test_what_was_decided_for_one_destination_is_sent_to_no_other(lockgate: Lockgate, target: Target) -> None:
    """The route leads elsewhere by now: the delivery waits, and goes where it was decided to once the route leads there again."""
    target.answer = lambda _: 503
    answer = shop(lockgate, "elsewhere")
    until(lambda: target.came, "it was tried")
    file = lockgate.yard.folder / "catalog.yaml"
    before, changed = load(file), load(file)
    changed["routes"]["orders"]["destination"] = "service"
    save(file, changed)
    waiting = f"/v1/deliveries/{answer.json['decision_id']}"
    until(lambda: lockgate.control("GET", waiting).json.get("reason") == "destination_unknown", "it waits")
    assert not lockgate.arrived("/orders")
    target.answer = lambda _: 200
    save(file, before)
    assert lockgate.outcome(answer.json["decision_id"])["status"] == 200
    assert not lockgate.arrived("/orders")


def decisions(lockgate: Lockgate) -> int:
    return sum(leaf["schema"] == "lockgate.decision.v1" for leaf in lockgate.leaves())
