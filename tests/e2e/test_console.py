"""The console, looked at by the people it is for, in a real browser before a real Lockgate."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.needs import needs, needs_file

needs("playwright", "pip install playwright")
needs("axe_playwright_python", "pip install axe-playwright-python")

from playwright.sync_api import Browser, Locator, Page, expect

from router.system import SystemClock
from router.wiring.sign_in import local_links
from router.workspace import parse, read
from tests.e2e.browsing import CHROMIUM, NARROW, WIDE, axe, browser, picture, seated
from tests.e2e.processes import until
from tests.e2e.rolling import CLOSED, CLOSED_TEST, archive, closed_data
from tests.e2e.running import Lockgate, Person, cli, prepared
from tests.e2e.test_events import Target
from tests.e2e.test_policy_rollout import FREE
from tests.e2e.yard import ROOT, load, save

needs_file(CHROMIUM, "apt install chromium")

PEOPLE = (
    Person("ann", ("employee",)),
    Person("spare", ("employee",)),
    Person("former", ("employee",)),
    Person("eve"),
    Person("nora", ("auditor",), ("control",)),
    Person("mia", ("employee", "manager", "reviewer"), ("gateway", "control")),
    Person("max", ("manager", "reviewer"), ("control",)),
    Person("ada", ("policy_author",), ("control", "control:audit.personal")),  # as a replay needs it
    Person("pat", ("policy_approver",), ("control",)),
    Person("otto", ("operator",), ("control",)),
    Person("root", ("admin",), ("control",)),
    Person("idle", ("viewer",), ("control",)),
    Person("clerk", (), ("control:config.read",)),
)
SAMPLING = {"sampling": {"random": 1.0, "overlap": 0.0}}
Seat = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Iterator[Lockgate]:
    """With a route whose requests are delivered, to a service that refuses them until it is told otherwise."""
    with prepared(tmp_path_factory.mktemp("console"), people=PEOPLE, learning=SAMPLING) as running:
        catalog, data = load(running.yard.folder / "catalog.yaml"), load(running.yard.data)
        service = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{target.port}"}], "retries": {"attempts": 1}}
        catalog["destinations"]["target"] = service
        catalog["routes"]["orders"] = {"destination": "target", "path": "/orders", "delivery": {"for": "1h", "backoff": "200ms"}}
        catalog["rules"][:0] = [{"name": "orders", "match": {"path": "/orders/{rest...}"}, "intent": "look", "route": "orders"}]
        data["lockgate"]["config"]["access"]["routes"]["orders"] = {"employee": ["*"]}
        data["lockgate"]["config"]["review"]["levels"]["high"]["modify"] = ["/amount", "/note"]
        save(running.yard.folder / "catalog.yaml", catalog)
        save(running.yard.data, data)
        running.start()
        yield running


@pytest.fixture
def seat(chromium: Browser, lockgate: Lockgate) -> Iterator[Seat]:
    """A page for a person: `seat("nora", viewport=NARROW)`."""
    with ExitStack() as stack:
        yield lambda who, **settings: stack.enter_context(seated(chromium, lockgate, who, **settings))


def readings(lockgate: Lockgate) -> int:
    return len(lockgate.system("audit_read"))


def test_decisions_show_up_by_themselves_and_only_what_is_shown_is_a_reading(lockgate: Lockgate, seat: Seat) -> None:
    """A new decision stands at the top with its outcome, without a reload; asking in vain records nothing; paused, nothing moves."""
    lockgate.ask("ann", "GET", "/items/1")
    page = seat("nora")
    with page.expect_response(lambda answer: "/console/newer" in answer.url and answer.status == 204):
        page.goto("/console/")
    before = readings(lockgate)
    with page.expect_response(lambda answer: "/console/newer" in answer.url and answer.status == 204):
        pass
    assert readings(lockgate) == before
    decision = lockgate.ask("ann", "GET", "/items/2").decision
    first = page.locator("#live tbody tr").first
    expect(first.locator(f"a[href$='{decision}']")).to_be_visible(timeout=15_000)
    expect(first.locator(".result")).to_contain_text("routed", timeout=15_000)
    assert readings(lockgate) > before
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    later = lockgate.ask("ann", "GET", "/items/3").decision
    assert page.locator(f"a[href$='{later}']").count() == 0
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(f"a[href$='{later}']")).to_be_visible(timeout=15_000)


def test_an_auditor_searches_page_by_page_and_counts(lockgate: Lockgate, seat: Seat) -> None:
    """Filters find what matches and nothing else; older pages go on where one ends; counts are of the same question; a condition that
    cannot be read is one sentence, and stays in its field."""
    denied = {lockgate.ask("eve", "GET", f"/items/{number}").decision for number in range(55)}
    page = seat("nora")
    page.goto("/console/audit")
    page.get_by_label("Verdict").select_option("deny")
    _followed(page, page.get_by_role("button", name="Search"))
    found = _decisions(page)
    assert len(found) == 50
    _followed(page, page.get_by_role("link", name="Older"))
    found += _decisions(page)
    assert len(found) == len(set(found))
    assert denied <= set(found)
    _followed(page, page.get_by_role("link", name="Count what matches"))
    page.get_by_label("Count by").select_option("effect")
    _followed(page, page.get_by_role("button", name="Count"))
    assert page.locator("tbody tr td").first.inner_text() == "deny"
    assert page.locator("tbody tr").count() == 1
    page.goto("/console/audit?where=colour+%3D+1")
    assert "colour" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Condition").input_value() == "colour = 1"


def _followed(page: Page, link: Locator, key: str = "") -> None:
    """Until the page is there that it leads to: rows are counted without waiting for any. By this key, or by a click."""
    with page.expect_navigation():
        if key:
            link.press(key)
        else:
            link.click()


def _decisions(page: Page) -> list[str]:
    return [str(link.get_attribute("href")).rpartition("/")[2] for link in page.locator("tbody .at a").all()]


def test_pages_are_for_whom_they_are(lockgate: Lockgate, seat: Seat) -> None:
    """The navigation shows what one may look at, anything else is refused in a sentence, and without a key one is asked to sign in."""
    page = seat("idle")
    answer = page.goto("/console/audit")
    assert answer is not None
    assert answer.status == 403
    assert "audit.read" in page.inner_text("main")
    assert page.inner_text("nav").split()[:2] == ["Policy", "Health"]
    page = seat(None)
    page.goto("/console/audit?effect=deny")
    assert page.url.endswith("/console/sign-in?next=/console/audit%3Feffect%3Ddeny")


def test_a_page_runs_nothing_but_what_is_ours(lockgate: Lockgate, seat: Seat) -> None:
    """What a caller wrote is text, wherever it stands; scripts and styles that came in are not run, and nothing else is connected to."""
    hostile = "<img src=x onerror=alert(1)>"
    page = seat("nora", complaint="TrustedHTML")
    answer = page.goto("/console/audit?intent=" + hostile)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.get_by_label("Intent").input_value() == hostile
    assert page.locator("img").count() == 0
    assert (
        page.evaluate("() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (error) { return error.name; } }")
        == "TypeError"
    )


def test_an_auditor_follows_a_decision_and_proves_it_in_the_browser(lockgate: Lockgate, seat: Seat) -> None:
    """Every stage with its time, the rule that decided with its line in the policies, what followed; the evidence is verified by the
    browser itself, so evidence that was altered on its way does not hold, and neither does any under another key."""
    decision = lockgate.ask("eve", "GET", "/items/7").decision
    until(
        lambda: "newer" not in lockgate.control("GET", f"/v1/audit/decisions/{decision}/bundle").json.get("detail", ""),
        "a checkpoint has it",
    )
    page = seat("nora")
    page.goto(f"/console/audit?decision_id={decision}")
    page.locator(".at a").first.click()
    page.wait_for_url("**/console/decisions/*")
    assert page.locator("h1").inner_text().split() == ["look", "deny", "denied"]
    assert [each.split()[0] for each in page.locator(".timings .key").all_inner_texts()][:3] == ["admission", "signals", "classification"]
    page.locator("summary", has_text="The rule").first.click()
    assert "rbac.no_grant" in page.locator("code.hit").inner_text()
    assert re.search(r"rbac\.rego:\d+$", page.locator(".rule figcaption").inner_text())
    page.get_by_role("button", name="Verify in my browser").click()
    expect(page.locator("#verdict strong")).to_have_text("Holds")
    assert decision in page.locator("#verdict p").inner_text()
    assert page.locator("#steps li.holds").count() >= 5
    page.reload()
    assert "verified in this browser before" in page.inner_text("#pinned")
    page.route("**/bundle", lambda route: route.fulfill(json=_altered(route.fetch().json())))
    page.get_by_role("button", name="Verify in my browser").click()
    expect(page.locator("#verdict strong")).to_have_text("Does not hold")
    page.unroute("**/bundle")
    page.get_by_label("Public key of the ledger").fill("yard.example/ledger+c9116cb6+AYrulBszpT/aq6+XZ2UatVmOj109PqkMTD7mXiSSvjr9")
    page.get_by_role("button", name="Verify in my browser").click()
    expect(page.locator("#verdict.bad")).to_be_visible()


def _altered(bundle: Any) -> Any:
    """Of the decision's own record: it was not denied, it says."""
    first = bundle["records"][0]
    first["leaf"] = b64encode(b64decode(first["leaf"]).replace(b'"denied"', b'"routed"')).decode()
    return bundle


