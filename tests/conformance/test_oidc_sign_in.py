"""People who sign in at a certified OpenID provider, in a browser that keeps cookies and follows links, at the real control API."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from adapters.memory_sessions import MemorySessions
from examples.halden.demo.company import free_ports
from router.config.sign_in import OidcConfig
from router.control.app import create_app
from router.control.services import ControlServices, Json
from router.control.sign_in.browser import FLOW, NAME
from router.control.sign_in.parts import SignIn
from router.identity.key_service import KeyService
from router.identity.oidc.client import OidcClient
from router.identity.sessions import SessionLimits, SessionService
from router.processes.server import Server, server, started
from router.processes.sockets import bound, listen
from router.system import SystemClock
from router.wiring.sign_in import make_oidc
from tests.conformance.oidc_provider import Provider, provider_process
from tests.e2e.processes import until
from tests.unit.control.parts import Desk, Process, Trail
from tests.unit.identity.parts import HandClock, open_keys

CALLBACK = "/console/sign-in/oidc/callback"
OLGA: dict[str, Any] = {"sub": "olga", "groups": ["lockgate-operators", "staff"], "tenant": "halden", "amr": ["pwd", "otp"]}


@dataclass
class Served:
    port: int
    provider: Provider
    sessions: SessionService
    records: list[tuple[str, Json]]
    settings: dict[str, Any]
    folder: Path
    client: OidcClient = field(init=False)
    browsers: list[httpx2.Client] = field(default_factory=list)
    services: ControlServices | None = None
    loop: asyncio.AbstractEventLoop | None = None
    running: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def use(self, **changes: Any) -> None:
        """Another client, or other terms, from now on."""
        config = OidcConfig.model_validate({**self.settings, **changes})
        assert self.services is not None
        assert self.running is not None
        assert self.loop is not None
        made = make_oidc(config, self.folder, SystemClock())
        changed = replace(self.services, sign_in=SignIn(self.sessions, False, None, made))
        asyncio.run_coroutine_threadsafe(self.client.provider.close(), self.loop).result(20)
        self.client = made
        self.running.config.loaded_app.state.services = changed  # type: ignore[union-attr]  # it is the application that was given


class Browser:
    """Keeps cookies, follows what it is told, and hands nothing to a page's scripts."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.client = httpx2.Client(timeout=20)
        served.browsers.append(self.client)

    def go(self, url: str, method: str = "GET", **more: Any) -> httpx2.Response:
        """Until an answer is no redirect, or leads to the console."""
        answer = self.client.request(method, self._whole(url), headers={"accept": "text/html"}, **more)
        for _ in range(12):
            if answer.status_code not in (302, 303):
                return answer
            url = answer.headers["location"]
            if urlsplit(url).path == "/console/" or url.startswith("/console/reviews"):
                return answer
            answer = self.client.get(str(answer.url.join(url)), headers={"accept": "text/html"})
        raise AssertionError("too many redirects")

    def sign_in(self, path: str = "/console/sign-in/oidc") -> httpx2.Response:
        return self.go(path)

    def ask(self, path: str = "/v1/identity") -> httpx2.Response:
        return self.client.get(self._whole(path))

    @property
    def who(self) -> Any:
        return self.ask().json()

    def leave(self, path: str = "/console/sign-in/oidc") -> httpx2.Response:
        """To the provider's door, without knocking."""
        answer = self.client.get(self._whole(path))
        assert answer.status_code == 303, answer.text
        return answer

    def way_back(self, changes: Mapping[str, str] | None = None) -> str:
        """The provider's answer, which is not delivered yet."""
        answer = self.leave()
        for _ in range(12):
            url = str(answer.url.join(answer.headers["location"]))
            if url.startswith(self.served.url + CALLBACK):
                break
            answer = self.client.get(url)
        told = {name: each[0] for name, each in parse_qs(urlsplit(url).query).items()} | dict(changes or {})
        return f"{CALLBACK}?{httpx2.QueryParams({name: value for name, value in told.items() if value})}"

    def _whole(self, url: str) -> str:
        return url if url.startswith("http") else self.served.url + url


def code(answer: httpx2.Response) -> tuple[int, str]:
    found = re.search(r'class="code">([a-z_]+)<', answer.text)
    return answer.status_code, found[1] if found else answer.json().get("code", answer.text)


