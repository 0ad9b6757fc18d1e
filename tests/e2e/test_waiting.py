"""Callers of held requests: they hear where the end is to be seen, see it there and nobody else does, or wait for it."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from fastapi.routing import APIRoute

from router.control.app import create_app
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_reviews import approve, held, shown, state_of
from tests.e2e.wire import Answer, ask

Start = Callable[..., Lockgate]


def look(lockgate: Lockgate, review: str, who: str | None = "ann", method: str = "GET", **fields: str) -> Answer:
    return lockgate.ask(who, method, f"/.lockgate/reviews/{review}", **fields)


def waits_for(lockgate: Lockgate, work: Callable[[], Answer]) -> tuple[str, Future[Answer]]:
    """The review that the one who asks in a thread is waiting for."""
    known = {each["id"] for each in pending(lockgate)}
    future = ThreadPoolExecutor(1).submit(work)
    (review,) = until(lambda: {each["id"] for each in pending(lockgate)} - known, "it was held")
    return review, future


def pending(lockgate: Lockgate) -> list[Any]:
    return list(lockgate.control("GET", "/v1/reviews?state=pending&limit=500", who="max").json["reviews"])


def reject(lockgate: Lockgate, review: str) -> Answer:
    return lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max")


def test_who_asked_sees_how_it_ended_where_location_says(lockgate: Lockgate) -> None:
    """202 with Location and Retry-After; then the upstream's status, header fields and body, as they would have come at once."""
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    review = answer.decision
    assert (answer.status, answer.fields["location"]) == (202, f"/.lockgate/reviews/{review}")
    assert int(answer.fields["retry-after"]) > 0
    waiting = lockgate.ask("ann", "GET", answer.fields["location"])
    assert (waiting.status, waiting.json["state"], waiting.fields["x-lockgate-review"]) == (202, "pending", "pending")
    assert int(waiting.fields["retry-after"]) > 0
    approve(lockgate, review)
    state_of(lockgate, review, "done")
    at_once = lockgate.ask("ann", "GET", "/items/1")
    final = look(lockgate, review)
    assert (final.status, final.fields["x-lockgate-review"], final.decision) == (200, "done", review)
    assert final.fields["content-type"] == at_once.fields["content-type"]
    assert final.json["target"] == "/pay/1"
    head = look(lockgate, review, method="HEAD")
    assert (head.status, head.body, head.fields["content-length"]) == (200, b"", final.fields["content-length"])


def test_nobody_else_sees_it(lockgate: Lockgate) -> None:
    """404 for others, managers too, as for what there never was; 401 for who does not say who he is."""
    review = held(lockgate)
    nowhere = look(lockgate, "019ab9d0-1111-7000-8000-000000000001")
    for who in ("bob", "mia"):
        other = look(lockgate, review, who)
        assert (other.status, other.code, other.body) == (404, "not_found", nowhere.body)
    assert look(lockgate, review, None).status == 401
    for method in ("DELETE", "PUT"):
        assert look(lockgate, review, method=method).status == 405
    assert shown(lockgate, review)["state"] == "pending"


def test_a_rejected_one_is_told_with_its_reason(lockgate: Lockgate) -> None:
    """403 with the code that is on record; nothing of who said so or why."""
    review = held(lockgate)
    reject(lockgate, review)
    answer = look(lockgate, review)
    assert (answer.status, answer.code, answer.fields["x-lockgate-review"]) == (403, "review_rejected", "rejected")
    assert b"max" not in answer.body


def test_a_caller_may_wait_for_the_end_of_it(lockgate: Lockgate) -> None:
    """`Prefer: wait`: approved meanwhile, the answer is the upstream's own."""
    review, answer = waits_for(lockgate, lambda: lockgate.ask("ann", "POST", "/pay/2", {"amount": 5}, Prefer="wait=15"))
    approve(lockgate, review)
    came = answer.result(timeout=20)
    assert (came.status, came.json["target"], came.decision) == (200, "/pay/2", review)
    assert (came.fields["preference-applied"], came.fields["x-lockgate-review"]) == ("wait=15", "done")
    assert len(lockgate.arrived("/pay/2")) == 1


def test_who_waits_hears_of_a_rejection(lockgate: Lockgate) -> None:
    """At once, as a problem."""
    review, answer = waits_for(lockgate, lambda: lockgate.ask("ann", "POST", "/pay/3", {"amount": 5}, Prefer="respond-async, wait=15"))
    reject(lockgate, review)
    assert (answer.result(timeout=20).status, answer.result().code) == (403, "review_rejected")


def test_who_waits_in_vain_hears_202(lockgate: Lockgate) -> None:
    """With everything that he would have heard at once, and that his preference was heeded."""
    answer = lockgate.ask("ann", "POST", "/pay/4", {"amount": 5}, Prefer='wait="1"')
    assert (answer.status, answer.fields["preference-applied"]) == (202, "wait=1")
    assert answer.fields["location"] == f"/.lockgate/reviews/{answer.decision}"


