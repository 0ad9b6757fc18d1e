"""The decide API and the control API as other programs use them."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, Person, cli, make_keys
from tests.e2e.wire import Answer, ask

WANTED = {"method": "GET", "path": "/items/7"}


def document(lockgate: Lockgate) -> Any:
    return ask(lockgate.ports["decide"], "GET", "/openapi.json", lockgate.keys["checkout"]).json


def test_a_decision_is_given_and_recorded_without_a_dispatch(lockgate: Lockgate) -> None:
    """`POST /v1/decide` answers with the whole decision; it is in the ledger, and the service hears nothing."""
    answer = lockgate.decide("checkout", WANTED)
    found = answer.json
    assert answer.status == 200
    assert (found["subject"]["id"], found["request"]["door"]) == ("checkout", "decide")
    assert (found["classification"]["intent"], found["verdict"]["effect"], found["route"]["name"]) == ("look", "allow", "plain")
    assert found["outcome"] is None
    (decision,) = lockgate.story(found["id"])
    assert decision["request"]["door"] == "decide"
    assert decision["config_digest"] == found["config_digest"]
    assert lockgate.arrivals() == []


@pytest.mark.parametrize(
    "wanted",
    [WANTED, {"method": "POST", "path": "/pay/1", "body": {"a": 1}}, {"text": "what now?"}, {"method": "GET", "path": "/secret/x"}],
    ids=["allowed", "held", "unknown", "denied"],
)
def test_the_published_document_describes_the_answer(lockgate: Lockgate, wanted: Any) -> None:
    """What the decide API answers is valid against the schema in its own OpenAPI document, and has nothing beside it."""
    published = document(lockgate)
    schema = published["paths"]["/v1/decide"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    found = lockgate.decide("checkout", wanted).json
    jsonschema.Draft202012Validator({**schema, "components": published["components"]}).validate(found)
    assert set(found) == set(published["components"]["schemas"]["DecisionOut"]["properties"])


def test_a_held_request_is_left_to_the_service_once_it_is_approved(lockgate: Lockgate) -> None:
    """Asked to hold, the decide API puts the request before reviewers; approved, it is the service's to do, and nothing is sent."""
    wanted = {"method": "POST", "path": "/pay/1", "body": {"amount": 5}, "hold": True}
    found = lockgate.decide("checkout", wanted).json
    assert (found["outcome"]["result"], found["problem"]["status"], found["problem"]["decision_id"]) == ("held", 202, found["id"])
    key = make_keys(lockgate.state, (Person("waiter", (), ("control:reviews.follow",)),))["waiter"]

    def standing() -> Any:
        return ask(lockgate.ports["control"], "GET", f"/v1/reviews/{found['id']}/state", key).json

    assert (standing()["state"], standing()["quorum"]) == ("pending", 1)
    assert ask(lockgate.ports["control"], "GET", f"/v1/reviews/{found['id']}", key).status == 403
    digest = lockgate.control("GET", f"/v1/reviews/{found['id']}", who="max").json["content_digest"]
    approved = lockgate.control("POST", f"/v1/reviews/{found['id']}/approve", {"content_digest": digest}, who="max")
    assert (approved.status, approved.json["state"], standing()["state"]) == (200, "released", "released")
    assert [leaf.get("event") for leaf in lockgate.story(found["id"])] == [None, "held", "approved", "released"]
    assert lockgate.arrivals() == []


def test_a_service_is_asked_and_answers_where_it_decides(lockgate: Lockgate) -> None:
    """The question stands in what it follows, by the description; the answer is on record once, and nobody else sees or answers it."""
    wanted = {"method": "POST", "path": "/pay/1", "body": {"amount": 5}, "hold": True}
    review = lockgate.decide("checkout", wanted).json["id"]
    place, port = f"/v1/decide/{review}", lockgate.ports["decide"]

    def look(who: str = "checkout", **fields: str) -> Answer:
        return ask(port, "GET", place, lockgate.keys[who], **fields)

    def say(body: Any, who: str = "checkout", **fields: str) -> Answer:
        return ask(port, "POST", place, lockgate.keys[who], body, **fields)

    before = look()
    assert before.json["question"] is None
    assert lockgate.control("POST", f"/v1/reviews/{review}/ask", {"question": "For whom?"}, who="max").status == 200
    seen = look(prefer="wait=20", if_none_match=before.fields["etag"])
    described(lockgate, "HeldOut", seen.json)
    asked = seen.json["question"]
    assert (asked["number"], asked["text"], asked["answer_at"], asked["if_match"]) == (1, "For whom?", place, seen.fields["etag"])
    tag = asked["if_match"]
    assert (look("portal").status, say({"text": "mine"}, "portal", if_match=tag).status) == (404, 404)
    refused = [say("x"), say("x", if_match="3"), say({"txt": "x"}, if_match=tag), say("x" * 4001, if_match=tag)]
    refused += [say("x", if_match=tag, origin="https://evil.example"), say("x" * 40_000, if_match=tag), say("x", if_match='"1"')]
    refused += [say("x", if_match=tag, content_type="text/html")]
    assert [(each.status, each.code) for each in refused] == [
        (428, "if_match_missing"), (400, "request_invalid"), (422, "request_invalid"), (422, "request_invalid"),
        (403, "cors_refused"), (413, "body_too_large"), (409, "review_changed"), (415, "answer_media_type"),
    ]  # fmt: skip
    first, again = (say({"text": "For Zoe."}, if_match=tag, idempotency_key="k") for _ in range(2))
    assert (first.status, first.json["state"], first.json["question"], "idempotent-replayed" in first.fields) == (
        200,
        "pending",
        None,
        False,
    )
    assert (again.status, again.fields["idempotent-replayed"], again.fields["etag"]) == (200, "true", look().fields["etag"])
    assert say("other", if_match=tag, idempotency_key="k").code == "idempotency_key_reused"
    events = [leaf.get("event") for leaf in lockgate.story(review)]
    assert events == [None, "held", "information_asked", "refused", "information_given"]
    shown = lockgate.control("GET", f"/v1/reviews/{review}", who="max").json["request"]["information"]
    assert [(each["text"], each["by"]) for each in shown] == [("For Zoe.", "checkout")]