@pytest.fixture(scope="module")
def client_key() -> ECKey:
    return ECKey.generate_key("P-256")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, client_key: ECKey) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("sign-in")
    (folder / "client.pem").write_bytes(client_key.as_pem(private=True))
    (port,) = free_ports(1)
    public = {**client_key.as_dict(private=False), "kid": "k1", "use": "sig", "alg": "ES256"}
    with provider_process(folder, f"http://127.0.0.1:{port}", public) as provider:
        settings = {
            "issuer": provider.issuer,
            "client_id": "console",
            "client_secret": "a secret: of+this/test%",
            "public_url": f"http://127.0.0.1:{port}",
            "claims": {"roles": "groups"},
            "roles": {"lockgate-operators": ["operator"], "lockgate-auditors": ["auditor"], "lockgate-admins": ["admin"]},
            "leeway": "5s",
        }
        store = MemorySessions()
        store.open()
        sessions = SessionService(store, SystemClock(), SessionLimits())
        with serving(Served(port, provider, sessions, [], settings, folder)) as served:
            yield served


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    ready, keys = threading.Event(), open_keys(served.folder, HandClock())

    async def record(event: str, details: Json) -> None:
        served.records.append((event, details))

    async def run() -> None:
        oidc = served.client = make_oidc(OidcConfig.model_validate(served.settings), served.folder, SystemClock())
        served.services = ControlServices(
            Trail(), Desk(), KeyService(keys, HandClock()), Process(), record=record, sign_in=SignIn(served.sessions, False, None, oidc)
        )
        served.loop = asyncio.get_running_loop()
        app = create_app(served.services)
        running = server(app, grace_s=1.0)
        task = asyncio.create_task(running.serve([listen(bound("127.0.0.1", served.port))]))
        await started(running, task)
        served.running = running
        ready.set()
        await task
        await served.client.provider.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield served
    finally:
        assert served.running is not None
        served.running.should_exit = True
        thread.join(20)
        keys.close()


@pytest.fixture
def served(whole: Served) -> Iterator[Served]:
    whole.sessions.limits = SessionLimits()
    whole.records.clear()
    whole.use()
    whole.provider.next_person(**OLGA)
    yield whole
    while whole.browsers:
        whole.browsers.pop().close()
    whole.sessions._store._sessions.clear()  # type: ignore[attr-defined]  # those in memory


@pytest.fixture
def browser(served: Served) -> Browser:
    return Browser(served)


def test_a_person_signs_in_and_has_the_roles_of_their_groups(browser: Browser, served: Served) -> None:
    """By the configuration's table, and the provider's word for tenant and proof; it is on record without a name."""
    answer = browser.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    who = browser.who
    assert (who["subject"], who["tenant"], who["roles"]) == ("olga", "halden", ["operator"])
    (session,) = served.sessions._store.all()
    assert (session.issuer, session.methods) == (served.provider.issuer, ("pwd", "otp"))
    assert session.issuer_session
    assert [event for event, _ in served.records] == ["signed_in"]
    assert "olga" not in json.dumps(served.records)


def test_the_page_leads_to_the_provider(browser: Browser, served: Served) -> None:
    """And what was asked for is where one ends."""
    answer = browser.go("/console/sign-in?next=/console/reviews/r1%3Fa%3Db")
    link = re.search(r'class="button" href="([^"]+)"', answer.text)
    assert link is not None
    assert browser.go(link[1]).headers["location"] == "/console/reviews/r1?a=b"


def test_what_the_provider_is_asked(browser: Browser, served: Served) -> None:
    """A code, with PKCE, a state and a nonce that are new each time; the verifier stays here."""
    asked = [parse_qs(urlsplit(browser.leave().headers["location"]).query) for _ in range(2)]
    first = {name: value[0] for name, value in asked[0].items()}
    assert first["redirect_uri"] == f"{served.url}{CALLBACK}"
    assert (first["response_type"], first["code_challenge_method"], first["scope"]) == ("code", "S256", "openid")
    assert all(asked[0][name] != asked[1][name] for name in ("state", "nonce", "code_challenge"))
    assert all(len(first[name]) >= 43 for name in ("state", "nonce", "code_challenge"))


def test_a_client_with_a_key_of_its_own(browser: Browser, served: Served) -> None:
    """No secret that two sides know: an assertion that its private key signed."""
    served.use(client_id="console-with-key", client_secret=None, private_key="client.pem", private_key_id="k1")
    assert browser.sign_in().status_code == 303
    assert browser.who["subject"] == "olga"


def test_a_wrong_secret_lets_nobody_in(browser: Browser, served: Served) -> None:
    """The provider refuses the client, and a page says so with the provider's code."""
    served.use(client_secret="another")
    answer = browser.sign_in()
    assert code(answer) == (403, "sign_in_code_refused")
    assert "invalid_client" in answer.text


def test_who_has_no_role_is_not_let_in(browser: Browser, served: Served) -> None:
    """Known to the provider is not known to Lockgate."""
    served.provider.next_person(**{**OLGA, "sub": "zoe", "groups": ["staff"]})
    assert code(browser.sign_in()) == (403, "sign_in_no_role")
    assert browser.ask().status_code == 401