def test_personal_fields_are_opened_by_who_may_alone(lockgate: Lockgate, seat: Seat) -> None:
    """An auditor sees which there are, masked; who has the permission sees them, and that is on record."""
    decision = lockgate.ask("ann", "GET", "/items/8").decision
    page = seat("nora")
    page.goto(f"/console/decisions/{decision}?personal=yes")
    page.get_by_text("All personal fields").click()
    assert "***" in page.inner_text("aside")
    assert "/items/8" not in page.content()
    page = seat("root")
    page.goto(f"/console/decisions/{decision}?personal=yes")
    assert "/items/8" in page.inner_text(".story")
    assert lockgate.system("audit_read")[-1]["opened"] is True


def held(lockgate: Lockgate, who: str = "ann", body: Any = None) -> str:
    answer = lockgate.ask(who, "POST", "/pay/1", body or {"amount": 5})
    assert answer.status == 202
    return answer.decision


def test_a_reviewer_approves_by_keyboard(lockgate: Lockgate, seat: Seat) -> None:
    """j, o, a, a comment, Enter: it is sent once, and what came of it stands on the page. A key alone decides nothing."""
    review = held(lockgate)
    page = seat("max")
    page.goto("/console/reviews")
    keys = page.locator("#inbox tbody tr").count()
    for _ in range(keys):
        page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_url(f"**/console/reviews/{review}")
    assert "risk.high" in page.inner_text("main")
    page.keyboard.press("a")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert lockgate.control("GET", f"/v1/reviews/{review}", who="max").json["state"] == "pending"
    page.keyboard.type("seen the invoice, and r is no rejection here")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**?done=approved")
    assert page.get_by_role("status").inner_text() == "Your approval is on record."
    until(lambda: lockgate.control("GET", f"/v1/reviews/{review}", who="max").json["state"] == "done", "it was sent")
    page.reload()
    assert "Approved by max" in page.inner_text("main")
    assert "seen the invoice" in page.inner_text("main")
    assert "Answered 200" in page.inner_text("main")
    assert page.get_by_role("button", name="Approve").count() == 0
    assert [leaf["event"] for leaf in lockgate.story(review) if leaf["schema"] == "lockgate.review.v1"].count("approved") == 1


