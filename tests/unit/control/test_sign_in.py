"""Signing in with a browser: the link of this machine, the session's cookie, the token against forged requests."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from router.control import failures
from router.control.app import create_app
from router.control.guarded import guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.control.sign_in.browser import CONSOLE, NAME, safe_next
from router.control.sign_in.parts import SignIn
from router.errors import AuditError
from router.identity.local_links import LocalLinks
from router.identity.sessions import SessionLimits
from tests.unit.control.conftest import Credential
from tests.unit.control.test_permissions import PUBLIC
from tests.unit.identity.parts import HandClock

SIGN_IN, LOCAL, OUT = "/console/sign-in", "/console/sign-in/local", "/console/sign-out"
HTML = {"accept": "text/html"}


def sign_in_of(services: ControlServices) -> SignIn:
    assert services.sign_in is not None
    return services.sign_in


def token(services: ControlServices) -> str:
    links = sign_in_of(services).local
    assert links is not None
    return links.token()


def sign_in(services: ControlServices, client: TestClient) -> dict[str, str]:
    """Signs the client in, and returns the header that it needs to change something."""
    assert client.post(LOCAL, data={"token": token(services)}, follow_redirects=False).status_code == 303
    return {"x-lockgate-csrf": client.get("/v1/identity").json()["csrf"]}


def code(client: TestClient, method: str = "GET", path: str = "/v1/identity", **more: Any) -> tuple[int, str]:
    answer = client.request(method, path, **more)
    found = re.search(r'class="code">([a-z_]+)<', answer.text)
    return answer.status_code, found[1] if found else answer.json()["code"]


def test_a_link_makes_an_administrator(services: ControlServices, client: TestClient) -> None:
    """Followed it shows a page, and only its button signs in."""
    wanted = token(services)
    offered = client.get(LOCAL, params={"token": wanted})
    assert (offered.status_code, client.cookies.get(NAME)) == (200, None)
    assert f'value="{wanted}"' in offered.text
    answer = client.post(LOCAL, data={"token": wanted}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, CONSOLE)
    who = client.get("/v1/identity").json()
    assert (who["subject"], who["roles"]) == ("local", ["admin"])
    assert client.get("/v1/keys").status_code == 200


def test_who_fetches_a_link_does_not_use_it_up(services: ControlServices, client: TestClient) -> None:
    """Chats fetch links for a preview; the person who was meant to comes later."""
    wanted = token(services)
    for _ in range(3):
        assert client.get(LOCAL, params={"token": wanted}).status_code == 200
    assert client.post(LOCAL, data={"token": wanted}, follow_redirects=False).status_code == 303


def test_a_link_works_once(services: ControlServices, client: TestClient) -> None:
    """Who finds it in a history signs nobody in."""
    wanted = token(services)
    client.post(LOCAL, data={"token": wanted})
    client.cookies.clear()
    assert code(client, "POST", LOCAL, data={"token": wanted}) == (403, "sign_in_link_spent")
    assert client.cookies.get(NAME) is None


def test_a_link_gets_too_old(services: ControlServices, client: TestClient, clock: HandClock) -> None:
    """After 15 minutes neither its page nor its button works."""
    wanted = token(services)
    clock.forward(15 * 60)
    assert code(client, path=f"{LOCAL}?token={wanted}") == (403, "sign_in_link_spent")
    assert code(client, "POST", LOCAL, data={"token": wanted}) == (403, "sign_in_link_spent")


@pytest.mark.parametrize("wrong", ["", "x", "%00", "ä", "a" * 75, "A" * 4000, "../.."])
def test_a_made_up_link_is_refused(client: TestClient, wrong: str) -> None:
    """Whatever it looks like, with one sentence."""
    assert code(client, path=f"{LOCAL}?token={quote(wrong)}") == (403, "sign_in_link_unknown")
    assert code(client, "POST", LOCAL, data={"token": wrong}) == (403, "sign_in_link_unknown")


def test_a_link_of_another_key_or_an_altered_one_is_refused(services: ControlServices, client: TestClient, clock: HandClock) -> None:
    """Every byte of it is covered."""
    assert code(client, path=f"{LOCAL}?token={LocalLinks(b'x' * 32, clock).token()}") == (403, "sign_in_link_unknown")
    good = token(services)
    for place in range(0, len(good) - 1, 7):
        altered = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        assert code(client, path=f"{LOCAL}?token={altered}") == (403, "sign_in_link_unknown")


def test_the_cookie_is_for_this_browser_alone(services: ControlServices, client: TestClient) -> None:
    """Scripts cannot read it, and other sites' requests do not carry it; over TLS it says that it is this very host's."""
    answer = client.post(LOCAL, data={"token": token(services)}, follow_redirects=False)
    told = answer.headers["set-cookie"]
    assert re.fullmatch(rf"{NAME}=[\w-]{{43}}; HttpOnly; Max-Age=43200; Path=/; SameSite=lax", told), told
    app = create_app(replace(services, sign_in=replace(sign_in_of(services), secure=True)))
    with TestClient(app, base_url="https://127.0.0.1:8081") as encrypted:
        answer = encrypted.post(LOCAL, data={"token": token(services)}, follow_redirects=False)
        told = answer.headers["set-cookie"]
        assert re.fullmatch(rf"__Host-{NAME}=[\w-]{{43}}; HttpOnly; Max-Age=43200; Path=/; SameSite=lax; Secure", told), told
        assert "max-age" in answer.headers["strict-transport-security"]
        assert encrypted.get("/v1/identity").status_code == 200


def test_only_a_digest_is_stored(services: ControlServices, client: TestClient, tmp_path: Any) -> None:
    """Who reads the file cannot sign in with what is in it."""
    sign_in(services, client)
    secret = client.cookies[NAME].encode()
    assert all(secret not in file.read_bytes() for file in (tmp_path / "state").iterdir())


def test_signing_in_again_ends_the_session_before(services: ControlServices, client: TestClient) -> None:
    """A session that somebody planted in the browser is not the one that gets the rights."""
    sign_in(services, client)
    before = client.cookies[NAME]
    sign_in(services, client)
    assert client.cookies[NAME] != before
    assert code(client, headers={"cookie": f"{NAME}={before}"})[1] in ("two_credentials", "session_unknown")
    client.cookies.clear()
    assert code(client, headers={"cookie": f"{NAME}={before}"}) == (401, "session_unknown")


def test_a_session_ends_when_it_is_not_used(services: ControlServices, client: TestClient, clock: HandClock) -> None:
    """Use prolongs it, until its longest time."""
    sign_in(services, client)
    for _ in range(24):
        clock.forward(1799)
        if clock.now - sign_in_started(services) >= 43_200 * 10**9:
            break
        assert client.get("/v1/identity").status_code == 200
    clock.forward(1800)
    assert code(client) == (401, "session_expired")
    assert code(client) == (401, "session_unknown")


def sign_in_started(services: ControlServices) -> int:
    return min(each.created_ns for each in sign_in_of(services).sessions._store.all())


def test_a_session_ends_after_its_longest_time(services: ControlServices, client: TestClient, clock: HandClock) -> None:
    """However busy it is."""
    sign_in(services, client)
    for _ in range(29):
        clock.forward(1489)
        assert client.get("/v1/identity").status_code == 200
    clock.forward(20)
    assert code(client) == (401, "session_expired")


def test_only_so_many_sessions(services: ControlServices, client: TestClient, clock: HandClock) -> None:
    """The sixth ends the first."""
    secrets = []
    for _ in range(SessionLimits().most + 1):
        client.cookies.clear()
        clock.forward(1)
        sign_in(services, client)
        secrets.append(client.cookies[NAME])
    client.cookies.clear()
    states = [client.get("/v1/identity", headers={"cookie": f"{NAME}={each}"}).status_code for each in secrets]
    assert states == [401, 200, 200, 200, 200, 200]


CHANGES = [("POST", "/v1/config/reload"), ("POST", OUT), ("DELETE", "/v1/keys/abcdefgh"), ("DELETE", "/v1/sessions?subject=local")]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_forged_request_changes_nothing(services: ControlServices, client: TestClient, method: str, path: str) -> None:
    """The cookie alone, somebody else's token, and the token in the address are not enough."""
    sign_in(services, client)
    other = sign_in_of(services)
    for headers in ({}, {"x-lockgate-csrf": ""}, {"x-lockgate-csrf": "A" * 43}, {"x-lockgate-csrf": "ä".encode()}):
        assert code(client, method, path, headers=headers) == (403, "csrf_missing")
    own = client.get("/v1/identity").json()["csrf"]
    assert code(client, method, f"{path}{'&' if '?' in path else '?'}csrf={own}") == (403, "csrf_missing")
    for site in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert code(client, method, path, headers={"x-lockgate-csrf": own, **site}) == (403, "cross_site_refused")
    assert other.sessions._store.all()


