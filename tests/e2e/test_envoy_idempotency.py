"""Requests with an Idempotency-Key through a real Envoy: the service is asked once, and who repeats hears what it said."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests import redis_server
from tests.e2e.envoy import CLUSTERS, MODE, Envoy, authorizer, envoy_before, processor, routes
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_envoy_config import configured
from tests.e2e.wire import Answer
from tests.e2e.yard import load, save

DUPLEX = {**MODE, "request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}
SHOWN = {**DUPLEX, "response_body_mode": "STREAMED", "response_trailer_mode": "SEND"}
KEPT = {"keep": "1h", "answer": "1KiB"}
APART: dict[str, dict[str, Any]] = {"insistent": {"required": True}, "brief": {"answer": "10B"}}
ROUTES = routes({**CLUSTERS, **dict.fromkeys(APART, CLUSTERS["plain"])})


@contextmanager
def behind(folder: Path, *arguments: str, **settings: Any) -> Iterator[Lockgate]:
    """A Lockgate that answers Envoy, and keeps answers. Two routes of one path each keep them otherwise."""
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "outcome_patience": "3s", "notice": "0ms"}
    with prepared(folder, *arguments, envoy=block, **settings) as node:
        file = node.yard.folder / "catalog.yaml"
        catalog = load(file)
        for name in ("plain", "lonely"):
            catalog["routes"][name]["idempotency"] = KEPT
        for name, changed in APART.items():
            catalog["routes"][name] = {**catalog["routes"]["plain"], "idempotency": {**KEPT, **changed}}
            catalog["rules"].insert(0, {"name": name, "match": {"path": f"/echo/{name}"}, "no_intent": True, "route": name})
        save(file, catalog)
        data = load(node.yard.data)
        data["lockgate"]["config"]["access"]["routes"] |= {name: {"employee": ["*"]} for name in APART}
        save(node.yard.data, data)
        node.start()
        node.ports = {**node.ports, "envoy": port}
        yield node


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:

        def start(*arguments: str, **more: Any) -> Any:
            changed = {name: more.pop(name) for name in ("shared_state",) if name in more}
            node = stack.enter_context(behind(tmp_path / "node", *arguments, **changed))
            ports = [node.ports["envoy"] + each for each in range(2 if "2" in arguments else 1)]
            return node, stack.enter_context(envoy_before(node, tmp_path / "envoy", lockgates=ports, **more))

        (tmp_path / "node").mkdir()
        yield start


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with behind(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def node(standing: Lockgate) -> Lockgate:
    """One for all that ask for it; its service remembers nothing of the test before, and keys are each test's own."""
    standing.forget()
    return standing


def pay(envoy: Envoy, key: str | None, path: str = "/echo/pay", amount: int = 5, who: str = "ann") -> Answer:
    fields = {} if key is None else {"idempotency-key": key}
    return envoy.ask(who, "POST", path, {"amount": amount}, **fields)


def repeated(envoy: Envoy, key: str, path: str = "/echo/pay") -> Answer:
    """The caller has its answer a moment before it is kept."""

    def ended() -> Answer | None:
        answer = pay(envoy, key, path)
        return None if answer.status == 409 and answer.code == "idempotency_under_way" else answer

    found = until(ended, "the first had ended")
    assert isinstance(found, Answer)
    return found


def reason(node: Lockgate, answer: Answer) -> tuple[str, int, str]:
    outcome = node.outcome(answer.fields["x-lockgate-decision-id"])
    return outcome["result"], outcome["status"], outcome["reason"]


