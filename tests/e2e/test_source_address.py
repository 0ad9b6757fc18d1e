"""Where requests may come from, judged before anything is classified, by the real process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.running import Lockgate, prepared
from tests.e2e.yard import load, save

SETTINGS = {"allowed": ["10.0.0.0/8", "2001:db8::/32"], "refused": ["10.66.0.0/16"], "roles": {"employee": {"allowed": ["10.1.0.0/16"]}}}


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """Behind a proxy on this machine, which says from where a request came."""
    changes = {"gateway": {"trusted_proxies": ["127.0.0.0/8"]}, "policy": {"library": ["source_address"]}}
    with prepared(tmp_path_factory.mktemp("coming"), **changes) as lockgate:
        data = load(lockgate.yard.data)
        data["lockgate"]["config"]["source_address"] = SETTINGS
        save(lockgate.yard.data, data)
        lockgate.start()
        yield lockgate


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_a_request_from_a_network_that_is_allowed_goes_on(lockgate: Lockgate, client: str) -> None:
    """However the proxy writes the address."""
    assert lockgate.ask("ann", "GET", "/items/1", **{"x-forwarded-for": client}).status == 200


@pytest.mark.parametrize(
    ("client", "code"),
    [
        ("198.51.100.7", "source.outside"),
        ("10.2.0.1", "source.outside"),
        ("2001:db8::7", "source.outside"),
        ("10.66.0.1", "source.refused"),
        ("::ffff:a42:1", "source.unknown"),
        ("unknown", "source.outside"),
    ],
)
def test_any_other_is_refused_at_admission(lockgate: Lockgate, client: str, code: str) -> None:
    """With the reason on record, and nothing was classified; who is named by no address is the proxy itself."""
    answer = lockgate.ask("ann", "GET", "/items/1", **{"x-forwarded-for": client})
    assert answer.status == 403, answer
    (leaf,) = [leaf for leaf in lockgate.story(answer.decision) if leaf["schema"] == "lockgate.decision.v1"]
    assert code in leaf["verdict"]["reasons"]
    assert leaf["verdict"]["effect"] == "deny"