def test_every_change_with_a_cookie_needs_the_token(services: ControlServices, client: TestClient) -> None:
    """Of every route of the application that is not public, without exception."""
    sign_in(services, client)
    tried = 0
    for route in create_app(services).routes:
        for method in getattr(route, "methods", set()) - {"GET", "HEAD"}:
            path = re.sub(r"\{[^}]+\}", "x1", route.path)  # type: ignore[attr-defined]  # each is a GuardedRoute, another test says
            if path not in PUBLIC:
                assert code(client, method, path) == (403, "csrf_missing"), path
                tried += 1
    assert tried > 20


def test_the_token_comes_in_a_header_or_a_form(services: ControlServices, client: TestClient) -> None:
    """Also in a form that brings files."""
    own = sign_in(services, client)
    assert client.post("/v1/config/reload", headers=own).status_code == 200
    told = {"csrf": own["x-lockgate-csrf"]}
    assert client.post("/v1/config/reload", data=told).status_code == 200
    assert client.post("/v1/config/reload", data=told, files={"bundle": b"x"}).status_code == 200
    assert code(client, "POST", "/v1/config/reload", data={"csrf": "x"}, files={"bundle": b"x"}) == (403, "csrf_missing")


def test_a_key_needs_no_token(client: TestClient, credential: Credential) -> None:
    """No browser sends it by itself."""
    assert client.post("/v1/config/reload", headers=credential("operator")).status_code == 200