@pytest.mark.parametrize("mode", [pytest.param(MODE, marks=pytest.mark.slow), SHOWN], ids=["buffered", "streamed"])
def test_a_repeated_request_is_dispatched_once(start: Any, mode: dict[str, str]) -> None:
    """Whichever worker it reaches: the same answer, marked, under a decision of its own that says what it was. Another body, another path,
    another caller's same key, no key at all are told apart."""
    node, envoy = start("--workers", "2", filters=[processor(processing_mode=mode)])
    first = pay(envoy, "k1")
    assert first.status == 200
    again = [repeated(envoy, "k1") for _ in range(6)]
    assert "idempotent-replayed" not in first.fields
    assert {(each.status, each.body, each.fields["idempotent-replayed"]) for each in again} == {(200, first.body, "true")}
    assert {each.fields["content-type"] for each in again} == {first.fields["content-type"]}
    assert len({each.fields["x-lockgate-decision-id"] for each in [first, *again]}) == 7
    assert len(node.arrived("/echo/pay")) == 1
    assert {reason(node, each) for each in again} == {("routed", 200, "idempotency_replayed")}
    other = pay(envoy, "k1", amount=6)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert reason(node, other) == ("denied", 422, "idempotency_key_reused")
    assert pay(envoy, "k1", path="/echo/else").code == "idempotency_key_reused"
    assert pay(envoy, "k1", who="bob").status == 200
    assert [pay(envoy, None).status for _ in range(2)] == [200, 200]
    assert len(node.arrived("/echo/pay")) == 4
    assert reason(node, first) == ("routed", 200, "")
    assert node.verify().returncode == 0


@pytest.mark.parametrize("key", ["bytes", "bytes of the gateway"])
def test_a_repeated_answer_is_the_services_in_every_byte(node: Lockgate, tmp_path: Path, key: str) -> None:
    """What is no text, and all fields of a name, wherever they stand; whichever of the two kept it."""
    with envoy_before(node, tmp_path / "envoy") as envoy:
        if key == "bytes":
            first = pay(envoy, key, "/echo/pay?bytes")
        else:
            first = node.ask("ann", "POST", "/echo/pay?bytes", {"amount": 5}, **{"idempotency-key": key})
        again = repeated(envoy, key, "/echo/pay?bytes")
    assert again.fields["idempotent-replayed"] == "true"
    assert first.body == again.body == bytes(range(256))
    links = ["</a>; rel=next", "</b>; rel=prev"]
    assert [[value for name, value in each.headers if name.lower() == "link"] for each in (first, again)] == [links, links]
    assert {each.fields["content-type"] for each in (first, again)} == {"application/octet-stream"}


def test_while_the_first_is_under_way_others_are_refused(node: Lockgate, tmp_path: Path) -> None:
    """409, and the answer once there is one."""
    with envoy_before(node, tmp_path / "envoy") as envoy:
        with ThreadPoolExecutor(1) as caller:
            first = caller.submit(pay, envoy, "way", "/hold/x")
            until(lambda: node.arrived("/hold/x"), "the first was at the service")
            try:
                early = pay(envoy, "way", "/hold/x")
            finally:
                node.release()
            assert (early.status, early.code) == (409, "idempotency_under_way")
            assert first.result().status == 200
        assert repeated(envoy, "way", "/hold/x").body == first.result().body
        assert len(node.arrived("/hold/x")) == 1


def test_a_route_may_insist_on_a_key(node: Lockgate, tmp_path: Path) -> None:
    """400, recorded, and nothing goes out."""
    with envoy_before(node, tmp_path / "envoy", table=ROUTES) as envoy:
        refused = pay(envoy, None, "/echo/insistent")
        assert (refused.status, refused.code) == (400, "idempotency_key_missing")
        assert reason(node, refused) == ("denied", 400, "idempotency_key_missing")
        assert node.arrivals() == []
        assert pay(envoy, "insisted", "/echo/insistent").status == 200