def described(lockgate: Lockgate, name: str, found: Any) -> None:
    published = document(lockgate)
    jsonschema.Draft202012Validator({**published["components"]["schemas"][name], "components": published["components"]}).validate(found)


def test_what_is_not_to_be_held_has_no_review(lockgate: Lockgate) -> None:
    """Who only asks leaves nothing for reviewers."""
    found = lockgate.decide("checkout", {"method": "POST", "path": "/pay/1", "body": {"amount": 5}}).json
    assert found["outcome"]["result"] == "held"
    assert lockgate.control("GET", f"/v1/reviews/{found['id']}", who="max").status == 404


def test_the_problem_is_what_the_gateway_answers(lockgate: Lockgate) -> None:
    """Word for word but for the id, so that a service which enforces by itself can pass it on; null where it may go ahead."""
    found = lockgate.decide("checkout", {"method": "GET", "path": "/secret/x"}).json
    there = lockgate.ask("ann", "GET", "/secret/x").json
    assert {**found["problem"], "decision_id": ""} == {**there, "decision_id": ""}
    assert lockgate.decide("checkout", WANTED).json["problem"] is None


def test_deciding_for_somebody_else_needs_delegation(lockgate: Lockgate) -> None:
    """A key without the scope `delegate` cannot name a subject; one with it can, and the decision is about that subject."""
    wanted = {**WANTED, "subject": {"id": "carla", "roles": ["employee"]}}
    refused = lockgate.decide("checkout", wanted)
    assert (refused.status, refused.code) == (403, "scope_missing")
    found = lockgate.decide("portal", wanted).json
    assert (found["subject"]["id"], found["subject"]["authenticated_by"]) == ("carla", "delegated")
    assert found["verdict"]["effect"] == "allow"


def test_a_gateway_key_is_no_decide_key(lockgate: Lockgate) -> None:
    """Scopes hold: a key for one door is refused at the other."""
    refused = lockgate.decide("ann", WANTED)
    assert (refused.status, refused.code) == (403, "scope_missing")
    other = lockgate.ask("checkout", "GET", "/items/7")
    assert (other.status, other.code) == (403, "scope_missing")


@pytest.mark.parametrize("wanted", [{"path": "nowhere"}, {"surprise": 1}, {"path": "/a/../b"}, {"body": float("inf")}, [], "text"])
def test_a_malformed_question_is_400(lockgate: Lockgate, wanted: Any) -> None:
    """What the schema does not allow, and a path with two meanings, is refused in one sentence."""
    answer = ask(lockgate.ports["decide"], "POST", "/v1/decide", lockgate.keys["checkout"], wanted, content_type="application/json")
    assert answer.status == 400
    assert answer.code
    assert answer.json["detail"]


@pytest.mark.parametrize("body", [10**30, "\ud800", {"ä": [1.5, None]}])
def test_an_unusual_body_is_decided_about(lockgate: Lockgate, body: Any) -> None:
    """Whatever JSON can say; none of it is a failure inside Lockgate."""
    assert lockgate.decide("checkout", {"method": "GET", "path": "/items/7", "body": body}).status == 200


def test_health_needs_no_key(lockgate: Lockgate) -> None:
    """Liveness and readiness are public, and readiness names what was looked at."""
    control = lockgate.ports["control"]
    assert ask(control, "GET", "/healthz").status == 200
    ready = ask(control, "GET", "/readyz").json
    assert ready["ready"] is True
    assert {each["name"] for each in ready["checks"]} >= {"workers", "audit"}
    assert ask(lockgate.ports["decide"], "GET", "/readyz").status == 200


@pytest.mark.parametrize("path", ["/metrics", "/v1/config", "/v1/audit/records", "/v1/reviews", "/v1/keys"])
def test_everything_else_needs_a_key(lockgate: Lockgate, path: str) -> None:
    """Without a key 401; with a caller's gateway key 403."""
    assert ask(lockgate.ports["control"], "GET", path).status == 401
    refused = lockgate.control("GET", path, who="ann")
    assert (refused.status, bool(refused.code)) == (403, True)