def test_what_stands_in_the_way_of_a_review_is_told(lockgate: Lockgate, seat: Seat) -> None:
    """Somebody else was quicker; it is one's own; the content is another than the page showed: one sentence, and how things are now."""
    review = held(lockgate, "mia")
    page = seat("mia")
    page.goto(f"/console/reviews/{review}")
    _decide(page, "a", "Approve")
    assert "their own request" in page.get_by_role("alert").inner_text()
    page = seat("max")
    page.goto(f"/console/reviews/{review}")
    page.evaluate("() => { document.querySelector('[name=content_digest]').value = '0'.repeat(64); }")
    page.evaluate("() => { document.querySelector('#approve textarea').value = 'for the record'; }")
    _decide(page, "a", "Approve")
    assert "another content" in page.get_by_role("alert").inner_text()
    assert page.locator("#approve textarea").input_value() == "for the record"
    page.goto(f"/console/reviews/{review}")
    assert lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="mia").status == 200
    _decide(page, "a", "Approve")
    assert "has changed" in page.get_by_role("alert").inner_text()
    expect(page.locator("h1")).to_contain_text("rejected")
    assert page.get_by_role("button", name="Approve").count() == 0


def test_a_reviewer_changes_what_policy_lets_them(lockgate: Lockgate, seat: Seat) -> None:
    """By keyboard, with every script off as well as on: the values as they are, what is wrong beside its field, what it becomes before it
    is sent; what is sent is that. Who may not change it is shown no value. Each look is on record."""
    before = len(_looks(lockgate))
    for scripts in (True, False):
        review = held(lockgate, body={"amount": 5, "note": "hush money"})
        page = seat("max", java_script_enabled=scripts)
        page.goto(f"/console/reviews/{review}")
        assert "hush money" not in page.inner_text("main")
        _followed(page, page.get_by_role("link", name="Change"), "m" if scripts else "Enter")
        assert page.get_by_label("/note").input_value() == "hush money"
        page.get_by_label("/amount").fill("four")
        page.get_by_label("Why").fill("typo, see the invoice")
        page.get_by_label("It was taken for something else").check()
        page.get_by_label("It should have been").fill("nothing.such")
        _followed(page, page.get_by_role("button", name="Show what it becomes"), "Enter")
        assert page.get_by_role("alert").get_by_role("link").inner_text() == "/amount"
        assert "has to be a number" in page.inner_text("main")
        assert page.get_by_label("/amount").input_value() == "four"
        page.get_by_label("/amount").fill("4")
        _followed(page, page.get_by_role("button", name="Show what it becomes"), "Enter")
        assert "no intent 'nothing.such'" in page.get_by_role("alert").inner_text()
        page.get_by_label("It should have been").fill("look")
        _followed(page, page.get_by_role("button", name="Show what it becomes"), "Enter")
        assert "it should have been look" in page.inner_text("main")
        assert page.locator(".diff tbody tr").all_inner_texts() == ["/amount\t5\t4"]
        digest = page.locator("[name=becomes]").get_attribute("value")
        _followed(page, page.get_by_role("button", name="Change more"), "Enter")
        assert page.get_by_label("/amount").input_value() == "4"
        _followed(page, page.get_by_role("button", name="Show what it becomes"), "Enter")
        _followed(page, page.get_by_role("button", name="Approve with these changes"), "Enter")
        assert "Approved with your changes" in page.get_by_role("status").inner_text()
        (said,) = [leaf["details"] for leaf in lockgate.story(review) if leaf.get("event") == "modified"]
        assert (said["opinion"], said["opinion_intent"]) == ("wrong", "look")
        until(lambda review=review: _seen(lockgate, review)["state"] == "done", "it was sent")  # type: ignore[misc]
        assert _seen(lockgate, review)["content_digest"] == digest
        assert lockgate.arrived("/pay/1")[-1]["body_bytes"] == len(b'{"amount":4,"note":"hush money"}')
    assert {(each["what"], each["opened"]) for each in _looks(lockgate)[before:]} == {("held", True)}


