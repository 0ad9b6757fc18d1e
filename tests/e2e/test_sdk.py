"""The SDK against a real server: what a service asks, hears, waits for and reports, and what it hears when the server is not well."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lockgate.asgi import HeldRequest, Reporter
from lockgate.client import (
    AnswerRefused,
    AsyncClient,
    Client,
    CredentialRefused,
    DecisionUnavailable,
    Denied,
    EvidenceRefused,
    Held,
    NoDecision,
    RateLimited,
    RequestRefused,
    ReviewEnded,
    ReviewPending,
    ReviewUnavailable,
    Subject,
)
from tests.e2e.authority import Authority
from tests.e2e.processes import until
from tests.e2e.rooms import rooms
from tests.e2e.running import Lockgate, Person, cli, company, listens, make_keys
from tests.e2e.wire import Answer, ask
from tests.unit.sdk.apps import app
from tests.unit.sdk.apps import ask as ask_app
from tests.unit.sdk.both import KINDS, Blocking

ANN = Subject("ann", roles=("employee",))
PAY = {"method": "POST", "path": "/pay/1", "body": {"amount": 5}}


@pytest.fixture(params=KINDS, ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


def settings(lockgate: Lockgate, who: str = "portal", **more: Any) -> dict[str, Any]:
    control = make_keys(lockgate.state, (Person("till", (), ("control:evidence.write", "control:reviews.follow")),))["till"]
    places = {"control_url": f"http://127.0.0.1:{lockgate.ports['control']}", "control_key": control}
    return {"api_key": lockgate.keys[who], **places, "timeout": 10.0, **more}


def client(kind: type, lockgate: Lockgate, who: str = "portal", **more: Any) -> Blocking:
    return Blocking(kind, f"http://127.0.0.1:{lockgate.ports['decide']}", **settings(lockgate, who, **more))


def judge(lockgate: Lockgate, review: str, how: str) -> Answer:
    digest = lockgate.control("GET", f"/v1/reviews/{review}", who="max").json["content_digest"]
    body = {"content_digest": digest} if how == "approve" else {"comment": "no"}
    return lockgate.control("POST", f"/v1/reviews/{review}/{how}", body, who="max")


def test_what_the_server_decides_is_what_the_service_hears(kind: type, lockgate: Lockgate) -> None:
    """About somebody else, recorded under the same id, in the trace that it came in."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    decision = client(kind, lockgate).require(method="GET", path="/items/7", subject=ANN, traceparent=trace)
    assert (decision.allowed, decision.intent, decision.classification.tier, decision.subject) == (True, "look", "rule", "ann")
    assert (decision.route.name, decision.trace_id) == ("plain", "0af7651916cd43dd8448eb211c80319c")
    (leaf,) = lockgate.story(decision.id)
    assert (leaf["request"]["door"], leaf["classification"]["intent"]) == ("decide", "look")
    with pytest.raises(Denied) as caught:
        client(kind, lockgate).require(method="GET", path="/secret/x", subject=ANN)
    assert (caught.value.decision.problem or {})["code"] == caught.value.code


@pytest.mark.parametrize(
    ("who", "asked", "error", "code"),
    [
        ("ann", {}, CredentialRefused, "scope_missing"),
        ("checkout", {"subject": ANN}, CredentialRefused, "scope_missing"),
        ("portal", {"path": "/a/../b"}, RequestRefused, "ambiguous_path"),
        ("portal", {"method": "get"}, RequestRefused, "invalid_request"),
    ],
)
def test_what_the_server_refuses_has_its_name(
    kind: type, lockgate: Lockgate, who: str, asked: dict[str, Any], error: type[NoDecision], code: str
) -> None:
    """Its own code, and the kind of thing that it is."""
    with pytest.raises(error) as caught:
        client(kind, lockgate, who).decide(**asked)
    assert caught.value.code == code


def test_a_wrong_key_is_the_services_own_fault(kind: type, lockgate: Lockgate) -> None:
    """401, and no second try."""
    with pytest.raises(CredentialRefused) as caught:
        client(kind, lockgate, api_key="lgk_abcdefgh_" + "a" * 43).decide(method="GET", path="/items/7")
    assert (caught.value.status, caught.value.code) == (401, "credential_unknown")