def test_the_metrics_tell_of_every_process(lockgate: Lockgate) -> None:
    """One Prometheus page: the workers' counters with their worker, and the figures of the whole."""
    lockgate.ask("ann", "GET", "/echo/x")
    page = lockgate.control("GET", "/metrics").body.decode()
    assert 'lockgate_requests_total{reason="",result="routed",route="plain",worker="0"}' in page
    assert "lockgate_audit_records " in page
    assert "lockgate_workers 1.0" in page


def test_the_audit_trail_answers_questions(lockgate: Lockgate) -> None:
    """Records are found by subject, intent, verdict and decision, page by page, each with proof of where it stands; and the reader is
    recorded in turn."""
    decisions = {lockgate.ask("bob", "GET", "/items/9").decision for _ in range(3)}
    for decision in decisions:
        lockgate.outcome(decision)
    found, cursor = set(), ""
    for _ in range(10):
        page = lockgate.control("GET", f"/v1/audit/records?kind=decision&subject=bob&intent=look&effect=allow&limit=2{cursor}").json
        found |= {each["leaf"]["id"] for each in page["records"]}
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert decisions <= found
    story = lockgate.control("GET", f"/v1/audit/decisions/{decisions.pop()}").json["records"]
    assert [each["leaf"]["schema"] for each in story] == ["lockgate.decision.v1", "lockgate.outcome.v1"]
    assert lockgate.control("GET", "/v1/audit/decisions/00000000-0000-7000-8000-000000000000").status == 404
    assert lockgate.system("audit_read")


def test_the_audit_trail_counts_and_opens_for_who_may(lockgate: Lockgate) -> None:
    """Statistics over the wire, a condition with its mistake in one sentence, personal fields for an administrator."""
    decision = lockgate.ask("bob", "GET", "/items/9").decision
    lockgate.outcome(decision)
    where = quote(f"decision_id = '{decision}' and effect = 'allow'")
    told = lockgate.control("GET", f"/v1/audit/stats?by=intent,result&where={where}").json
    assert [(group["intent"], group["result"], group["count"]) for group in told["groups"]] == [("look", "routed", 1)]
    assert (told["records"], told["complete_to"] > 1) == (1, True)
    wrong = lockgate.control("GET", f"/v1/audit/records?where={quote('effct = 1')}")
    assert (wrong.status, wrong.code) == (400, "audit_query_invalid")
    record = lockgate.control("GET", f"/v1/audit/decisions/{decision}?personal=true").json["records"][0]
    assert (record["sealed"], record["personal"]["subject"]) == ("opened", "bob")
    assert lockgate.system("audit_read")[-1]["opened"] is True


def test_a_reading_beside_the_server_becomes_a_record(lockgate: Lockgate) -> None:
    """The command line leaves a note; the process that owns the ledger takes it up, under the key of the account."""
    decision = lockgate.ask("bob", "GET", "/items/9").decision
    shown = cli("audit", "show", decision, "--personal", "--json", "--state", str(lockgate.state))
    assert (shown.returncode, json.loads(shown.stdout.splitlines()[0])["personal"]["subject"]) == (0, "bob")
    filters = f"id = '{decision}'"
    until(lambda: any(each["filters"] == filters for each in lockgate.system("audit_read")), "the reading was recorded")
    found = [each for each in lockgate.system("audit_read") if each["filters"] == filters][-1]
    assert (found["source"], found["what"], found["opened"], found["exported"]) == ("cli", "decision", True, "pipe")
    until(lambda: not list((lockgate.state / "readings").glob("*.json")), "the note was removed")
    listed = cli("audit", "reading", "--json", "--reader", f"cli:uid{os.getuid()}", "--state", str(lockgate.state))
    assert found["reader_key"] in listed.stdout


def test_an_unknown_host_is_not_answered(lockgate: Lockgate) -> None:
    """A page that rebinds its name to this machine cannot speak to the control API."""
    answer = lockgate.control("GET", "/v1/config")
    assert answer.status == 200
    rebound = ask(lockgate.ports["control"], "GET", "/healthz", host="evil.example")
    assert (rebound.status, rebound.code) == (421, "host_refused")


def test_a_revoked_key_opens_nothing(lockgate: Lockgate) -> None:
    """A key made over the control API works at once, and no more soon after it was revoked there."""
    made = lockgate.control("POST", "/v1/keys", {"name": "x", "subject": "tim", "roles": ["employee"], "scopes": ["gateway"]})
    assert made.status == 201, made
    key = made.json["key"]
    until(lambda: ask(lockgate.gateway, "GET", "/echo/x", key).status == 200, "the key was known")
    assert lockgate.control("DELETE", f"/v1/keys/{made.json['id']}").status in (200, 204)
    until(lambda: ask(lockgate.gateway, "GET", "/echo/x", key).status == 401, "the key was revoked")
