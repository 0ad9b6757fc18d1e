"""Who comes to a held request over HTTP besides its one reviewer: another one at the same moment, machines that fetch links, somebody whose
session ended while they were reading. Real requests to the real process, without a browser's help."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from router.system import SystemClock
from router.wiring.sign_in import local_links
from router.workspace import parse, read
from tests.e2e.running import Lockgate
from tests.e2e.test_reviews import held, shown, state_of
from tests.e2e.wire import Answer, ask

FORM, HTML = "application/x-www-form-urlencoded", "text/html"
FETCHES = (
    {"user-agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
    {"sec-purpose": "prefetch;prerender", "purpose": "prefetch", "sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    {"user-agent": "Mozilla/5.0 (mail filter)", "accept": HTML, "range": "bytes=0-1023"},
)


def at_version(lockgate: Lockgate, who: str, review: str, verb: str, version: int) -> Answer:
    body = {"comment": f"{who} has looked"} | ({"content_digest": shown(lockgate, review)["content_digest"]} if verb == "approve" else {})
    path, fields = f"/v1/reviews/{review}/{verb}", {"If-Match": f'"{version}"'}
    return ask(lockgate.ports["control"], "POST", path, lockgate.keys[who], body, **fields)


def steps(lockgate: Lockgate, review: str) -> list[str]:
    return [leaf["event"] for leaf in lockgate.story(review) if leaf["schema"] == "lockgate.review.v1" and leaf["event"] != "refused"]


def test_of_two_reviewers_who_saw_the_same_one_decides(lockgate: Lockgate) -> None:
    """Three times, at the same moment, with the same ETag: an approval and a rejection. One stands; the other hears by name that it has
    changed, and is on record as refused; what was rejected is not sent."""
    with ThreadPoolExecutor(2) as people:
        for number in range(3):
            path = f"/pay/race{number}"
            review = held(lockgate, path)
            tried = people.map(
                lambda each, review=review: at_version(lockgate, each[0], review, each[1], 1), (("max", "approve"), ("root", "reject"))
            )
            one, other = sorted(tried, key=lambda answer: answer.status)
            assert (one.status, other.status, other.code in ("review_changed", "review_not_pending")) == (200, 409, True), (one, other)
            became = state_of(lockgate, review, "done", "rejected")
            assert len(lockgate.arrived(path)) == (became == "done")
            assert steps(lockgate, review) == (["held", "approved", "dispatched"] if became == "done" else ["held", "rejected"])


def test_an_old_etag_changes_nothing(lockgate: Lockgate) -> None:
    """Whoever saw it before a claim and its end decides nothing with what they saw, on the API or with the console's form."""
    review = held(lockgate)
    for verb, version in (("claim", 1), ("release", 2)):
        assert at_version(lockgate, "max", review, verb, version).status == 200
    for verb in ("approve", "reject", "claim", "escalate", "ask"):
        body = {"question": "why?"} if verb == "ask" else {"comment": "old", **({"content_digest": "0" * 64} if verb == "approve" else {})}
        fields = {"If-Match": '"1"'}
        answer = ask(lockgate.ports["control"], "POST", f"/v1/reviews/{review}/{verb}", lockgate.keys["max"], body, **fields)
        assert (answer.status, answer.code) == (409, "review_changed"), verb
    assert (shown(lockgate, review)["state"], shown(lockgate, review)["version"]) == ("pending", 3)