def test_held_then_approved(kind: type, lockgate: Lockgate) -> None:
    """The service waits, a person approves, the service does it and says so; the ledger tells it in that order, and reconciles."""
    asking = client(kind, lockgate)
    with pytest.raises(Held) as caught:
        asking.require(**PAY, subject=ANN, hold=True)
    held = caught.value.decision
    assert asking.review(held).waiting
    with pytest.raises(ReviewPending):
        asking.wait(held, timeout=0.05, every=0.01)
    approving = threading.Timer(0.3, judge, (lockgate, held.id, "approve"))
    approving.start()
    try:
        assert asking.wait(held, timeout=20, every=0.05).released
    finally:
        approving.join()
    assert asking.report(held, source="till", kind="com.example.paid", data={"amount": 5}).reference == "decision"
    story = [leaf.get("event") or leaf["schema"].split(".")[1] for leaf in lockgate.story(held.id)]
    assert story == ["decision", "held", "approved", "released", "evidence"]
    found = cli("audit", "reconcile", "--grace", "0s", "--state", str(lockgate.state), "--json")
    assert held.id not in found.stdout, found.stdout


def test_held_then_rejected(kind: type, lockgate: Lockgate) -> None:
    """There is nothing to be done."""
    asking = client(kind, lockgate)
    held = asking.decide(**PAY, subject=ANN, hold=True)
    assert judge(lockgate, held.id, "reject").status == 200
    with pytest.raises(ReviewEnded) as caught:
        asking.wait(held, timeout=20)
    assert caught.value.review.state == "rejected"


def test_evidence_is_recorded_once(kind: type, lockgate: Lockgate) -> None:
    """Said again it has the same place; something else under its name is refused."""
    asking = client(kind, lockgate)
    decision = asking.decide(method="GET", path="/items/7", subject=ANN)
    first, again = (asking.report(decision, source="till", kind="com.example.looked") for _ in range(2))
    assert first == again
    with pytest.raises(EvidenceRefused) as caught:
        asking.report(decision, source="till", kind="com.example.other")
    assert caught.value.code == "evidence_conflict"


async def test_the_middleware_answers_as_the_gateway(lockgate: Lockgate) -> None:
    """Status, body and header fields of what is denied, asked back and nowhere: the same but for the decision's id."""
    async with AsyncClient(f"http://127.0.0.1:{lockgate.ports['decide']}", **settings(lockgate)) as asking:
        reporter = Reporter(asking, "till")
        made = app(asking, reporter=reporter)
        for method, path, body in (("GET", "/secret/x", None), ("POST", "/nowhere", b"what now?"), ("GET", "/nowhere", None)):
            fields = {"content-type": "text/plain"} if body is not None else {}
            here = await ask_app(made, method, path, content=body, headers=fields)
            there = await asyncio.to_thread(ask, lockgate.gateway, method, path, lockgate.keys["ann"], body, **fields)
            assert here.status_code == there.status
            assert {**here.json(), "decision_id": ""} == {**there.json, "decision_id": ""}
            assert here.headers["content-type"] == there.fields["content-type"]
            assert lockgate.story(here.headers["x-lockgate-decision-id"])
        done = await ask_app(made, "GET", "/items/7")
        await reporter.close()
    story = lockgate.story(done.headers["x-lockgate-decision-id"])
    assert (done.status_code, [leaf["schema"] for leaf in story]) == (200, ["lockgate.decision.v1", "lockgate.evidence.v1"])


