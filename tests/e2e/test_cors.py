"""CORS and the lists of networks, by the real process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import load, save

APP, PARTNER, EVIL = "https://app.example", "https://partner.example", "https://evil.example"


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    folder = tmp_path_factory.mktemp("cors")
    gateway = {
        "cors": {"origins": [APP], "methods": ["GET", "PUT"]},
        "trusted_proxies": ["127.0.0.0/8"],
        "deny": ["10.66.0.0/16"],
    }
    with prepared(folder, gateway=gateway, decide={"deny": ["127.0.0.0/8"]}) as lockgate:
        catalog = load(folder / "catalog.yaml")
        catalog["routes"]["chat"]["cors"] = {"origins": [PARTNER], "credentials": True}
        save(folder / "catalog.yaml", catalog)
        lockgate.start()
        yield lockgate


def asked(lockgate: Lockgate, origin: str, path: str = "/items/1", method: str = "PUT") -> Answer:
    return ask(lockgate.gateway, "OPTIONS", path, origin=origin, access_control_request_method=method)


def told(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("access-control-")}


def test_a_preflight_is_answered_without_a_credential_and_without_a_record(lockgate: Lockgate) -> None:
    """By the gateway itself: nothing reaches the upstream."""
    before, arrivals = len(lockgate.leaves()), len(lockgate.arrivals())
    answer = asked(lockgate, APP)
    assert (answer.status, told(answer)["access-control-allow-origin"]) == (204, APP)
    assert (len(lockgate.leaves()), len(lockgate.arrivals())) == (before, arrivals)
    assert "lockgate_cors_preflights_total" in lockgate.control("GET", "/metrics").body.decode()


def test_a_preflight_of_another_page_is_refused_and_counted(lockgate: Lockgate) -> None:
    """As an aggregate in the ledger, and without a word about CORS."""
    answer = asked(lockgate, EVIL)
    assert (answer.status, answer.code, told(answer)) == (403, "cors_refused", {})
    until(lambda: any("cors_refused" in str(each) for each in lockgate.system("refused")), "it was counted")


def test_a_page_may_read_answers_and_refusals(lockgate: Lockgate) -> None:
    """The upstream's, and Lockgate's own to a caller without a credential."""
    answer = lockgate.ask("ann", "GET", "/items/1", origin=APP)
    assert (answer.status, told(answer)["access-control-allow-origin"], answer.fields["vary"]) == (200, APP, "origin")
    refused = lockgate.ask(None, "GET", "/items/1", origin=APP)
    assert (refused.status, told(refused)["access-control-allow-origin"]) == (401, APP)
    other = lockgate.ask("ann", "GET", "/items/1", origin=EVIL)
    assert (other.status, told(other), other.fields["vary"]) == (200, {}, "origin")


def test_a_route_has_its_own_pages(lockgate: Lockgate) -> None:
    """Instead of the listener's."""
    answer = asked(lockgate, PARTNER, "/chat/1", "GET")
    assert (answer.status, told(answer)["access-control-allow-credentials"]) == (204, "true")
    assert asked(lockgate, APP, "/chat/1", "GET").status == 403


def test_an_options_request_of_nobodys_browser_is_judged_like_any_other(lockgate: Lockgate) -> None:
    """It needs a credential."""
    assert ask(lockgate.gateway, "OPTIONS", "/echo/x", origin=APP).code == "credential_missing"


@pytest.mark.parametrize("client", ["10.66.1.2", "::ffff:10.66.1.2"])
def test_a_denied_network_is_refused_before_anybody_is_asked(lockgate: Lockgate, client: str) -> None:
    """By the address that a trusted proxy gives; also a preflight of a good page, and a credential does not help."""
    for answer in (
        lockgate.ask("ann", "GET", "/items/1", **{"x-forwarded-for": client}),
        ask(lockgate.gateway, "OPTIONS", "/x", origin=APP, access_control_request_method="PUT", x_forwarded_for=client),
    ):
        assert (answer.status, answer.code) == (403, "address_refused")
    until(lambda: any("address_refused" in str(each) for each in lockgate.system("refused")), "it was counted")
    assert lockgate.ask("ann", "GET", "/items/1", **{"x-forwarded-for": "10.67.1.2"}).status == 200


def test_the_decide_api_has_a_list_of_its_own(lockgate: Lockgate) -> None:
    """About who connects."""
    answer = lockgate.decide("checkout", {"method": "GET", "path": "/items/1"})
    assert (answer.status, answer.code) == (403, "address_refused")