@pytest.mark.parametrize("prefer", ["wait", "wait=soon", "wait=-1", "wait=0", "return=minimal", "wait=1.5"])
def test_what_is_no_preference_for_waiting_is_none(lockgate: Lockgate, prefer: str) -> None:
    """RFC 7240: what cannot be read is passed over."""
    answer = lockgate.ask("ann", "POST", "/pay/5", {"amount": 5}, Prefer=prefer)
    assert (answer.status, "preference-applied" in answer.fields) == (202, False)


def test_the_place_can_be_waited_at_too(lockgate: Lockgate) -> None:
    """For the end, or for whatever comes after what is known."""
    review = held(lockgate)
    known = look(lockgate, review).fields["etag"]
    same = look(lockgate, review, **{"If-None-Match": known})
    assert (same.status, same.body, same.fields["etag"]) == (304, b"", known)
    still = look(lockgate, review, **{"If-None-Match": known, "Prefer": "wait=1"})
    assert (still.status, still.fields["preference-applied"]) == (304, "wait=1")
    with ThreadPoolExecutor(2) as callers:
        end = callers.submit(look, lockgate, review, Prefer="wait=15")
        step = callers.submit(look, lockgate, review, **{"If-None-Match": known, "Prefer": "wait=15"})
        approve(lockgate, review)
        assert (end.result(timeout=20).status, end.result().json["target"]) == (200, "/pay/1")
        assert step.result(timeout=20).status in (200, 202)