async def test_a_request_that_is_held_is_followed_to_its_release(lockgate: Lockgate) -> None:
    """The caller hears what the gateway says, with where to look; the service has the request, and may do it once a person said yes."""
    kept: list[HeldRequest] = []
    async with AsyncClient(f"http://127.0.0.1:{lockgate.ports['decide']}", **settings(lockgate)) as asking:
        made = app(asking, held=kept.append, held_at="/held")
        here = await ask_app(made, "POST", "/pay/1", json={"amount": 5})
        there = await asyncio.to_thread(lockgate.ask, "ann", "POST", "/pay/1", {"amount": 5})
        assert (here.status_code, {**here.json(), "decision_id": ""}) == (202, {**there.json, "decision_id": ""})
        (held,) = kept
        assert (await ask_app(made, "GET", here.headers["location"])).json()["state"] == "pending"
        shown = lockgate.control("GET", f"/v1/reviews/{held.decision.id}", who="max").json
        assert (shown["left_to_asker"], shown["request"]["subject"], shown["request"]["target"]) == (True, "ann", "/pay/1")
        told = await asyncio.to_thread(
            cli, "review", "show", held.decision.id, "--config", str(lockgate.yard.config), LOCKGATE_KEY=lockgate.keys["max"]
        )
        assert "none: the service that asked does it" in told.stdout
        assert judge(lockgate, held.decision.id, "approve").json["state"] == "released"
        assert (await ask_app(made, "GET", here.headers["location"])).json()["state"] == "released"
        assert (await asking.wait(held.decision, timeout=30)).released
    assert made.state.ran == []


def test_too_many_is_said_with_a_time(start: Callable[..., Lockgate]) -> None:
    """429 with Retry-After: waited for where there is time, raised where there is not."""
    lockgate = start(limits=[{"name": "each", "by": "subject", "rate": "1/s", "burst": 1}])
    url, key = f"http://127.0.0.1:{lockgate.ports['decide']}", lockgate.keys["checkout"]
    with Client(url, api_key=key, attempts=1) as hasty, Client(url, api_key=key, timeout=20, attempts=5) as patient:
        with pytest.raises(RateLimited) as caught:
            many(hasty)
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("rate_limited", 429, 1.0)
        assert patient.decide(method="GET", path="/items/7").allowed


def test_a_server_that_goes_and_comes(start: Callable[..., Lockgate]) -> None:
    """Killed, stopped in the middle, started again: each time there is a decision or an exception, within the time that was set."""
    lockgate = start()
    with Client(f"http://127.0.0.1:{lockgate.ports['decide']}", api_key=lockgate.keys["checkout"], timeout=2.0) as asking:
        assert asking.decide(method="GET", path="/items/7").allowed
        with suspended(lockgate):
            with pytest.raises(DecisionUnavailable) as caught:
                asking.decide(method="GET", path="/items/7")
            assert caught.value.code == "timeout"
        lockgate.process.kill()
        with pytest.raises(DecisionUnavailable) as caught:
            asking.decide(method="GET", path="/items/7")
        assert caught.value.code in ("unreachable", "interrupted")
        lockgate.start()
        assert until(lambda: allowed(asking), "the same client asked the new server")


def many(asking: Client) -> None:
    for _ in range(6):
        asking.decide(method="GET", path="/items/7")


def allowed(asking: Client) -> bool:
    try:
        return asking.decide(method="GET", path="/items/7").allowed
    except DecisionUnavailable:
        return False


@contextmanager
def suspended(lockgate: Lockgate) -> Iterator[None]:
    """Its processes hold their connections and do nothing."""
    processes = [lockgate.process.pid, *lockgate.workers()]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Authority]]:
    """Where decisions are asked for with a certificate, and whose authority certificates are of."""
    folder = tmp_path_factory.mktemp("mutual")
    authority = Authority(folder)
    certificate, key = authority.issue("localhost")
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(authority.ca), "client_certificates": "required"}
    who = [{"uri": "spiffe://yard.example/pay", "id": "payments", "roles": ["employee"], "scopes": ["decide"]}]
    with company(folder, decide={"tls": tls}, identity={"certificates": who}) as lockgate:
        yield f"https://localhost:{lockgate.ports['decide']}", authority


def test_a_certificate_says_who_asks(kind: type, mutual: tuple[str, Authority]) -> None:
    """Mutual TLS without any key: the service is who its certificate says; without one, or where the server is not ours, nothing is
    sent."""
    url, authority = mutual
    own = authority.issue("payments", x509.UniformResourceIdentifier("spiffe://yard.example/pay"))
    decision = Blocking(kind, url, ca=authority.ca, certificate=own).decide(method="GET", path="/items/7")
    assert (decision.allowed, decision.subject) == (True, "payments")
    for wrong in ({"ca": authority.ca}, {"certificate": own}):
        with pytest.raises(DecisionUnavailable):
            Blocking(kind, url, **wrong).decide(method="GET", path="/items/7")