def test_what_may_have_happened_is_not_done_again(node: Lockgate, tmp_path: Path) -> None:
    """A service that broke off, an answer that is too long to be kept: who repeats is refused, and the service is spared. What never
    reached a service may be made again."""
    with envoy_before(node, tmp_path / "envoy", table=ROUTES) as envoy:
        with pytest.raises((OSError, AssertionError, Exception)):  # cut in the middle, however the client sees it
            raise RuntimeError(pay(envoy, "broken", "/vanish/x").status)
        assert repeated(envoy, "broken", "/vanish/x").code == "idempotency_unanswered"
        assert len(node.arrived("/vanish/x")) == 1
        assert pay(envoy, "brief", "/echo/brief").status == 200
        assert repeated(envoy, "brief", "/echo/brief").code == "idempotency_unanswered"
        assert len(node.arrived("/echo/brief")) == 1
        for _ in range(2):
            assert repeated(envoy, "lonely", "/lonely/x").status == 503
            assert "idempotent-replayed" not in repeated(envoy, "lonely", "/lonely/x").fields


def test_envoys_own_words_are_not_kept_as_the_services(node: Lockgate, tmp_path: Path) -> None:
    """Without the attribute that says who answered, the access log says it a moment later; without both nothing is kept."""
    with envoy_before(node, tmp_path / "envoy", filters=[processor(response_attributes=[])]) as envoy:
        first = pay(envoy, "own")
        assert repeated(envoy, "own").body == first.body
        assert repeated(envoy, "own 2", "/lonely/x").status == 503
        assert "idempotent-replayed" not in repeated(envoy, "own 2", "/lonely/x").fields
        assert len(node.arrived("/echo/pay")) == 1


def test_a_held_request_is_held_once(node: Lockgate, tmp_path: Path) -> None:
    """The same 202, and reviewers see one."""
    with envoy_before(node, tmp_path / "envoy") as envoy:
        first = pay(envoy, "held", "/pay/1")
        again = repeated(envoy, "held", "/pay/1")
        assert (first.status, again.status, again.body, again.fields["idempotent-replayed"]) == (202, 202, first.body, "true")
        assert reason(node, again) == ("held", 202, "idempotency_replayed")


@pytest.mark.parametrize("asks", [authorizer(), processor(processing_mode=DUPLEX)], ids=["ext_authz", "streamed"])
def test_who_is_not_shown_answers_refuses(node: Lockgate, tmp_path: Path, asks: Any) -> None:
    """What cannot be remembered is not sent, unless the route says otherwise."""
    with envoy_before(node, tmp_path / "envoy", filters=[asks]) as envoy:
        refused = pay(envoy, "shown")
        assert (refused.status, refused.code) == (503, "idempotency_unavailable")
        assert node.arrived("/echo/pay") == []
        assert pay(envoy, None).status == 200


def test_redis_remembers_and_without_it_nothing_goes_on(start: Any) -> None:
    """The gateway's listener gives what Envoy's kept, for they are one memory; when Redis is gone it is a 503."""
    with redis_server.running() as redis:
        shared = {"adapter": "redis", "server": str(redis.address), "key": "secret", "timeout": "100ms"}
        node, envoy = start(shared_state=shared)
        first = pay(envoy, "k1")
        assert repeated(envoy, "k1").body == first.body
        fields = {"idempotency-key": "k1"}
        assert node.ask("ann", "POST", "/echo/pay", {"amount": 5}, **fields).body == first.body
        assert len(node.arrived("/echo/pay")) == 1
        redis.stop()
        refused = pay(envoy, "k1")
        assert (refused.status, refused.code) == (503, "idempotency_unavailable")


@pytest.mark.parametrize("bodies", ["buffered", "streamed"])
def test_what_lockgate_writes_for_envoy_is_enough(node: Lockgate, tmp_path: Path, bodies: str) -> None:
    """Envoy as `lockgate envoy config` sets it up for a catalog that keeps answers, in each of its modes for bodies."""
    with configured(node, tmp_path, "--bodies", bodies, name="written") as envoy:
        first = pay(envoy, f"written {bodies}")
        again = repeated(envoy, f"written {bodies}")
        assert (first.status, again.body, again.fields["idempotent-replayed"]) == (200, first.body, "true")
        assert len(node.arrived("/echo/pay")) == 1
        long = pay(envoy, f"long {bodies}", "/download/300000")
        assert (long.status, repeated(envoy, f"long {bodies}", "/download/300000").code) == (200, "idempotency_unanswered")