def test_what_stands_in_the_way_of_a_change_is_told(lockgate: Lockgate, seat: Seat) -> None:
    """One's own shows no value; where somebody was quicker the form shows how things are now beside what was typed; axe finds nothing
    on any of its pages, nor is one wider than a telephone."""
    review = held(lockgate, "mia", body={"amount": 5, "note": "hush money"})
    own, looks = seat("mia"), len(_looks(lockgate))
    answer = own.goto(f"/console/reviews/{review}/modify")
    assert (answer is not None and answer.status, own.get_by_role("alert").inner_text()) == (403, _OWN)
    assert "hush money" not in own.content()
    assert len(_looks(lockgate)) == looks
    page, wrong = seat("max"), dict[str, list[str]]()
    page.goto(f"/console/reviews/{review}/modify")
    page.get_by_label("/note").fill("rent")
    _followed(page, page.get_by_role("button", name="Show what it becomes"))
    assert "Say why" in page.get_by_role("alert").inner_text()
    wrong["no reason"] = _faults(page)
    page.get_by_label("Why").fill("it is rent")
    _followed(page, page.get_by_role("button", name="Show what it becomes"))
    wrong["confirming"] = _faults(page)
    assert lockgate.control("POST", f"/v1/reviews/{review}/claim", {}, who="max").status == 200
    assert lockgate.control("POST", f"/v1/reviews/{review}/release", {}, who="max").status == 200
    _followed(page, page.get_by_role("button", name="Approve with these changes"))
    assert "has changed" in page.get_by_role("alert").inner_text()
    assert (page.get_by_label("/note").input_value(), page.get_by_label("Why").input_value()) == ("rent", "it is rent")
    assert lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max").status == 200
    _followed(page, page.get_by_role("button", name="Show what it becomes"))
    assert "can no longer be modified" in page.get_by_role("alert").inner_text()
    assert _seen(lockgate, review)["state"] == "rejected"
    assert {name: faults for name, faults in wrong.items() if faults} == {}


_OWN = "Nobody may decide about their own request, nor for who asked."


def _faults(page: Page) -> list[str]:
    found = axe(page)
    page.set_viewport_size(NARROW)
    wide = page.evaluate("document.documentElement.scrollWidth") > NARROW["width"]
    page.set_viewport_size(WIDE)
    return [*found, *(["too wide"] if wide else [])]


def _looks(lockgate: Lockgate) -> list[Any]:
    return [each for each in lockgate.system("audit_read") if each["what"] == "held"]


def _seen(lockgate: Lockgate, review: str) -> Any:
    return lockgate.control("GET", f"/v1/reviews/{review}", who="max").json


@pytest.mark.slow
def test_a_reviewer_claims_asks_and_gives_back(lockgate: Lockgate, seat: Seat) -> None:
    """Each after a question; the page shows whose it is, and an old page changes nothing."""
    review = held(lockgate)
    page, old = seat("max"), seat("max")
    for each in (page, old):
        each.goto(f"/console/reviews/{review}")
    _attempt(page, "Claim")
    expect(page.locator("h1")).to_contain_text("assigned")
    assert "max" in page.locator(".facts", has_text="Claimed by").inner_text()
    _decide(old, "a", "Approve")
    assert old.get_by_role("alert").is_visible()
    _attempt(page, "Give back")
    expect(page.locator("h1")).to_contain_text("pending")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("dialog").get_by_label("Comment").fill("what is it for?")
    with page.expect_navigation():
        page.get_by_role("dialog").get_by_role("button", name="Ask").click()
    expect(page.locator("h1")).to_contain_text("more information")
    assert page.get_by_role("button", name="Approve").count() == 0
    exchange = page.locator("section", has=page.get_by_role("heading", name="What was asked"))
    expect(exchange).to_contain_text("what is it for?")
    expect(exchange).to_contain_text("Waits for an answer until")
    place = f"/.lockgate/reviews/{review}"
    tag = lockgate.ask("ann", "GET", place).json["question"]["if_match"]
    assert lockgate.ask("ann", "POST", place, {"text": "for zoe@example.com"}, if_match=tag).status == 200
    page.reload()
    expect(exchange).to_contain_text("shown with personal data masked")
    assert "zoe@example.com" not in page.content()
    expect(exchange.get_by_text("Waits for an answer")).to_have_count(0)


