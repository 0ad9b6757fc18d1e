"""What `lockgate envoy config` writes, with the real door behind a real Envoy: callers see what they see at the gateway."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from examples.halden.demo.company import free_ports
from tests.e2e.envoy import Envoy, _ready, binary
from tests.e2e.http2 import post
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, cli, company, prepared
from tests.e2e.wire import ask
from tests.e2e.yard import load, save
from tests.faults.test_upstream_tls import Authority

VIEW, MOST = 64 << 10, 1 << 20
ID = "x-lockgate-decision-id"
MODES = {"buffered": (), "streamed": ("--bodies", "streamed"), "authz": ("--filter", "ext_authz")}


@contextmanager
def configured(lockgate: Lockgate, folder: Path, *arguments: str, name: str = "envoy") -> Iterator[Envoy]:
    """An Envoy that runs with what the command wrote for this workspace."""
    admin, port = free_ports(2)
    file = folder / f"{name}.yaml"
    where = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--output", str(file)]
    done = cli("envoy", "config", "-c", str(lockgate.yard.config), *where, *arguments)
    assert done.returncode == 0, done.stderr
    command = [str(binary()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    process = Process(command, folder / f"{name}.log")
    envoy = Envoy(process, {"envoy": port, "admin": admin}, lockgate)
    try:
        process.start()
        until(lambda: _ready(admin, process), f"Envoy was ready; it said:\n{process.said[-2000:]}")
        until(lambda: _asks(envoy), "Envoy knew that the door is healthy")
        yield envoy
    finally:
        process.kill()


def _asks(envoy: Envoy) -> bool:
    return "health_flags::healthy" in _clusters(envoy)


def _clusters(envoy: Envoy) -> str:
    """What Envoy says of the door's cluster."""
    lines = ask(envoy.ports["admin"], "GET", "/clusters").body.decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("lockgate::"))


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "outcome_patience": "5s", "notice": "0ms"}
    with company(tmp_path_factory.mktemp("lockgate"), envoy=block) as lockgate:
        yield lockgate