def test_groups_of_the_wrong_shape_are_no_groups(browser: Browser, served: Served) -> None:
    """A role that cannot be read is not the same as no role."""
    served.provider.next_person(**{**OLGA, "sub": "odd", "groups": {"admin": True}})
    assert code(browser.sign_in()) == (401, "claims_invalid")


def test_a_tenant_can_be_demanded(browser: Browser, served: Served) -> None:
    """Who belongs to none would see all of them."""
    served.use(tenant_required=True)
    served.provider.next_person(**{**OLGA, "sub": "tina", "tenant": None})
    assert code(browser.sign_in()) == (403, "sign_in_no_tenant")


def test_the_provider_may_refuse(browser: Browser, served: Served) -> None:
    """Its code is shown, and nothing that a link could make it say."""
    served.provider.next_person()
    answer = browser.sign_in()
    assert code(answer) == (403, "sign_in_refused")
    assert "access_denied" in answer.text
    url = browser.way_back({"error": "<b>call 555</b>", "error_description": "call 555", "code": ""})
    assert "call 555" not in browser.go(url).text


def test_an_answer_is_good_in_one_browser_only(browser: Browser, served: Served) -> None:
    """Who is sent somebody else's answer is not signed in as them (login CSRF)."""
    stolen = browser.way_back()
    assert code(Browser(served).go(stolen)) == (403, "sign_in_state_unknown")
    other = Browser(served)
    other.leave()
    assert code(other.go(stolen)) == (403, "sign_in_state_unknown")
    assert served.sessions._store.all() == []


def test_an_answer_is_good_once(browser: Browser, served: Served) -> None:
    """The cookie of the attempt is gone with its first answer, and the provider takes no code twice."""
    url = browser.way_back()
    kept = browser.client.cookies[FLOW]
    assert browser.go(url).status_code == 303
    assert FLOW not in browser.client.cookies
    assert code(browser.go(url)) == (403, "sign_in_state_unknown")
    again = httpx2.get(served.url + url, headers={"cookie": f"{FLOW}={kept}"})
    assert code(again) == (403, "sign_in_code_refused")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": ""}, "sign_in_state_unknown"),
        ({"state": "x"}, "sign_in_state_unknown"),
        ({"state": "0.n." + "a" * 43}, "sign_in_state_unknown"),
        ({"iss": "https://other.example"}, "sign_in_issuer_mismatch"),
        ({"iss": ""}, "sign_in_issuer_mismatch"),
        ({"code": ""}, "sign_in_refused"),
        ({"code": "made-up"}, "sign_in_code_refused"),
    ],
)
def test_an_altered_answer_signs_nobody_in(browser: Browser, changes: dict[str, str], told: str) -> None:
    """Another state, another issuer (mix-up), no code, somebody's own code."""
    assert code(browser.go(browser.way_back(changes))) == (403, told)
    assert browser.ask().status_code == 401


def test_a_code_of_another_attempt_is_refused(browser: Browser, served: Served) -> None:
    """Code injection: the verifier of this attempt does not fit, so the provider refuses it."""
    other = Browser(served)
    stolen = parse_qs(urlsplit(other.way_back()).query)["code"][0]
    assert code(browser.go(browser.way_back({"code": stolen}))) == (403, "sign_in_code_refused")


def test_rotated_keys_are_fetched(browser: Browser, served: Served) -> None:
    """The first ID token that a new key signed is accepted as soon as Lockgate may ask again."""
    assert browser.sign_in().status_code == 303
    served.provider.rotate()
    served.use()
    assert Browser(served).sign_in().status_code == 303


def test_an_algorithm_that_is_not_configured_is_refused(browser: Browser, served: Served) -> None:
    """Whatever the provider signs with."""
    served.use(algorithms=["ES256"])
    assert code(browser.sign_in()) == (401, "algorithm_refused")


def test_proof_that_is_too_old_is_asked_for_again(browser: Browser, served: Served) -> None:
    """The provider, told of `max_age`, asks again by itself; the time is held against its word all the same."""
    served.use(max_age="1h")
    assert browser.sign_in().status_code == 303
    (session,) = served.sessions._store.all()
    assert abs(session.authenticated_ns - session.created_ns) < 60 * 10**9


def test_after_a_while_the_provider_is_asked_again(browser: Browser, served: Served) -> None:
    """Who lost a group has lost its role; the browser gets new bits, and the session lasts no longer than it would have."""
    served.provider.next_person(**{**OLGA, "sub": "ron", "groups": ["lockgate-operators", "lockgate-admins"]})
    browser.sign_in()
    before, (session,) = browser.client.cookies[NAME], served.sessions._store.all()
    assert browser.who["roles"] == ["admin", "operator"]
    served.provider.next_person(**{**OLGA, "sub": "ron", "groups": ["lockgate-operators"]})
    served.sessions.limits = replace(SessionLimits(), recheck=0.0)
    assert code(browser.ask()) == (401, "session_recheck")
    answer = browser.client.get(f"{served.url}/console/sign-in/oidc/again?next=/console/reviews")
    served.sessions.limits = SessionLimits()
    assert browser.go(str(answer.url.join(answer.headers["location"]))).headers["location"] == "/console/reviews"
    assert browser.who["roles"] == ["operator"]
    assert browser.client.cookies[NAME] != before
    (after,) = served.sessions._store.all()
    assert after.expires_ns == session.expires_ns