def _attempt(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    with page.expect_navigation():
        page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


def _decide(page: Page, key: str, name: str) -> None:
    page.keyboard.press(key)
    with page.expect_navigation():
        page.get_by_role("dialog").get_by_role("button", name=name).click()


def test_who_signed_in_sends_forms_with_the_sessions_token(lockgate: Lockgate, chromium: Browser, seat: Seat) -> None:
    """By the link of this machine; the same form without the token changes nothing. Signing out ends it."""
    page = seat(None)
    _signed_in(lockgate, page, cli("console", "link", "--config", str(lockgate.yard.config)).stdout.strip())
    page.goto("/console/keys")
    page.evaluate("() => document.querySelectorAll('[name=csrf]').forEach((field) => { field.value = 'x'; })")
    _revoke(page, "former")
    assert "csrf_missing" in page.inner_text("main")
    page.goto("/console/keys")
    _revoke(page, "former")
    expect(page.get_by_role("status")).to_contain_text("Revoked")
    with page.expect_navigation():
        page.get_by_role("button", name="Sign out").click()
    page.goto("/console/keys")
    assert page.url.endswith("/console/sign-in?next=/console/keys")


@pytest.mark.parametrize("scripts", [True, False])
def test_what_was_written_outlives_a_session(lockgate: Lockgate, seat: Seat, scripts: bool) -> None:
    """It is shown by the page that says that the session has ended, and with scripts it stands in its form again after signing in, in the
    same tab; in no address, no log and no record. Signing out forgets it."""
    said = f"the invoice is from the year before{scripts}"
    review, page = held(lockgate), seat(None, java_script_enabled=scripts)
    _signed_in(lockgate, page)
    page.goto(f"/console/reviews/{review}")
    if scripts:
        page.get_by_role("button", name="Reject").click()
        page.get_by_label("Why").fill(said)
    else:
        page.locator(".said-so").get_by_label("Comment").fill(said)
    assert lockgate.control("DELETE", "/v1/sessions?subject=local").status == 200
    sending = page.get_by_role("dialog") if scripts else page.locator(".said-so")
    _followed(page, sending.get_by_role("button", name="Reject" if scripts else "Say so"))
    assert "401 · session_unknown" in page.inner_text("main")
    assert page.get_by_label("What you wrote").input_value() == said
    assert axe(page) == [] if scripts else True
    _followed(page, page.get_by_role("link", name="Sign in"))
    assert page.url.endswith(f"/console/sign-in?next=/console/reviews/{review}")
    _signed_in(lockgate, page)
    page.goto(f"/console/reviews/{review}")
    if scripts:
        expect(page.get_by_role("dialog")).to_contain_text("Your session had ended")
        assert page.get_by_label("Why").input_value() == said
        page.get_by_role("dialog").get_by_role("button", name="Not yet").click()
        _followed(page, page.get_by_role("button", name="Sign out"))
        _signed_in(lockgate, page)
        page.goto(f"/console/reviews/{review}")
        assert page.get_by_role("dialog").count() == 0
        assert page.evaluate("sessionStorage.length + document.cookie.length") == 0
    assert said not in lockgate.process.said
    assert said not in json.dumps(lockgate.leaves())


def _signed_in(lockgate: Lockgate, page: Page, link: str = "") -> None:
    """By a link of this machine's, made without the command, which takes a moment."""
    links = local_links(parse(read(lockgate.yard.config, {}), {}), SystemClock())
    assert links is not None
    page.goto(link or f"/console/sign-in/local?token={links.token()}")
    _followed(page, page.get_by_role("button", name="Sign in"))


def test_an_authors_rule_gets_its_way(lockgate: Lockgate, seat: Seat) -> None:
    """The short way of the one below: the author's rule passes its tests, the replay says whom it changes, another one approves it in the
    console, it is in force and denies, the page of a decision names it with its line; and one goes back to what was before."""
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    decision, first = (ROOT / "policies/lockgate/decision.rego").read_text(), "data.lockgate.rules.access.rbac.deny,"
    rules = {"closed.rego": CLOSED, "closed_test.rego": CLOSED_TEST}
    candidate = {f"lockgate/rules/request/closed/{name}": text for name, text in rules.items()}
    candidate["lockgate/decision.rego"] = decision.replace(first, f"{first}\n\t\tdata.lockgate.rules.request.closed.deny,")
    bundle = archive(more=candidate)
    tested = _tried(lockgate, "test", bundle)
    assert (tested["failed"], tested["passed"] > 0) == (0, True), tested
    replay = _tried(lockgate, "replay?route=plain", bundle)
    assert "request.closed" in json.dumps(replay["differences"]), replay
    author, approver = seat("ada"), seat("pat")
    _propose(author, bundle, {"steps": [{}], "least": 1, "guards": FREE})
    approver.goto(author.url)
    _pressed(approver, "Approve")
    expect(approver.locator("h1 .badge")).to_have_text("running")
    _pressed(approver, "Into force", "Go on")
    expect(approver.locator("h1 .badge")).to_have_text("promoted")
    denied = lockgate.ask("ann", "GET", "/items/1")
    assert denied.status == 403
    approver.goto(f"/console/decisions/{denied.decision}")
    approver.locator("summary", has_text="The rule").first.click()
    assert "request.closed" in approver.locator("code.hit").inner_text()
    approver.goto("/console/policy")
    _pressed(approver, "End that", "Go back")
    assert "in force now" in approver.get_by_role("status").inner_text()
    assert lockgate.ask("ann", "GET", "/items/1").status == 200


def _tried(lockgate: Lockgate, what: str, bundle: bytes) -> Any:
    url = f"http://127.0.0.1:{lockgate.ports['control']}/v1/policy/{what}"
    answer = requests.post(url, files={"bundle": bundle}, headers={"authorization": f"Bearer {lockgate.keys['ada']}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _pressed(page: Page, button: str, answer: str = "") -> None:
    """And its question answered."""
    page.get_by_role("button", name=button, exact=True).click()
    _followed(page, page.get_by_role("dialog").get_by_role("button", name=answer or button, exact=True))


@pytest.mark.slow
def test_an_author_rolls_out_and_another_says_yes(lockgate: Lockgate, seat: Seat) -> None:
    """Proposed from a file with a plan of its own; its author cannot approve it; another does, sees what would end differently while it
    is in shadow, goes on, and rolls back. A candidate that cannot be used is refused in a sentence."""
    author, approver = seat("ada"), seat("pat")
    _propose(author, b"no archive", {})
    assert author.get_by_role("alert").is_visible()
    _propose(author, archive(closed_data()), {"steps": [{}, {"share": "60%"}], "least": 1, "guards": FREE})
    assert "/console/policy/rollouts/" in author.url, author.inner_text("main")
    assert author.get_by_role("button", name="Approve").count() == 0
    approver.goto("/console/policy")
    approver.get_by_role("region", name="Rollouts").get_by_role("link").first.click()
    approver.get_by_role("button", name="Approve").click()
    approver.get_by_role("dialog").get_by_label("Comment").fill("as discussed")
    approver.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(approver.locator("h1 .badge")).to_have_text("running")
    lockgate.ask("ann", "GET", "/items/1")
    expect(approver.locator("#now")).to_contain_text("allow → deny", timeout=20_000)
    approver.get_by_role("button", name="Next step").click()
    approver.get_by_role("dialog").get_by_role("button", name="Go on").click()
    expect(approver.locator(".stepper [aria-current]")).to_contain_text("60 %")
    approver.get_by_role("button", name="Roll back").click()
    approver.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(approver.locator("h1 .badge")).to_have_text("rolled back")
    assert "Approved by pat" in approver.inner_text("#now")
    assert "as discussed" in approver.inner_text("#now")
    assert lockgate.ask("ann", "GET", "/items/1").status == 200


def _propose(page: Page, content: bytes, plan: Any) -> None:
    page.goto("/console/policy")
    page.get_by_role("button", name="Propose a candidate").click()
    page.set_input_files("[name=bundle]", files=[{"name": "candidate.tar.gz", "mimeType": "application/gzip", "buffer": content}])
    page.get_by_text("A plan of its own").click()
    page.fill("[name=plan]", json.dumps(plan) if plan else "")
    with page.expect_navigation():
        page.get_by_role("button", name="Propose", exact=True).click()


def test_an_operator_looks_after_what_was_given_up(lockgate: Lockgate, seat: Seat, target: Target) -> None:
    """One is sent again, and arrives; one is dropped, and is gone; a form that was sent already does nothing a second time."""
    target.answer = lambda _: 400
    first, second = (lockgate.ask("ann", "POST", f"/orders/{number}", {"amount": number}).decision for number in (1, 2))
    until(lambda: len(lockgate.control("GET", "/v1/deliveries?state=dead").json["deliveries"]) == 2, "both were given up")
    target.answer = lambda _: 200
    page = seat("otto")
    page.goto("/console/deliveries?state=dead")
    assert page.locator("tbody tr").count() == 2
    page.locator(f"a[href$='{first}']").click()
    page.get_by_role("button", name="Send again").click()
    page.get_by_role("dialog").get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status")).to_contain_text("sent again")
    until(lambda: target.keys().count(first) == 2, "it was sent again")
    page.goto(f"/console/deliveries/{second}")
    late = page.context.new_page()
    late.goto(f"/console/deliveries/{second}")
    for each in (page, late):
        each.get_by_role("button", name="Drop").click()
        each.get_by_role("dialog").get_by_role("button", name="Drop").click()
    expect(page.get_by_role("status")).to_contain_text("Dropped, for good")
    expect(late.locator("main")).to_contain_text("There is no such delivery")
    assert [details["decision"] for details in lockgate.system("delivery_dropped")] == [second]


@pytest.mark.slow
def test_health_says_what_readiness_and_the_figures_say(lockgate: Lockgate, seat: Seat) -> None:
    """Without a reload; a viewer may look."""
    page = seat("idle")
    page.goto("/console/health")
    assert page.locator("#now > .state").inner_text() == "Ready"
    before = int(page.locator(".tiles dd").first.inner_text().replace(" ", ""))
    lockgate.ask("ann", "GET", "/items/1")
    expect(page.locator(".tiles dd").first).not_to_have_text(str(before), timeout=20_000)


def test_objectives_stand_on_top_of_health_for_who_may_see_figures(lockgate: Lockgate, seat: Seat) -> None:
    """In words, with what to do; what somebody opened by keyboard stays open while the page shows itself anew; who may not see figures
    sees none of it."""
    lockgate.ask("ann", "GET", "/items/1")
    until(lambda: lockgate.control("GET", "/v1/objectives").json["at"], "they were looked at")
    page = seat("idle")
    page.goto("/console/health")
    judged = page.get_by_role("article", name="Requests judged")
    assert "99.9 % of requests are judged." in judged.inner_text()
    assert "LockgateRequestsUnjudgedFast" in judged.inner_text()
    assert judged.locator(".badge").inner_text() in ("met", "not enough data", "at risk", "burning fast", "missed")
    judged.get_by_text("Over time").focus()
    page.keyboard.press("Enter")
    page.evaluate("document.activeElement.blur(); document.getElementById('now').dataset.first = 'yes'")
    expect(page.locator("#now")).not_to_have_attribute("data-first", "yes", timeout=20_000)
    assert judged.get_by_role("row").count() == 7
    assert axe(page) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(NARROW)
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    other = seat("clerk")
    other.goto("/console/health")
    assert other.get_by_role("heading", name="What runs here").is_visible()
    assert other.get_by_role("heading", name="Objectives").count() == 0


@pytest.mark.slow
def test_a_key_is_revoked(lockgate: Lockgate, seat: Seat) -> None:
    """After a question, and is refused from then on; a viewer of keys has no button."""
    assert lockgate.ask("spare", "GET", "/items/1").status == 200
    page = seat("nora")
    page.goto("/console/keys")
    assert page.get_by_role("button", name="Revoke").count() == 0
    page = seat("root")
    page.goto("/console/keys")
    _revoke(page, "spare")
    expect(page.get_by_role("status")).to_contain_text("Revoked")
    until(lambda: lockgate.ask("spare", "GET", "/items/1").status == 401, "the worker has noticed")


def test_a_key_is_made_and_shown_once(lockgate: Lockgate, seat: Seat) -> None:
    """By keyboard; what is wrong is one sentence beside what was typed; the secret works, and neither a reload nor going back shows it or
    makes another; it is on record. Who may not make keys gets no page."""
    page = seat("nora")
    assert page.goto("/console/keys/new").status == 403  # type: ignore[union-attr]
    page = seat("root")
    page.goto("/console/keys")
    page.get_by_role("link", name="Make a key").press("Enter")
    assert axe(page) == []
    page.get_by_label("Speaks for").fill("newcomer")
    page.get_by_label("Roles").fill("employee")
    page.get_by_role("button", name="Make the key").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("one or more scopes")
    assert page.get_by_label("Speaks for").input_value() == "newcomer"
    page.get_by_label("gateway").press("Space")
    before = len(lockgate.system("key_created"))
    page.get_by_role("button", name="Make the key").press("Enter")
    expect(page.locator("h1")).to_have_text("The key of newcomer")
    assert axe(page) == []
    secret = page.locator("#secret").inner_text()
    assert replace(lockgate, keys={**lockgate.keys, "newcomer": secret}).ask("newcomer", "GET", "/items/1").status == 200
    page.wait_for_url("**/console/keys")
    page.reload()
    expect(page.get_by_role("row", name=re.compile("newcomer"))).to_have_count(1)
    page.goto("/console/health")
    page.go_back()
    page.wait_for_url("**/console/keys")
    assert secret not in page.content()
    assert len(lockgate.system("key_created")) == before + 1


PAGES = ["/console/decisions/{decision}?personal=yes"]
MORE = [
    "/console/",
    "/console/audit?kind=all",
    "/console/reviews?state=any",
    "/console/reviews/{decision}",
    "/console/labels",
    "/console/reviewers",
    "/console/audit/counts",
    "/console/audit/questions",
    "/console/records/1",
    "/console/your-sessions",
    "/console/intents/figures",
    "/console/drift/figures?span=7d&reference=7d",
    "/console/nowhere",
    "/console/intents/figures",
    "/console/policy",
    "/console/policy/rules",
    "/console/deliveries?state=dead",
    "/console/health",
    "/console/keys",
    "/console/keys/new",
]


def _revoke(page: Page, subject: str) -> None:
    page.locator("tr", has_text=subject).get_by_role("button", name="Revoke").click()
    with page.expect_navigation():
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()


def test_who_looks_says_whether_it_was_right(lockgate: Lockgate, seat: Seat) -> None:
    """What was said stands beside the decision and among the corrections; what contradicts itself is refused in a sentence."""
    decision = lockgate.ask("ann", "GET", "/items/9").decision
    page = seat("root")
    page.goto(f"/console/decisions/{decision}")
    page.get_by_label("It was").select_option("wrong")
    page.get_by_label("It should have been").fill("pay")
    page.get_by_role("button", name="Say so").click()
    expect(page.get_by_role("status").first).to_contain_text("on record")
    assert "wrong: pay" in page.inner_text(".said-so")
    page.get_by_label("It was").select_option("wrong")
    page.get_by_label("It should have been").fill("look")
    page.get_by_role("button", name="Say so").click()
    expect(page.locator("main .code")).to_contain_text("4")
    page.goto("/console/intents/figures")
    assert "look → pay" in page.inner_text("main")


TEXTS = ("show me what is in item seven", "pay forty to <b>zoe.quist@example.com</b>", "what will the weather be")


def _sampling(lockgate: Lockgate) -> bool:
    lockgate.ask("ann", "GET", "/items/1")
    return bool(lockgate.control("GET", "/v1/labels/sampled").json)


def to_label(lockgate: Lockgate) -> int:
    """How many texts wait for max: none is written before it is known that they will be sampled."""
    until(lambda: _sampling(lockgate), "sampling began")
    for number, text in enumerate(TEXTS):
        lockgate.ask("ann", "POST", f"/pay/label{number}", {"text": text})
    waiting: list[Any] = until(
        lambda: (found := lockgate.control("GET", "/v1/labels", who="max").json["labels"])[len(TEXTS) - 1 :] and found, "they were sampled"
    )
    return len(waiting)


def test_a_reviewer_labels_by_keyboard(lockgate: Lockgate, seat: Seat) -> None:
    """Claims, and labels one by its number, one by searching for it, one with a word; a key alone says nothing, and keys can be switched
    off. What was written is masked and is text. The labels are on record, and only then is there nothing left."""
    count = to_label(lockgate)
    page = seat("max")
    page.goto("/console/labels")
    assert axe(page) == []
    assert page.locator("tbody tr").count() == count
    picture(page, "max-list")
    page.keyboard.press("?")
    page.get_by_role("button", name="Switch keys off").press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.get_by_role("button", name="Keys").press("Enter")
    expect(page.get_by_role("button", name="Switch keys off")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Switch keys off").press("Enter")
    page.keyboard.press("Escape")
    assert page.url.endswith("/console/labels")
    with page.expect_navigation():
        page.keyboard.press("c")
    seen = list[str]()
    for number, keys in enumerate(("1", "/ p a y Enter", "o")):
        seen.append(page.inner_text("blockquote"))
        assert page.locator("blockquote b").count() == 0
        for key in keys.split():
            page.keyboard.press(key)
        assert page.locator("[name=label]:checked").count() == 1
        assert len(lockgate.system("labelled")) == number
        if number == 0:
            assert axe(page) == []
            picture(page, "max-at-a-text")
            page.evaluate("document.documentElement.dataset.theme = 'dark'")
            assert axe(page) == []
            page.set_viewport_size(NARROW)
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
            picture(page, "max-at-a-text-dark-narrow")
        with page.expect_navigation():
            page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Your label is on record.")
    assert [each["label"] for each in lockgate.system("labelled")] == ["look", "pay", "out_of_scope"]
    assert "pay forty to" in "".join(seen)
    assert "zoe.quist" not in "".join(seen)


@pytest.mark.slow
def test_intents_are_counted_when_they_are_asked_for(lockgate: Lockgate, seat: Seat) -> None:
    """The page is there at once, and its figures come by themselves."""
    lockgate.ask("ann", "GET", "/items/1")
    page = seat("nora")
    page.goto("/console/intents")
    expect(page.locator("#now")).to_contain_text("all of them counted", timeout=20_000)
    expect(page.get_by_role("img", name=re.compile("Confidences"))).to_be_visible()
    assert page.get_by_role("region", name="Each intent, as a table").get_by_role("link", name="look").is_visible()


@pytest.mark.parametrize(
    ("scheme", "pages"),
    [("light", PAGES), pytest.param("light", MORE, marks=pytest.mark.slow), pytest.param("dark", [*PAGES, *MORE], marks=pytest.mark.slow)],
)
def test_everybody_can_use_it(lockgate: Lockgate, seat: Seat, scheme: Any, pages: list[str]) -> None:
    """axe finds nothing on any page, wide or narrow, and no page is wider than a telephone."""
    decision = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5}).decision
    page = seat("root", color_scheme=scheme)
    wrong = {}
    for path in pages:
        page.set_viewport_size(WIDE)
        page.goto(path.format(decision=decision))
        wrong[path] = axe(page)
        page.set_viewport_size(NARROW)
        wrong[path] += axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], path
    assert {path: faults for path, faults in wrong.items() if faults} == {}


def test_it_can_be_used_by_keyboard_alone(lockgate: Lockgate, seat: Seat) -> None:
    """The first stop leads past the navigation; the theme is chosen, kept, and no flash of the other comes before it."""
    page = seat("nora")
    page.goto("/console/audit")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.get_by_role("button", name="Dark theme").press("Enter")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert until(lambda: page.get_by_role("button", name=re.compile("Light theme")).count(), "the button says what it does")