@pytest.fixture(scope="module", params=list(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def envoy(lockgate: Lockgate, mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    with configured(lockgate, tmp_path_factory.mktemp("envoy"), *MODES[mode]) as envoy:
        yield envoy


def test_a_request_arrives_with_its_decision_and_without_its_credential(envoy: Envoy) -> None:
    """As over the gateway, whatever the caller says in Lockgate's name."""
    answer = envoy.ask("ann", "GET", "/items/1?x=1", x_lockgate_route="lonely", x_lockgate_subject="root")
    assert answer.status == 200
    fields = dict(answer.json["headers"])
    assert (fields["x-lockgate-subject"], fields["x-lockgate-route"]) == ("ann", "plain")
    assert (fields["x-lockgate-decision-id"], fields["x-lockgate-intent"]) == (answer.decision, "look")
    assert "authorization" not in fields
    assert answer.json["target"] == "/items/1?x=1"
    assert answer.json["recorded"] is True


@pytest.mark.parametrize("asking", ["buffered", "authz"])
def test_envoys_own_log_says_what_was_decided_and_why(lockgate: Lockgate, tmp_path: Path, asking: str) -> None:
    """A line for each request on its standard output: of what went on the intent, risk and reasons, of a refusal what stopped it."""
    with configured(lockgate, tmp_path, *MODES[asking]) as envoy:
        passed, refused = envoy.ask("ann", "GET", "/items/1"), envoy.ask("eve", "GET", "/items/1")
        assert envoy.process.stop() == 0
        lines = [json.loads(line) for line in envoy.process.said.splitlines() if line.startswith("{")]
    by_id = {line["decision_id"]: line for line in lines}
    told = by_id[passed.decision]
    assert (told["status"], told["intent"], told["risk"], told["effect"]) == (200, "look", "low", "allow")
    assert (told["reasons"], told["stopped"]) == (["rbac.granted"], None)
    assert (by_id[refused.decision]["status"], by_id[refused.decision]["stopped"]) == (403, "rbac.no_grant")


def test_callers_are_told_as_over_the_gateway(envoy: Envoy) -> None:
    """The same status and code, from Lockgate and from Envoy itself, and the decision's id where there is one."""
    asked: list[tuple[str | None, str, str, Any]] = [
        ("eve", "GET", "/items/1", None),
        (None, "GET", "/items/1", None),
        ("ann", "GET", "/nowhere", None),
        ("ann", "POST", "/pay/1", {"message": "pay"}),
        ("ann", "GET", "/items/a%2fb", None),
        ("ann", "GET", "/items/a;b", None),
        ("ann", "GET", "/lonely/1", None),
        ("ann", "GET", "/babble/1", None),
    ]
    here = [(each.status, each.code, ID in each.fields) for each in (envoy.ask(*one) for one in asked)]
    there = [(each.status, each.code, ID in each.fields) for each in (envoy.lockgate.ask(*one) for one in asked)]
    assert here == there


def test_an_outcome_says_how_it_went(envoy: Envoy) -> None:
    """Status, bytes and upstream come from Envoy's access log."""
    answer = envoy.ask("ann", "GET", "/items/2")
    outcome = envoy.lockgate.outcome(answer.decision)
    assert (outcome["result"], outcome["status"], outcome["complete"]) == ("routed", 200, True)
    assert outcome["response_bytes"] == len(answer.body)
    assert outcome["upstream"].endswith(str(envoy.lockgate.ports["upstream"]))


def test_an_upstream_does_not_speak_in_lockgates_name(envoy: Envoy) -> None:
    """The decision's own id is the only such field that a caller gets."""
    answer = envoy.ask("ann", "GET", "/forge/1")
    own = [(name, value) for name, value in answer.headers if name.startswith("x-lockgate-")]
    assert len(own) == 1
    assert own[0][1] != "forged"


@pytest.mark.parametrize("size", [1, VIEW - 1, VIEW])
def test_a_body_up_to_the_view_goes_on(envoy: Envoy, size: int) -> None:
    """Whole, in every mode."""
    answer = envoy.ask("ann", "POST", "/echo/1", b"x" * size, content_type="application/octet-stream")
    assert (answer.status, answer.json["body_bytes"]) == (200, size)


@pytest.mark.parametrize("size", [VIEW + 1, MOST])
def test_a_larger_body_does_not_go_on_unread(envoy: Envoy, mode: str, size: int) -> None:
    """Envoy's buffer refuses it, or policy does what it does at the gateway: nobody judges a beginning as if it were the whole."""
    before = len(envoy.lockgate.arrived("/echo/large"))
    answer = envoy.ask("ann", "POST", "/echo/large", b"x" * size, content_type="application/octet-stream")
    told = {(413, "body_too_large"), (403, "request.body_truncated")}
    assert (answer.status, answer.code) in told
    if mode == "streamed":
        assert answer.code == "request.body_truncated"
    assert len(envoy.lockgate.arrived("/echo/large")) == before


@pytest.mark.parametrize("size", [VIEW, VIEW + 1, 200_000, MOST])
def test_the_same_over_http2(envoy: Envoy, size: int) -> None:
    """There Envoy sees pieces of other sizes; what is over the view still never goes on unread."""
    path, key = f"/echo/h2-{size}", f"Bearer {envoy.lockgate.keys['ann']}"
    status, body = post(envoy.ports["envoy"], path, size, {"authorization": key, "content-type": "application/octet-stream"})
    told = json.loads(body)
    if size == VIEW:
        assert (status, told["body_bytes"]) == (200, size)
    else:
        assert (status, told["code"]) in {(413, "body_too_large"), (403, "request.body_truncated")}
        assert envoy.lockgate.arrived(path) == []


def test_a_service_may_take_longer_than_a_body(envoy: Envoy) -> None:
    """`limits.body_timeout` is a second here, and a route's own time-outs are longer: until the first byte, too."""
    for method, body in (("GET", None), ("POST", {"message": "hello"})):
        assert envoy.ask("ann", method, "/dawdle/1.5", body).status == 200


def test_bodies_that_nobody_reads_may_be_of_any_size(envoy: Envoy) -> None:
    """Where a rule leads to a route with `stream: true`; also while the decision is under way."""
    answer = envoy.ask("ann", "POST", "/upload/1", b"x" * MOST, content_type="application/octet-stream")
    assert (answer.status, answer.json["body_bytes"]) == (200, MOST)


def test_websockets_go_where_a_rule_leads_them(envoy: Envoy) -> None:
    """Identified and recorded like a request, and refused elsewhere."""
    key = {"authorization": f"Bearer {envoy.lockgate.keys['ann']}"}
    with connect(f"ws://127.0.0.1:{envoy.ports['envoy']}/chat/1", additional_headers=key) as socket:
        assert "x-lockgate-subject" in socket.recv()
        socket.send("hello")
        assert socket.recv() == "hello"
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{envoy.ports['envoy']}/items/1", additional_headers=key):
        pass
    assert refused.value.response.status_code == 403


def test_every_worker_is_asked_and_outcomes_find_theirs(tmp_path: Path) -> None:
    """One endpoint for each; the access log goes to one of them, whoever decided."""
    port = _two_free_in_a_row()
    (tmp_path / "lockgate").mkdir()
    with (
        company(tmp_path / "lockgate", envoy={"listen": f"127.0.0.1:{port}", "notice": "0ms"}, workers=2) as lockgate,
        configured(lockgate, tmp_path) as envoy,
    ):
        until(lambda: _clusters(envoy).count("health_flags::healthy") >= 2, "both workers were healthy")
        decisions = [envoy.ask("ann", "GET", f"/items/{number}").decision for number in range(12)]
        assert {lockgate.outcome(each)["status"] for each in decisions} == {200}
        asked = re.findall(r"lockgate::(127\.0\.0\.1:\d+)::rq_total::(\d+)", _clusters(envoy))
        assert {where for where, count in asked if int(count) > 1} == {f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"}


def test_a_second_destination_gets_its_callers_and_copies_go_out(tmp_path: Path) -> None:
    """By what was decided; Envoy sends the copies, without the caller's credential."""
    (port,) = free_ports(1)
    (tmp_path / "lockgate").mkdir()
    with prepared(tmp_path / "lockgate", envoy={"listen": f"127.0.0.1:{port}", "notice": "0ms"}) as lockgate:
        file = lockgate.yard.folder / "catalog.yaml"
        catalog = load(file)
        catalog["destinations"] |= {"twin": catalog["destinations"]["service"], "seen": catalog["destinations"]["service"]}
        catalog["routes"]["plain"] |= {"canary": {"destination": "twin", "share": "100%"}, "mirror": {"destination": "seen"}}
        save(file, catalog)
        lockgate.start()
        with configured(lockgate, tmp_path) as envoy:
            answer = envoy.ask("ann", "GET", "/items/5")
            assert dict(answer.json["headers"])["x-lockgate-destination"] == "twin"
            until(lambda: len(lockgate.arrived("/items/5")) == 2, "the copy arrived")
            assert all("authorization" not in dict(each["headers"]) for each in lockgate.arrived("/items/5"))
            page = ask(envoy.ports["admin"], "GET", "/clusters").body.decode()
    counts = dict(re.findall(r"destination\.(\w+)::[\d.]+:\d+::rq_total::(\d+)", page))
    assert (counts["twin"], counts["seen"], counts["service"]) == ("1", "1", "0")


def _two_free_in_a_row() -> int:
    """Each worker takes the port after the one before."""
    for _ in range(50):
        (port,) = free_ports(1)
        with socket.socket() as after:
            try:
                after.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        return port
    raise AssertionError("there were no two free ports in a row")


def test_with_tls_everywhere(tmp_path: Path) -> None:
    """Callers, and Envoy at the door, which wants to see its certificate; without one nothing goes on."""
    authority = Authority(tmp_path)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    files = {name: authority.issue(name, loopback) for name in ("door", "envoy", "edge")}
    (port,) = free_ports(1)
    tls = {"certificate": files["door"][0], "key": files["door"][1], "client_ca": authority.ca, "client_certificates": "required"}
    edge = ["--tls-certificate", files["edge"][0], "--tls-key", files["edge"][1]]
    shown = ["--certificate", files["envoy"][0], "--key", files["envoy"][1]]
    (tmp_path / "lockgate").mkdir()
    with company(tmp_path / "lockgate", envoy={"listen": f"127.0.0.1:{port}", "notice": "0ms", "tls": tls}) as lockgate:
        with configured(lockgate, tmp_path, "--ca", authority.ca, *shown, *edge) as envoy:
            request = urllib.request.Request(  # this machine
                f"https://127.0.0.1:{envoy.ports['envoy']}/items/1", headers={"authorization": f"Bearer {lockgate.keys['ann']}"}
            )
            with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=authority.ca)) as answer:
                assert answer.status == 200
        done = cli("envoy", "config", "-c", str(lockgate.yard.config), "--ca", authority.ca)
        assert "'envoy.tls.client_certificates' wants a certificate of Envoy" in done.stderr
