"""What policy demands, behind a real Envoy: done as at our own gateway, or the request does not go on."""

from __future__ import annotations

from collections.abc import Iterator
from shutil import rmtree

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e import http2_framing as http2
from tests.e2e.envoy import MODE, Envoy, authorizer, envoy_before, processor
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_obligations import ADMISSION, DECISION, duty
from tests.e2e.yard import save

DUTIES = {
    "redact": [duty("redact_fields", fields=["/iban"])],
    "add": [duty("add_headers", headers={"X-Good": "1", "x-empty": "", "accept": "text/plain"})],
    "forwarded": [duty("add_headers", headers={"X-Forwarded-For": "192.0.2.7"})],
    "colour": [duty("add_headers", headers={"x-envoy-colour": "red"})],
    "short": [duty("limit_response", bytes=20)],
}
DUPLEX = {**MODE, "request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}
FILTERS = {"buffered": processor(), "duplex": processor(processing_mode=DUPLEX), "authz": authorizer()}


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    folder = tmp_path_factory.mktemp("obligations")
    (port,) = free_ports(1)
    with prepared(folder, envoy={"listen": f"127.0.0.1:{port}", "notice": "0ms"}) as made:
        rmtree(folder / "policies/lockgate")
        (folder / "policies/admission.rego").write_text(ADMISSION)
        (folder / "policies/decision.rego").write_text(DECISION)
        save(made.yard.data, {"lockgate": {"config": {"duties": DUTIES, "admission": {}}}})
        made.ports = {**made.ports, "envoy": port}
        made.start()
        yield made


@pytest.fixture(scope="module", params=list(FILTERS))
def envoy(request: pytest.FixtureRequest, lockgate: Lockgate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    with envoy_before(lockgate, tmp_path_factory.mktemp("envoy") / "envoy", [FILTERS[request.param]]) as envoy:
        lockgate.forget()
        yield envoy


def test_fields_are_set(lockgate: Lockgate, envoy: Envoy) -> None:
    """In place of the caller's own."""
    assert envoy.ask("ann", "POST", "/echo/add", {"n": 1}, accept="text/html").status == 200
    seen = lockgate.arrived("/echo/add")[-1]["headers"]
    assert [value for name, value in seen if name == "accept"] == ["text/plain"]
    assert {("x-good", "1"), ("x-empty", "")} <= {(name, value) for name, value in seen}


@pytest.mark.parametrize("duties", ["forwarded", "colour"])
def test_a_field_that_envoy_writes_itself_is_not_set_in_silence(lockgate: Lockgate, envoy: Envoy, duties: str) -> None:
    """Nobody would tell Envoy, so that the request does not go on, and the outcome says why."""
    answer = envoy.ask("ann", "POST", f"/echo/{duties}", {"n": 1})
    assert (answer.status, answer.code) == (403, "obligation_failed")
    assert not lockgate.arrived(f"/echo/{duties}")
    assert (lockgate.outcome(answer.decision)["result"], lockgate.outcome(answer.decision)["reason"]) == ("denied", "obligation_failed")


def test_what_policy_takes_out_of_a_body_is_not_there(lockgate: Lockgate, envoy: Envoy) -> None:
    """With a length that is true, also where the caller announced another, or none, or sends trailers; `ext_authz` cannot, and refuses."""
    body = b'{"iban":"DE1","n":1}'
    key = [("authorization", f"Bearer {lockgate.keys['ann']}"), ("content-type", "application/json")]
    before = len(lockgate.arrived("/echo/redact"))
    statuses = [
        envoy.ask("ann", "POST", "/echo/redact", {"iban": "DE1", "n": 1}).status,
        http2.ask(envoy.ports["envoy"], "POST", "/echo/redact", key, body).status,
        http2.ask(envoy.ports["envoy"], "POST", "/echo/redact", key, body, [("x-end", "1")]).status,
    ]
    sizes = [each["body_bytes"] for each in lockgate.arrived("/echo/redact")[before:]]
    assert (statuses, sizes) in (([200] * 3, [len(b'{"n":1}')] * 3), ([403] * 3, []))


def test_an_answer_whose_length_is_limited_is_refused(lockgate: Lockgate, envoy: Envoy) -> None:
    """Envoy passes answers on without us."""
    answer = envoy.ask("ann", "POST", "/echo/short", {"n": 1})
    assert (answer.status, answer.code) == (403, "obligation_failed")
    assert not lockgate.arrived("/echo/short")