def test_a_key_comes_before_the_cookie(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """Who sends both is who the key says."""
    sign_in(services, client)
    assert client.get("/v1/identity", headers=credential("viewer", subject="vera")).json()["subject"] == "vera"
    assert code(client, headers={"authorization": "Bearer lgk_abcdefgh_" + "a" * 43}) == (401, "credential_unknown")


@pytest.mark.parametrize("cookie", [f"{NAME}=", f"{NAME}=x", f"{NAME}={'a' * 43}", f"{NAME}={'a' * 4000}", f"{NAME}=%00"])
def test_a_made_up_session_opens_nothing(client: TestClient, cookie: str) -> None:
    """Whatever it looks like."""
    assert code(client, headers={"cookie": cookie}) == (401, "session_unknown")


def test_two_sessions_are_refused(services: ControlServices, client: TestClient) -> None:
    """One of them may have been set by somebody else."""
    sign_in(services, client)
    own = client.cookies[NAME]
    client.cookies.clear()
    assert code(client, headers={"cookie": f"{NAME}={own}; {NAME}={'a' * 43}"}) == (400, "two_credentials")


def test_signing_out_ends_the_session(services: ControlServices, client: TestClient) -> None:
    """The cookie is taken from the browser, and is worth nothing to who has kept it."""
    own, secret = sign_in(services, client), client.cookies[NAME]
    assert client.post(OUT, data={"csrf": own["x-lockgate-csrf"]}).status_code == 200
    assert client.cookies.get(NAME) is None
    assert code(client, headers={"cookie": f"{NAME}={secret}"}) == (401, "session_unknown")


def test_signing_out_everywhere_ends_all_of_ones_own(services: ControlServices, client: TestClient) -> None:
    """On every machine."""
    sign_in(services, client)
    elsewhere = client.cookies[NAME]
    client.cookies.clear()
    own = sign_in(services, client)
    client.post(OUT, data={"csrf": own["x-lockgate-csrf"], "everywhere": "1"})
    client.cookies.clear()
    assert code(client, headers={"cookie": f"{NAME}={elsewhere}"}) == (401, "session_unknown")


def test_an_administrator_ends_others_sessions(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """One, or all of a person's; an auditor sees them and ends none."""
    sign_in(services, client)
    secret = client.cookies[NAME]
    client.cookies.clear()
    listed = client.get("/v1/sessions", headers=credential("auditor")).json()["sessions"]
    assert [(each["subject"], each["roles"], each["issuer"]) for each in listed] == [("local", ["admin"], None)]
    assert code(client, "DELETE", f"/v1/sessions/{listed[0]['id']}", headers=credential("auditor")) == (403, "permission_missing")
    assert client.delete(f"/v1/sessions/{listed[0]['id']}", headers=credential("admin")).status_code == 204
    assert code(client, headers={"cookie": f"{NAME}={secret}"}) == (401, "session_unknown")
    assert code(client, "DELETE", f"/v1/sessions/{listed[0]['id']}", headers=credential("admin")) == (404, "not_found")
    sign_in(services, client)
    client.cookies.clear()
    assert len(client.delete("/v1/sessions?subject=local", headers=credential("admin")).json()["ended"]) == 1


def test_nobody_is_signed_in_before_it_is_on_record(services: ControlServices) -> None:
    """A ledger that is down lets nobody in, and leaves no session behind."""

    async def down(event: str, details: Any) -> None:
        raise AuditError("The ledger does not answer.")

    with TestClient(create_app(replace(services, record=down)), base_url="http://127.0.0.1:8081") as client:
        assert code(client, "POST", LOCAL, data={"token": token(services)}) == (503, "audit_unavailable")
        assert client.cookies.get(NAME) is None
    assert sign_in_of(services).sessions._store.all() == []


def test_who_asks_for_a_page_is_sent_to_sign_in(services: ControlServices) -> None:
    """And comes back to what was asked for; programs get a problem, and so does who sends a key that is not good."""
    router = guarded_router()
    router.get("/console/reviews", **needs(Permission.REVIEWS_READ))(lambda: "page")
    app = FastAPI(openapi_url=None)
    app.state.services = services
    app.router.routes.extend(router.routes)
    failures.install(app)
    with TestClient(app, base_url="http://127.0.0.1:8081") as client:
        answer = client.get("/console/reviews?state=pending&a=b/c", headers=HTML, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{SIGN_IN}?next=/console/reviews%3Fstate%3Dpending%26a%3Db/c"
        assert code(client, path="/console/reviews") == (401, "credential_missing")


@pytest.mark.parametrize("wanted", ["/console/", "/console/reviews", "/console/reviews/0198-a?x=1&y=%20/", "/console/a/b/", "/console/a@b"])
def test_where_to_go_next_is_kept(wanted: str) -> None:
    """Pages of the console, with their questions."""
    assert safe_next(wanted) == wanted


EVIL = [
    None, "", "/", "/v1/keys", "//evil.example", "https://evil.example", "/console//evil.example", "/console/\\evil", "/\\evil.example",
    "/console/x\r\nset-cookie: a=b", "/console/a\n", "javascript:alert(1)", " /console/", "/console", "/console/../v1/keys",
    "/console/a?b#c", "/console/sign-in", "/console/sign-in/local?token=x", "/console/%2f%2fevil", "/console/" + "a" * 3000, "/consolex/",
]  # fmt: skip


@pytest.mark.parametrize("wanted", EVIL)
def test_nobody_is_sent_anywhere_else(wanted: str | None) -> None:
    """Not to another site, not to what is no page, not back to signing in."""
    assert safe_next(wanted) == CONSOLE


@given(st.text(max_size=200))
def test_whatever_is_asked_for_it_stays_in_the_console(wanted: str) -> None:
    """A browser that resolves it against this host stays on this host, in this folder."""
    for told in (safe_next(wanted), safe_next("/console/" + wanted)):
        assert told.startswith(CONSOLE)
        assert "//" not in told.partition("?")[0]
        assert "\\" not in told
        assert told.isprintable()


def test_pages_tell_browsers_what_they_may_do(client: TestClient, credential: Credential) -> None:
    """Nothing from elsewhere, no inline script; what is no page may do nothing at all."""
    headers = client.get(SIGN_IN).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"
    assert "style=" not in client.get(SIGN_IN).text
    told = client.get("/v1/openapi.json").headers
    assert told["content-security-policy"] == "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    assert (told["referrer-policy"], told["x-content-type-options"]) == ("no-referrer", "nosniff")


def test_text_from_outside_is_escaped(services: ControlServices, client: TestClient) -> None:
    """Nothing in an address becomes part of a page."""
    for path in (f"{LOCAL}?token=<script>", f"{SIGN_IN}?next=<script>"):
        assert "<script" not in client.get(path).text