def test_a_caller_who_leaves_costs_nothing(lockgate: Lockgate) -> None:
    """What he asked for is held all the same."""
    known = {each["id"] for each in pending(lockgate)}
    body = b'{"amount": 5}'
    with socket.create_connection(("127.0.0.1", lockgate.gateway), timeout=10) as caller:
        head = f"POST /pay/6 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {lockgate.keys['ann']}\r\nprefer: wait=25\r\ncontent-type: "
        caller.sendall(f"{head}application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        (review,) = until(lambda: {each["id"] for each in pending(lockgate)} - known, "it was held")
    approve(lockgate, review)
    state_of(lockgate, review, "done")
    assert look(lockgate, review).status == 200


@pytest.mark.slow
def test_answers_are_kept_for_a_while_and_no_longer(start: Start) -> None:
    """410 with its own reason afterwards, and for what was too long to be kept; the bytes are gone from the store."""
    lockgate = start(review={"keep": "2s", "answer": "64B", "wait": "20s"})
    review, answer = waits_for(lockgate, lambda: lockgate.ask("ann", "POST", "/pay/1", {"amount": 5}, Prefer="wait=100"))
    approve(lockgate, review)
    came = answer.result(timeout=30)
    assert (came.status, came.code, came.json["answered"]) == (410, "answer_not_kept", 200)
    assert came.fields["preference-applied"] == "wait=20"
    gone = until(lambda: (found := look(lockgate, review)).code == "answer_expired" and found, "its time was over")
    assert (gone.status, gone.json["answered"]) == (410, 200)


@pytest.mark.slow
def test_a_stop_does_not_wait_for_those_who_wait(start: Start) -> None:
    """They hear 202, and find the end after the next start."""
    lockgate = start(review={"wait": "5m"})
    review, answer = waits_for(lockgate, lambda: lockgate.ask("ann", "POST", "/pay/1", {"amount": 5}, Prefer="wait=300"))
    lockgate.process.stop()
    assert answer.result(timeout=20).status == 202
    lockgate.start()
    approve(lockgate, review)
    state_of(lockgate, review, "done")
    assert look(lockgate, review).status == 200


def follow(lockgate: Lockgate, review: str, who: str = "checkout", **fields: str) -> Answer:
    return ask(lockgate.ports["decide"], "GET", f"/v1/decide/{review}", lockgate.keys[who], **fields)


def decide(lockgate: Lockgate, who: str = "checkout", subject: str | None = None, **fields: str) -> Answer:
    wanted: dict[str, Any] = {"method": "POST", "path": "/pay/1", "body": {"amount": 5}, "hold": True}
    if subject is not None:
        wanted["subject"] = {"id": subject, "roles": ["employee"]}
    return ask(lockgate.ports["decide"], "POST", "/v1/decide", lockgate.keys[who], wanted, **fields)


def test_a_service_follows_what_it_had_held(lockgate: Lockgate) -> None:
    """With the key that it decides with: where it stands, and nothing of who decides. Others hear 404."""
    answer = decide(lockgate)
    review = answer.json["id"]
    assert (answer.status, answer.fields["location"]) == (200, f"/v1/decide/{review}")
    assert (answer.json["outcome"]["result"], answer.json["review"]["state"]) == ("held", "pending")
    known = follow(lockgate, review)
    assert (known.status, known.json) == (200, answer.json["review"])
    assert follow(lockgate, review, **{"If-None-Match": known.fields["etag"]}).status == 304
    assert (follow(lockgate, review, "portal").status, follow(lockgate, "nothing").status) == (404, 404)
    assert follow(lockgate, review, "ann").status == 403
    approve(lockgate, review)
    end = follow(lockgate, review, Prefer="wait=15")
    assert (end.json["state"], end.json["approvals"], end.fields["preference-applied"]) == ("released", 1, "wait=15")


def test_a_service_waits_for_what_it_asks_on_somebody_elses_behalf(lockgate: Lockgate) -> None:
    """The decision comes with its end; the one it was asked for may look, too."""
    review, answer = waits_for(lockgate, lambda: decide(lockgate, "portal", "bob", Prefer="wait=15"))
    assert follow(lockgate, review, "portal").json["state"] == "pending"
    approve(lockgate, review)
    came = answer.result(timeout=20)
    assert (came.json["review"]["state"], came.fields["preference-applied"]) == ("released", "wait=15")
    assert (look(lockgate, review, "bob").status, look(lockgate, review, "ann").status) == (200, 404)
    assert look(lockgate, review, "bob").json["state"] == "released"


def places(review: str) -> list[str]:
    """Every path of the control API and the console, with the review's id wherever it has room for one; those too
    that only POST is served at: a mail filter tries whatever it finds."""
    services: Any = SimpleNamespace(hosts=None)
    found = {route.path for route in create_app(services).routes if isinstance(route, APIRoute)}
    return sorted(re.sub(r"\{[^}]+\}", review, path) for path in found)


def test_links_that_machines_follow_change_nothing(lockgate: Lockgate) -> None:
    """GET and HEAD of everything there is, as people who may decide, as who asked and as nobody; with and without what a form would send.
    The review is as it was, and no step of one is on record; then it can be decided, which takes a POST."""
    review = held(lockgate)
    asked, before = places(review), shown(lockgate, review)
    assert f"/console/reviews/{review}" in asked
    assert f"/v1/reviews/{review}/approve" in asked
    steps = [leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.review.v1"]
    forms = ("", f"?content_digest={before['content_digest']}&comment=ok&approve=1&decision=approve")
    for method, who, path, form in product(("GET", "HEAD"), ("max", "root", None), asked, forms):
        ask(lockgate.ports["control"], method, path + form, lockgate.keys.get(who or ""))
    for method, who in product(("GET", "HEAD"), ("ann", "mia", None)):
        look(lockgate, review, who, method)
        ask(lockgate.ports["decide"], method, f"/v1/decide/{review}", lockgate.keys.get(who or ""))
    assert shown(lockgate, review) == before
    assert [leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.review.v1"] == steps
    assert lockgate.arrived("/pay/1") == []
    assert approve(lockgate, review).status == 200


@pytest.mark.slow
def test_a_thousand_callers_wait_and_others_are_served(start: Start) -> None:
    """More than may be under way at once: nobody else is kept from being served, waiting costs no work, and each hears of his own."""
    many = 1000
    lockgate = start(review={"wait": "5m"})
    body = b'{"amount": 5}'
    head = f"authorization: Bearer {lockgate.keys['ann']}\r\nprefer: wait=300\r\ncontent-type: application/json"
    callers: list[socket.socket] = []
    try:
        for number in range(many):
            caller = socket.create_connection(("127.0.0.1", lockgate.gateway), timeout=120)
            callers.append(caller)
            request = f"POST /pay/{number} HTTP/1.1\r\nhost: x\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n"
            caller.sendall(request.encode() + body)
        until(lambda: b"\nlockgate_reviews_pending 1000.0\n" in lockgate.control("GET", "/metrics").body, "all were held", 60)
        serving = psutil.Process(lockgate.process.pid)
        processes = [serving, *serving.children(recursive=True)]
        before = [sum(each.cpu_times()[:2]) for each in processes]
        time.sleep(10)  # a figure, and nothing that the test depends on
        spent = [sum(each.cpu_times()[:2]) - earlier for each, earlier in zip(processes, before, strict=True)]
        print(f"CPU of {len(processes)} processes while {many} wait, 10 s: {[round(each, 2) for each in spent]}")
        assert lockgate.ask("ann", "GET", "/items/1").status == 200
        reviews = {each["id"] for each in pending(lockgate)}
        assert len(reviews) == 500
        review = sorted(reviews)[0]
        assert approve(lockgate, review).status == 200
        answered = until(lambda: select.select(callers, [], [], 5)[0], "one heard of it", 30)
        assert len(answered) == 1
        assert b"HTTP/1.1 200" in answered[0].recv(65536)
    finally:
        for caller in callers:
            caller.close()