def test_the_example_service_beside_a_real_lockgate(tmp_path: Path) -> None:
    """Words are understood, strangers refused, what was done is in the ledger when the service ends; without Lockgate nothing is done."""
    with rooms(tmp_path) as place:
        port = place.ports["rooms"]

        def said(method: str, path: str, body: Any = None, user: str = "anna", roles: str = "employee") -> Answer:
            return ask(port, method, path, None, body, x_user=user, x_roles=roles)

        assert said("POST", "/ask", "which room is free on friday?").json == {"intent": "find_room"}
        assert said("GET", "/rooms", roles="visitor").status == 403
        assert said("GET", "/rooms", user="").status == 401
        assert said("POST", "/assistant", {"message": "please cancel my booking for tomorrow"}).code == "intent_unexpected"
        done = said("DELETE", "/bookings/12")
        assert (done.status, done.json) == (200, "Alder")
        place.service.stop()
        shown = cli("audit", "show", done.decision, "--json", folder=place.workspace)
        assert [kind for kind in ("lockgate.decision.v1", "lockgate.evidence.v1") if kind in shown.stdout] == [
            "lockgate.decision.v1",
            "lockgate.evidence.v1",
        ]
        place.lockgate.kill()
        place.service.start()
        until(lambda: listens(port), "the service listened again")
        assert said("DELETE", "/bookings/13").code == "decision_unavailable"
        assert said("GET", "/healthz").status == 200


def test_who_calls_through_the_gateway_answers_what_is_asked(kind: type, lockgate: Lockgate) -> None:
    """With its own key there; the same counts once, and what is late is refused by name."""
    review = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5}).decision
    caller = client(kind, lockgate, gateway_url=f"http://127.0.0.1:{lockgate.gateway}", gateway_key=lockgate.keys["ann"])
    assert caller.question(review) is None
    assert lockgate.control("POST", f"/v1/reviews/{review}/ask", {"question": "Für wen?"}, who="max").status == 200
    question = caller.question(review)
    assert (question.number, question.text) == (1, "Für wen?")
    assert [caller.answer(review, "Für Zoë.", question, idempotency_key="k").state for _ in range(2)] == ["pending", "pending"]
    told = lockgate.control("GET", f"/v1/reviews/{review}", who="max").json["request"]["information"]
    assert [each["text"] for each in told] == ["Für Zoë."]
    with pytest.raises(AnswerRefused) as other:
        caller.answer(review, "For Max.", question)
    assert other.value.code == "review_not_pending"
    judge(lockgate, review, "reject")
    assert caller.question(review) is None
    with pytest.raises(ReviewUnavailable) as nobodys:
        client(kind, lockgate, gateway_url=f"http://127.0.0.1:{lockgate.gateway}", gateway_key=lockgate.keys["bob"]).question(review)
    assert nobodys.value.code == "not_found"
    with pytest.raises(ReviewUnavailable, match="nothing here"):
        client(kind, lockgate).question(review)  # no service had it held


def test_a_service_answers_what_is_asked_about_what_it_had_held(kind: type, lockgate: Lockgate) -> None:
    """Where it decides, with the key that it decides with; what the subject could say the service says for it."""
    asking = client(kind, lockgate)
    held = asking.decide(**PAY, subject=ANN, hold=True)
    assert asking.question(held) is None
    assert lockgate.control("POST", f"/v1/reviews/{held.id}/ask", {"question": "Für wen?"}, who="max").status == 200
    question = asking.question(held)
    assert (question.number, question.text) == (1, "Für wen?")
    answered = [asking.answer(held, "Für Zoë.", question) for _ in range(2)]
    assert [(each.id, each.state, each.quorum) for each in answered] == [(held.id, "pending", 1)] * 2
    told = lockgate.control("GET", f"/v1/reviews/{held.id}", who="max").json["request"]["information"]
    assert [each["text"] for each in told] == ["Für Zoë."]
    with pytest.raises(AnswerRefused) as other:
        asking.answer(held, "For Max.", question)
    assert other.value.code == "review_not_pending"