class Seat:
    """Signed in by the link of this machine, as a browser is: a cookie, and the token that its pages have for forms."""

    def __init__(self, lockgate: Lockgate) -> None:
        self.port = lockgate.ports["control"]
        links = local_links(parse(read(lockgate.yard.config, {}), {}), SystemClock())
        assert links is not None
        signed = self._form("/console/sign-in/local", {"token": links.token()}, {})
        self.cookie = dict(signed.headers)["set-cookie"].partition(";")[0]
        who = self.get("/v1/identity").json
        self.csrf, self.subject = who["csrf"], who["subject"]

    def get(self, path: str, method: str = "GET", **fields: str) -> Answer:
        return ask(self.port, method, path, None, None, cookie=self.cookie, **fields)

    def post(self, path: str, told: dict[str, str], **fields: str) -> Answer:
        return self._form(path, told, {"cookie": self.cookie, **fields})

    def _form(self, path: str, told: dict[str, str], fields: dict[str, str]) -> Answer:
        return ask(self.port, "POST", path, None, urlencode(told).encode(), content_type=FORM, accept=HTML, **fields)


@pytest.fixture(scope="module")
def seat(running: Lockgate) -> Seat:
    return Seat(running)


def untouched(lockgate: Lockgate, review: str) -> None:
    found = shown(lockgate, review)
    assert (found["state"], found["version"]) == ("pending", 1)
    assert steps(lockgate, review) == ["held"]
    assert lockgate.arrivals() == []


def test_machines_that_fetch_a_notices_link_decide_nothing(lockgate: Lockgate, seat: Seat) -> None:
    """Previews and mail filters, signed in or not, on the page of the link and on every address that decides: that is all."""
    review = held(lockgate)
    verbs = ("approve", "reject", "claim", "release", "ask", "escalate", "reroute", "modify", "answer", "cancel")
    places = [
        f"/console/reviews/{review}",
        *(f"{base}/{verb}" for verb in verbs for base in (f"/console/reviews/{review}", f"/v1/reviews/{review}")),
    ]
    for place in places:
        for fields in FETCHES:
            for method in ("GET", "HEAD"):
                found = seat.get(place, method, **fields)
                assert found.status in (200, 206, 403, 404, 405), (place, method, found)
                assert ask(seat.port, method, place, None, None, **fields).status in (303, 401, 404, 405)
    untouched(lockgate, review)


@pytest.mark.parametrize(
    ("fields", "token", "code"),
    [
        ({}, "", "csrf_missing"),
        ({}, "of another session", "csrf_missing"),
        ({"sec-fetch-site": "cross-site"}, "own", "cross_site_refused"),
        ({"origin": "https://mail.example.com"}, "own", "cross_site_refused"),
    ],
)
def test_a_form_that_another_page_sends_decides_nothing(
    lockgate: Lockgate, seat: Seat, fields: dict[str, str], token: str, code: str
) -> None:
    """Without the session's token, or from another site with it: refused by name."""
    review = held(lockgate)
    told = {"csrf": seat.csrf if token == "own" else token, "version": "1", "content_digest": shown(lockgate, review)["content_digest"]}
    for verb in ("approve", "reject"):
        answer = seat.post(f"/console/reviews/{review}/{verb}", {**told, "comment": "forged"}, **fields)
        assert answer.status == 403
        assert code in answer.body.decode()
    untouched(lockgate, review)


def test_a_session_that_ended_while_somebody_read_decides_nothing(lockgate: Lockgate) -> None:
    """The page was there, the session is not any more: who sends its form is told so by name and where to sign in, and nothing is decided;
    the same on the API."""
    own, review = Seat(lockgate), held(lockgate)
    told = {"csrf": own.csrf, "version": "1", "content_digest": shown(lockgate, review)["content_digest"], "comment": "fine"}
    assert own.get(f"/console/reviews/{review}", accept=HTML).status == 200
    assert ask(own.port, "DELETE", f"/v1/sessions?subject={own.subject}", lockgate.keys["root"]).status in (200, 204)
    answer = own.post(f"/console/reviews/{review}/approve", told)
    assert (answer.status, "401 · session_unknown" in answer.body.decode()) == (401, True)
    body = {"comment": "fine", "content_digest": told["content_digest"]}
    api = ask(own.port, "POST", f"/v1/reviews/{review}/approve", None, body, cookie=own.cookie, x_lockgate_csrf=own.csrf)
    assert (api.status, api.code) == (401, "session_unknown")
    untouched(lockgate, review)