def test_who_is_signed_out_there_has_to_sign_in_again(browser: Browser, served: Served) -> None:
    """Asked again, the provider knows nobody; the sign-in page is shown, and not an error."""
    browser.sign_in()
    for name in [each for each in browser.client.cookies if each.startswith("_")]:
        browser.client.cookies.delete(name)  # the provider's
    answer = browser.go("/console/sign-in/oidc/again?next=/console/reviews")
    assert answer.status_code == 200
    assert "next=/console/reviews" in answer.text


def test_nobody_gets_a_session_without_wanting_one(browser: Browser, served: Served) -> None:
    """A page elsewhere that leads here gets the sign-in page, though the provider would say yes at once; so does asking again with no
    session that could be confirmed."""
    browser.sign_in()
    browser.client.cookies.delete(NAME)
    for path in ("/console/sign-in/oidc", "/console/sign-in/oidc/again"):
        answer = browser.client.get(f"{served.url}{path}?next=/console/reviews", headers={"sec-fetch-site": "cross-site"})
        assert answer.headers["location"] == "/console/sign-in?next=/console/reviews"
    assert browser.ask().status_code == 401


def test_the_provider_ends_a_session(browser: Browser, served: Served) -> None:
    """Signed out at the provider, elsewhere: its logout token ends the session here at once, and is on record."""
    browser.sign_in()
    assert browser.ask().status_code == 200
    form = browser.go(f"{served.provider.issuer}/session/end")
    xsrf = re.search(r'name="xsrf" value="([^"]+)"', form.text)
    assert xsrf is not None
    confirm = re.search(r'action="([^"]+)"', form.text)
    assert confirm is not None
    browser.client.post(confirm[1], data={"xsrf": xsrf[1], "logout": "yes"})
    until(lambda: browser.ask().status_code == 401, "the session had ended")
    assert ("sessions_ended", 1) in [(event, len(details.get("sessions", []))) for event, details in served.records]


def test_signing_out_here_goes_on_to_the_provider(browser: Browser, served: Served) -> None:
    """The session here is gone before the provider is asked; from there one comes back."""
    browser.sign_in()
    answer = browser.go("/console/sign-out", "POST", data={"csrf": browser.who["csrf"]})
    forward = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
    assert forward is not None
    assert browser.ask().status_code == 401
    asked = urlsplit(forward[1].replace("&amp;", "&"))
    assert (f"{asked.scheme}://{asked.netloc}{asked.path}") == f"{served.provider.issuer}/session/end"
    assert parse_qs(asked.query)["post_logout_redirect_uri"] == [f"{served.url}/console/sign-in"]
    assert browser.go(forward[1].replace("&amp;", "&")).status_code == 200  # the provider's own page, which knows the client


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "access"])
def test_what_is_no_logout_token_ends_nothing(browser: Browser, served: Served, token: str) -> None:
    """400, as the specification wants, and the session goes on: also for a token that the provider signed for something else."""
    browser.sign_in()
    told = served.provider.token() if token == "access" else token
    answer = httpx2.post(f"{served.url}/console/sign-in/oidc/logout", data={"logout_token": told})
    assert answer.status_code == 400
    assert browser.ask().status_code == 200


def test_a_provider_that_is_away_is_told_in_one_sentence(browser: Browser, served: Served) -> None:
    """On a page; nobody is let in meanwhile."""
    (port,) = free_ports(1)
    served.use(issuer=f"http://127.0.0.1:{port}")
    assert code(browser.go("/console/sign-in/oidc")) == (503, "sign_in_provider_unavailable")


def test_a_configuration_of_another_issuer_is_refused(browser: Browser, served: Served) -> None:
    """Its `issuer` must be, to the letter, what is configured."""
    served.use(issuer=f"{served.provider.issuer}/")
    assert code(browser.go("/console/sign-in/oidc")) == (502, "sign_in_provider_unusable")


def test_keys_that_cannot_prove_a_client_are_refused(served: Served) -> None:
    """One sentence that says which file, when the configuration is taken up."""
    other = generate_private_key(SECP256R1())
    (served.folder / "good.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (served.folder / "bad.pem").write_text("nothing")
    served.use(client_secret=None, private_key="good.pem")
    for name, told in (("bad.pem", "no unencrypted PEM"), ("none.pem", "cannot be read")):
        with pytest.raises(Exception, match=told):
            served.use(client_secret=None, private_key=name)
