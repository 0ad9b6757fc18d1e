"""The door for Envoy, through a real Envoy: what goes on, what does not, and what the ledger says of it afterwards."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosedError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.client import connect

from examples.halden.demo.company import free_ports
from router.doors.envoy.outcomes import SEVERAL
from tests.e2e import http2_framing as http2
from tests.e2e.envoy import MODE, Envoy, authorizer, cluster, envoy_before, fronted, processor, routes
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, listens, prepared

DUPLEX = {**MODE, "request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}
BIG = b"x" * 300_000
Both = tuple[Lockgate, Envoy]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with fronted(tmp_path_factory.mktemp("fronted")) as (lockgate, envoy):
        yield lockgate, envoy


@pytest.fixture
def lockgate(both: Both) -> Lockgate:
    both[0].forget()
    return both[0]


@pytest.fixture
def envoy(both: Both, lockgate: Lockgate) -> Envoy:
    return both[1]


@pytest.fixture
def duplex(lockgate: Lockgate, tmp_path: Path) -> Iterator[Envoy]:
    with envoy_before(lockgate, tmp_path / "duplex", [processor(processing_mode=DUPLEX)]) as envoy:
        yield envoy


@pytest.fixture
def authz(lockgate: Lockgate, tmp_path: Path) -> Iterator[Envoy]:
    with envoy_before(lockgate, tmp_path / "authz", [authorizer()]) as envoy:
        yield envoy


def test_a_request_is_decided_recorded_and_routed(lockgate: Lockgate, envoy: Envoy) -> None:
    """A request that a rule decides reaches the service on the chosen route, after its decision was durable; its outcome is Envoy's own
    report: status, upstream, attempts, bytes."""
    answer = envoy.ask("ann", "POST", "/echo/some/path?a=1", {"n": 1})
    assert answer.status == 200
    assert answer.json["target"] == "/echo/some/path?a=1"
    assert answer.json["body_bytes"] == len(b'{"n": 1}')
    assert answer.json["recorded"] is True
    outcome = lockgate.outcome(answer.decision)
    assert (outcome["result"], outcome["status"], outcome["complete"], outcome["attempts"]) == ("routed", 200, True, 1)
    assert outcome["upstream"] == f"127.0.0.1:{lockgate.ports['upstream']}"
    assert outcome["response_bytes"] == len(answer.body)
    decision = lockgate.story(answer.decision)[0]
    assert decision["request"]["door"] == "envoy"


def test_the_service_sees_what_our_own_gateway_would_have_sent(lockgate: Lockgate, envoy: Envoy) -> None:
    """Neither the credential nor what a client says in our name, nor fields that ask for another method; and what was decided is there."""
    fields = {"x_lockgate_subject": "root", "x_lockgate_made_up": "1", "x_http_method_override": "DELETE", "x_passes": "yes"}
    through = dict(envoy.ask("ann", "GET", "/items/7", **fields).json["headers"])
    direct = dict(lockgate.ask("ann", "GET", "/items/7", **fields).json["headers"])
    moving = {"host", "traceparent", "x-lockgate-decision-id", "x-request-id", "x-forwarded-host", "x-forwarded-for", "connection"}
    envoys = {name for name in through if name.startswith("x-envoy-")}
    assert {k: v for k, v in through.items() if k not in moving | envoys} == {k: v for k, v in direct.items() if k not in moving}
    assert through["x-lockgate-subject"] == "ann"
    assert "authorization" not in through


def test_a_service_cannot_speak_in_our_name(envoy: Envoy) -> None:
    """`x-lockgate-*` of a service's answer is dropped; others pass."""
    answer = envoy.ask("ann", "GET", "/forge/x")
    assert [value for name, value in answer.headers if name == "x-lockgate-decision-id"] == [answer.decision]
    assert "x-lockgate-subject" not in answer.fields
    assert answer.fields["x-kept"] == "yes"


def test_who_is_unknown_is_refused_before_the_body(lockgate: Lockgate, envoy: Envoy) -> None:
    """No credential: 401 with a challenge, from the head alone."""
    answer = envoy.ask(None, "GET", "/items/1")
    assert (answer.status, answer.code) == (401, "credential_missing")
    assert "www-authenticate" in answer.fields
    assert not lockgate.arrivals()


def test_a_denial_says_why_to_its_caller_and_to_envoy(lockgate: Lockgate, tmp_path: Path) -> None:
    """The problem carries the decision; Envoy's access log has the reason in its details and in the metadata."""
    with envoy_before(lockgate, tmp_path / "denied") as envoy:
        answer = envoy.ask("eve", "POST", "/pay/1", {"a": 1})
        assert (answer.status, answer.code) == (403, "rbac.no_grant")
        assert lockgate.story(answer.decision)[0]["outcome"]["result"] == "denied"
        entry = until(envoy.entries, "Envoy had written its log")[0]
    assert entry["details"] == "lockgate_rbac.no_grant"
    assert entry["metadata"] == {"stopped": "rbac.no_grant", "decision_id": answer.decision}


def test_metadata_are_there_for_logs_and_later_filters(lockgate: Lockgate, tmp_path: Path) -> None:
    """Intent, confidence, risk, decision id and reasons stand under `lockgate`."""
    with envoy_before(lockgate, tmp_path / "metadata") as envoy:
        answer = envoy.ask("ann", "GET", "/items/1")
        metadata = until(envoy.entries, "Envoy had written its log")[0]["metadata"]
    assert metadata["decision_id"] == answer.decision
    assert (metadata["intent"], metadata["confidence"], metadata["risk"]) == ("look", 1, "low")
    assert metadata["reasons"] == ["rbac.granted"]


def test_a_held_request_is_sent_by_lockgate_after_its_approval(lockgate: Lockgate, envoy: Envoy) -> None:
    """202; nothing reaches the service before somebody approves; then Lockgate's own adapter sends the stored body, and who asked, and
    nobody else, sees the end where `Location` says. Nobody waits in a filter."""
    answer = envoy.ask("ann", "POST", "/pay/4", {"amount": 3}, prefer="wait=30")
    assert answer.status == 202
    place = answer.fields["location"]
    waiting = envoy.ask("ann", "GET", place, prefer="wait=30")
    assert (waiting.status, waiting.json["state"], "preference-applied" in waiting.fields) == (202, "pending", False)
    assert envoy.ask("bob", "GET", place).status == 404
    assert not lockgate.arrivals()
    _approve(lockgate, answer.decision)
    arrived = until(lambda: lockgate.arrived("/pay/4"), "the service had it")
    assert [each["body_bytes"] for each in arrived] == [len(b'{"amount": 3}')]
    end = until(lambda: (found := envoy.ask("ann", "GET", place)).status == 200 and found, "who asked saw the end")
    assert (end.json["target"], end.fields["x-lockgate-review"]) == ("/pay/4", "done")


@pytest.mark.parametrize(("kind", "body"), [("text", b"text"), ("bytes", bytes(range(256)))])
def test_an_answer_that_was_kept_for_who_asked_is_told(lockgate: Lockgate, envoy: Envoy, authz: Envoy, kind: str, body: bytes) -> None:
    """With all its fields, and in bytes as well; ext_authz, which has text only, names that instead of failing."""
    place = envoy.ask("ann", "POST", f"/pay/4?{kind}", {"amount": 3}).fields["location"]
    _approve(lockgate, place.rpartition("/")[2])
    until(lambda: envoy.ask("ann", "GET", place).status == 200, "who asked saw the end")
    for before in (envoy, authz):
        told = before.ask("ann", "GET", place)
        if before is authz and kind == "bytes":
            assert (told.status, told.code) == (501, "answer_not_text")
        else:
            assert (told.body, told.fields["x-lockgate-review"]) == (body, "done")
            assert [value for name, value in told.headers if name == "link"] == ["</a>; rel=next", "</b>; rel=prev"]


@pytest.mark.parametrize("asking", ["envoy", "duplex", "authz"])
def test_who_asked_answers_a_reviewer_through_envoy(lockgate: Lockgate, request: pytest.FixtureRequest, asking: str) -> None:
    """Where `Location` says, with every filter that shows bodies; on record, once, and for nobody else."""
    envoy: Envoy = request.getfixturevalue(asking)
    place = envoy.ask("ann", "POST", "/pay/4", {"amount": 3}).fields["location"]
    review = place.rpartition("/")[2]
    assert lockgate.control("POST", f"/v1/reviews/{review}/ask", {"question": "For whom?"}, who="max").status == 200
    asked = envoy.ask("ann", "GET", place).json["question"]
    assert envoy.ask("bob", "POST", place, {"text": "mine"}, if_match=asked["if_match"]).status == 404
    given = envoy.ask("ann", "POST", place, {"text": "For Zoe."}, if_match=asked["if_match"])
    again = envoy.ask("ann", "POST", place, "For Zoe.", if_match=asked["if_match"])
    assert (given.status, given.json["state"], again.fields["idempotent-replayed"]) == (200, "pending", "true")
    assert envoy.ask("ann", "POST", place, b"", if_match=asked["if_match"], content_type="text/plain").code == "request_invalid"
    assert envoy.ask("ann", "POST", place, "x" * 40_000, if_match=asked["if_match"]).status == 413  # whoever of the two says so
    assert [leaf["event"] for leaf in lockgate.story(review) if leaf["schema"] == "lockgate.review.v1"][-1] == "information_given"
    assert lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max").status == 200


def test_a_filter_that_shows_no_bodies_takes_no_answers(lockgate: Lockgate, tmp_path: Path) -> None:
    """By name, and nothing is on record; where to look it tells all the same."""
    with envoy_before(lockgate, tmp_path / "unseen", [processor(processing_mode={**MODE, "request_body_mode": "NONE"})]) as envoy:
        place = "/.lockgate/reviews/nothing"
        answer = envoy.ask("ann", "POST", place, {"text": "For Zoe."}, if_match='"2"')
        assert (answer.status, answer.code) == (415, "body_unseen")
        assert envoy.ask("ann", "GET", place).code == "not_found"


def test_an_upstream_that_nobody_reaches(lockgate: Lockgate, envoy: Envoy) -> None:
    """Envoy answers by itself; the outcome names the reason as our own gateway does."""
    answer = envoy.ask("ann", "GET", "/lonely/1")
    assert answer.status == 503
    outcome = lockgate.outcome(answer.decision)
    assert (outcome["result"], outcome["status"], outcome["reason"]) == ("failed", 503, "connect_failed")


def test_a_response_that_breaks_off(lockgate: Lockgate, envoy: Envoy) -> None:
    """Envoy says so to the caller, in one way or another, and the outcome says it too."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert envoy.ask("ann", "GET", "/vanish/1").status == 502
    outcome = until(lambda: _outcome_at(lockgate, "/vanish"), "the outcome was recorded")
    assert (outcome["result"], outcome["complete"]) == ("failed", False)
    assert outcome["reason"] in ("upstream_reset", "upstream_protocol")


def test_a_caller_who_leaves(lockgate: Lockgate, envoy: Envoy) -> None:
    """While the service has not answered: the outcome is `client_gone`."""
    with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=30) as connection:
        connection.sendall(f"GET /hold/1 HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer {lockgate.keys['ann']}\r\n\r\n".encode())
        until(lambda: lockgate.arrived("/hold/1"), "the service had it")
    outcome = until(lambda: _outcome_at(lockgate, "/hold"), "the outcome was recorded")
    assert (outcome["result"], outcome["reason"]) == ("failed", "client_gone")


def test_retries_of_envoys_router_are_one_outcome(lockgate: Lockgate, tmp_path: Path) -> None:
    """Envoy tries again by itself; the ledger has one decision and one outcome that counts the attempts."""
    table = routes({"lonely": "nobody"}, retry_policy={"retry_on": "connect-failure", "num_retries": 2})
    with envoy_before(lockgate, tmp_path / "retries", table=table) as envoy:
        answer = envoy.ask("ann", "GET", "/lonely/1")
        outcome = lockgate.outcome(answer.decision)
    assert outcome["attempts"] == 3
    assert [leaf["schema"] for leaf in lockgate.story(answer.decision)] == ["lockgate.decision.v1", "lockgate.outcome.v1"]


def test_without_an_access_log_the_response_header_is_the_outcome(tmp_path: Path) -> None:
    """It says the status, and does not claim that the response went whole."""
    with fronted(tmp_path, envoy={"access_log": False}, als=False) as (lockgate, envoy):
        answer = envoy.ask("ann", "GET", "/items/1")
        outcome = lockgate.outcome(answer.decision)
        assert (outcome["result"], outcome["status"], outcome["complete"]) == ("routed", 200, False)


def test_without_an_access_log_an_answer_of_envoys_own_is_a_failure(tmp_path: Path) -> None:
    """No service had the request; Envoy says of the answer's head who gave it."""
    with fronted(tmp_path, envoy={"access_log": False}, als=False) as (lockgate, envoy):
        outcome = lockgate.outcome(envoy.ask("ann", "GET", "/lonely/1").decision)
        assert (outcome["result"], outcome["status"], outcome["reason"]) == ("failed", 503, "envoy_local_reply")
        assert not outcome["complete"]


def test_an_access_log_that_never_comes_is_waited_for_with_patience(tmp_path: Path) -> None:
    """Then the outcome is what the header said; and of responses that may go on, as soon as nothing is told of what has ended either."""
    with fronted(tmp_path, envoy={"outcome_patience": "600ms"}, als=False) as (lockgate, envoy):
        answer = envoy.ask("ann", "GET", "/items/1")
        whole = envoy.ask("ann", "HEAD", "/echo/1")
        for each in (answer, whole):
            assert lockgate.outcome(each.decision)["status"] == 200
            decided, ended = (datetime.fromisoformat(leaf["time"]) for leaf in lockgate.story(each.decision))
            assert ended - decided > timedelta(milliseconds=500)


@pytest.mark.parametrize(("asking", "end"), [(processor, "leaves"), (processor, "hears all"), (authorizer, "hears all")])
def test_a_response_that_lasts_longer_than_an_outcome_waits_has_its_own(tmp_path: Path, asking: Callable[[], Any], end: str) -> None:
    """Envoy shows no more once it has the head's answer, or the first; how the response ended, and when, its access log tells."""
    with fronted(tmp_path, envoy={"outcome_patience": "500ms"}, filters=[asking()]) as (lockgate, envoy):
        with _events(lockgate, envoy):
            decision = _decided(lockgate, "/events")
            time.sleep(2)
            assert len(lockgate.story(decision)) == 1
            if end == "hears all":
                lockgate.release()
                lockgate.outcome(decision)
        outcome = lockgate.outcome(decision)
    expected = ("failed", "client_gone", False) if end == "leaves" else ("routed", "", True)
    assert (outcome["result"], outcome["reason"], outcome["complete"]) == expected
    assert (outcome["total_ns"] > 2e9, outcome["response_bytes"] > 0, outcome["attempts"]) == (True, True, 1)


def test_sockets_that_are_open_for_long_have_their_own_ends(tmp_path: Path) -> None:
    """Many, and nothing else that Envoy could tell of: that is no sign that it tells of nothing."""
    with fronted(tmp_path, envoy={"outcome_patience": "200ms"}) as (lockgate, envoy), contextlib.ExitStack() as open_ones:
        headers = {"authorization": f"Bearer {lockgate.keys['ann']}"}
        where = f"ws://127.0.0.1:{envoy.ports['envoy']}/chat/1"
        chats = [open_ones.enter_context(connect(where, additional_headers=headers, proxy=None)) for _ in range(SEVERAL)]
        decisions = [json.loads(chat.recv())["x-lockgate-decision-id"] for chat in chats]
        time.sleep(3)
        open_ones.close()
        outcomes = [lockgate.outcome(each) for each in decisions]
    assert {(each["result"], each["complete"], each["total_ns"] > 2e9) for each in outcomes} == {("routed", True, True)}


@pytest.mark.slow
def test_a_worker_that_stops_ends_what_goes_on(tmp_path: Path) -> None:
    """With what it knows, when it may wait no longer: Envoy carries the response on, and tells somebody else of it."""
    with fronted(tmp_path, envoy={"outcome_patience": "500ms"}) as (lockgate, envoy), _events(lockgate, envoy):
        time.sleep(1.5)
        decision = _decided(lockgate, "/events")
        lockgate.process.signal(signal.SIGTERM)
        assert lockgate.process.wait() == 0
        outcome = lockgate.outcome(decision)
    assert (outcome["result"], outcome["status"], outcome["complete"]) == ("routed", 200, False)


def test_a_trailer_keeps_no_body_off_the_record(lockgate: Lockgate, duplex: Envoy) -> None:
    """Its digest comes with the outcome, whatever ends it."""
    bearer = ("authorization", f"Bearer {lockgate.keys['ann']}")
    digests = []
    for trailers in (None, [("x-end", "1")]):
        told = http2.ask(duplex.ports["envoy"], "POST", "/upload/1", [bearer], b"x" * 16_000, trailers)
        decision = told.fields["x-lockgate-decision-id"]
        assert lockgate.outcome(decision)["complete"]
        digests.append(lockgate.story(decision)[1].get("commitments", {}).get("request_digest"))
    assert all(digests)


def test_a_websocket_passes(lockgate: Lockgate, envoy: Envoy, duplex: Envoy, authz: Envoy) -> None:
    """In both of the filter's modes that hold bodies, and through ext_authz; and only where a rule admits it."""
    for before in (envoy, duplex, authz):
        headers = {"authorization": f"Bearer {lockgate.keys['ann']}"}
        with connect(f"ws://127.0.0.1:{before.ports['envoy']}/chat/1", additional_headers=headers, proxy=None) as chat:
            greeting = json.loads(chat.recv())
            assert greeting["x-lockgate-subject"] == "ann"
            assert "authorization" not in {name.lower() for name in greeting}
            chat.send("hello")
            assert chat.recv() == "hello"
        outcome = lockgate.outcome(greeting["x-lockgate-decision-id"])
        assert (outcome["status"], outcome["result"], outcome["reason"], outcome["complete"]) == (101, "routed", "", True)
        with pytest.raises(Exception, match="403"):
            connect(f"ws://127.0.0.1:{before.ports['envoy']}/echo/1", additional_headers=headers, proxy=None)


def test_a_websocket_whose_service_vanishes_looks_closed(lockgate: Lockgate, tmp_path: Path) -> None:
    """Envoy says the same of a connection that was reset in the middle and of one that was closed in due form: it is routed, as at our own
    gateway. A caller who vanishes is told apart."""
    with (
        Vanishing() as service,
        envoy_before(
            lockgate, tmp_path / "e", table=routes({"chat": "vanishing"}), clusters=[cluster("vanishing", [service.port])]
        ) as envoy,
    ):
        headers = {"authorization": f"Bearer {lockgate.keys['ann']}"}
        for who, expected in (("service", ("routed", "", True)), ("caller", ("failed", "client_gone", False))):
            with connect(f"ws://127.0.0.1:{envoy.ports['envoy']}/chat/1", additional_headers=headers, proxy=None) as chat:
                decision = chat.response.headers["x-lockgate-decision-id"]
                if who == "caller":
                    chat.socket.shutdown(socket.SHUT_RDWR)
                else:
                    service.vanish()
                with pytest.raises(ConnectionClosedError):
                    chat.recv(timeout=30)
            outcome = lockgate.outcome(decision)
            assert (outcome["status"], outcome["result"], outcome["reason"], outcome["complete"]) == (101, *expected)


class Vanishing:
    """A service that takes WebSockets, and resets them when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Vanishing:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._connections):
            each.close()

    def vanish(self) -> None:
        connection = self._connections[-1]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                head = connection.recv(65536)
                protocol = ServerProtocol()
                protocol.receive_data(head)
                (request,) = protocol.events_received()
                assert isinstance(request, Request)
                protocol.send_response(protocol.accept(request))
                connection.sendall(b"".join(protocol.data_to_send()))


def test_events_come_one_by_one(lockgate: Lockgate, envoy: Envoy) -> None:
    """An event stream is not held back: the first event is here while the service still waits."""
    with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=30) as connection:
        connection.sendall(f"GET /events/1 HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer {lockgate.keys['ann']}\r\n\r\n".encode())
        seen = b""
        while b"data:" not in seen:
            seen += connection.recv(4096)
        lockgate.release()
        assert b"text/event-stream" in seen.lower()


def test_a_body_above_the_buffer_is_refused_by_envoy_and_counted_here(lockgate: Lockgate, envoy: Envoy) -> None:
    """BUFFERED: 413, nothing decided; and the figure of refusals says why, once for each."""
    before, recorded = _refused(lockgate, "body_too_large"), len(lockgate.leaves())
    for number in (1, 2):
        assert envoy.ask("ann", "POST", "/echo/1", BIG).status == 413
        until(lambda number=number: _refused(lockgate, "body_too_large") == before + number, "it was counted")
    assert not lockgate.arrivals()
    decided = [leaf for leaf in lockgate.leaves()[recorded:] if leaf["schema"] == "lockgate.decision.v1"]
    assert not decided


def test_a_body_above_the_buffer_is_judged_by_its_beginning_in_full_duplex(lockgate: Lockgate, duplex: Envoy) -> None:
    """As our own gateway does: refused where a policy needs the whole, and streamed through where it does not."""
    refused = duplex.ask("ann", "POST", "/echo/1", BIG)
    assert (refused.status, refused.code) == (403, "request.body_truncated")
    passed = duplex.ask("ann", "POST", "/upload/1", BIG)
    assert passed.status == 200
    assert passed.json["body_bytes"] == len(BIG)
    small = duplex.ask("ann", "POST", "/echo/1", {"n": 1})
    assert small.status == 200
    assert lockgate.story(small.decision)[0]["request"]["body"]["truncated"] is False


def test_a_streaming_body_over_the_limit_is_cut_off(lockgate: Lockgate, duplex: Envoy) -> None:
    """413 although its beginning is under way already; the outcome says so."""
    answer = duplex.ask("ann", "POST", "/upload/1", b"x" * (2 << 20))
    assert (answer.status, answer.code) == (413, "body_too_large")
    outcome = until(lambda: _outcome_of(lockgate, "body_too_large"), "the outcome was recorded")  # the service may not have heard of it
    assert (outcome["result"], outcome["status"]) == ("failed", 413)


def test_modes_that_cannot_hold_are_refused(lockgate: Lockgate, tmp_path: Path) -> None:
    """STREAMED and BUFFERED_PARTIAL route by nothing that was decided; a body without a known source cannot be limited."""
    for place, mode in enumerate(("STREAMED", "BUFFERED_PARTIAL")):
        wrong = processor(processing_mode={**MODE, "request_body_mode": mode})
        with envoy_before(lockgate, tmp_path / str(place), [wrong]) as envoy:
            answer = envoy.ask("ann", "POST", "/echo/1", {"n": 1})
            assert (answer.status, answer.code) == (500, "envoy_mode_unfit")
            assert envoy.ask("ann", "GET", "/echo/1").status == 200
    with envoy_before(lockgate, tmp_path / "source", [processor(request_attributes=[])]) as envoy:
        assert envoy.ask("ann", "GET", "/echo/1").code == "envoy_source_missing"


def test_a_body_that_envoy_does_not_show_is_truncated(lockgate: Lockgate, tmp_path: Path) -> None:
    """Mode NONE: policy judges a request whose body nobody saw, and refuses it unless told otherwise."""
    blind = processor(processing_mode={**MODE, "request_body_mode": "NONE"})
    with envoy_before(lockgate, tmp_path / "none", [blind]) as envoy:
        refused = envoy.ask("ann", "POST", "/echo/1", {"n": 1})
        assert (refused.status, refused.code) == (403, "request.body_truncated")
        assert envoy.ask("ann", "POST", "/upload/1", BIG).json["body_bytes"] == len(BIG)


def test_a_route_says_how_it_is_asked_about(lockgate: Lockgate, tmp_path: Path) -> None:
    """By gRPC metadata of the route: bodies unread, a shorter deadline; what is not understood is a fault of the configuration."""

    def overridden(*pairs: tuple[str, str]) -> list[Any]:
        override = {"overrides": {"grpc_initial_metadata": [{"key": key, "value": value} for key, value in pairs]}}
        kind = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
        table = routes({"plain": "service", "streamed": "service"})
        for each in table:
            each["typed_per_filter_config"] = {"envoy.filters.http.ext_proc": {"@type": kind, **override}}
        return table

    with envoy_before(lockgate, tmp_path / "unread", table=overridden(("x-lockgate-body", "none"))) as envoy:
        assert envoy.ask("ann", "POST", "/echo/1", {"n": 1}).code == "request.body_truncated"
    with envoy_before(lockgate, tmp_path / "wrong", table=overridden(("x-lockgate-bodies", "none"))) as envoy:
        assert envoy.ask("ann", "GET", "/echo/1").code == "envoy_metadata_invalid"
    with envoy_before(lockgate, tmp_path / "long", table=overridden(("x-lockgate-deadline", "1h"))) as envoy:
        assert envoy.ask("ann", "GET", "/echo/1").code == "envoy_metadata_invalid"


def test_ext_authz_decides_the_same(lockgate: Lockgate, authz: Envoy) -> None:
    """Allowed, denied, held and unknown callers; the outcome comes from the access log alone."""
    answer = authz.ask("ann", "POST", "/echo/1", {"n": 1})
    assert answer.status == 200
    assert dict(answer.json["headers"])["x-lockgate-subject"] == "ann"
    assert "authorization" not in dict(answer.json["headers"])
    outcome = lockgate.outcome(answer.decision)
    assert (outcome["result"], outcome["status"], outcome["complete"]) == ("routed", 200, True)
    denied = authz.ask("eve", "POST", "/pay/1", {"a": 1})
    assert (denied.status, denied.code) == (403, "rbac.no_grant")
    held = authz.ask("ann", "POST", "/pay/9", {"a": 1})
    assert (held.status, authz.ask("ann", "GET", held.fields["location"]).json["state"]) == (202, "pending")
    assert authz.ask(None, "GET", "/items/1").code == "credential_missing"
    assert authz.ask("ann", "POST", "/echo/1", BIG).status == 413


def test_a_late_decision_is_a_503_and_is_not_let_go(tmp_path: Path) -> None:
    """The ledger hangs: the caller hears of it within the deadline, nothing reaches the service, and what is recorded afterwards says that
    it came too late."""
    with fronted(tmp_path, envoy={"deadline": "500ms"}) as (lockgate, envoy):
        assert envoy.ask("ann", "GET", "/items/1").status == 200
        lockgate.forget()
        lockgate.process.signal(signal.SIGSTOP)
        try:
            answer = envoy.ask("ann", "GET", "/items/2")  # while the ledger stands still: nobody waited for it
            assert (answer.status, answer.code) == (503, "decision_late")
        finally:
            lockgate.process.signal(signal.SIGCONT)
        outcome = until(lambda: _outcome_of(lockgate, "decision_late"), "the late decision's outcome was recorded")
        assert outcome["result"] == "failed"
        assert not lockgate.arrivals()


def test_two_workers_share_the_access_log(tmp_path: Path) -> None:
    """Envoy sends its log to one of them; every decision gets its outcome, whichever made it."""
    with fronted(tmp_path, "--workers", "2") as (lockgate, _):
        ports = [lockgate.ports["envoy"], lockgate.ports["envoy"] + 1]
        assert f"envoy    127.0.0.1:{ports[1]}" in lockgate.process.said
        with envoy_before(lockgate, tmp_path / "both", lockgates=ports) as spread:
            decisions = [spread.ask("ann", "GET", f"/items/{number}").decision for number in range(20)]
            outcomes = [lockgate.outcome(each) for each in decisions]
        assert {each["upstream"] for each in outcomes} == {f"127.0.0.1:{lockgate.ports['upstream']}"}
        assert all(each["complete"] for each in outcomes)


def test_workers_that_stop_hear_how_each_others_requests_ended(tmp_path: Path) -> None:
    """Envoy reports to one of them, which goes on listening until none of them waits for anything; with Envoy gone nobody waits longer than
    an outcome may."""
    patience = {"outcome_patience": "10m"}
    with fronted(tmp_path, "--workers", "2", envoy=patience) as (lockgate, _), ThreadPoolExecutor(4) as pool:
        ports = [lockgate.ports["envoy"], lockgate.ports["envoy"] + 1]
        with envoy_before(lockgate, tmp_path / "both", lockgates=ports) as spread:
            assert lockgate.outcome(spread.ask("ann", "GET", "/items/0").decision)["complete"]
            held = [pool.submit(spread.ask, "ann", "GET", f"/hold/{number}") for number in range(4)]
            until(lambda: len(lockgate.arrivals()) == 5, "all were under way")
            lockgate.process.signal(signal.SIGTERM)
            time.sleep(0.5)
            lockgate.release()
            decisions = [each.result().decision for each in held]
            assert lockgate.process.wait(120) == 0  # nobody waited in vain
        outcomes = [lockgate.outcome(each) for each in decisions]
    assert {(each["status"], each["complete"], each["attempts"]) for each in outcomes} == {(200, True, 1)}


def test_the_door_for_envoy_may_be_the_only_one(tmp_path: Path) -> None:
    """A node of its own, without a gateway and a decide API."""
    (port,) = free_ports(1)
    with prepared(tmp_path, gateway={"listen": None}, decide=None, envoy={"listen": f"127.0.0.1:{port}"}) as lockgate:
        lockgate.start()
        lockgate.ports = {**lockgate.ports, "envoy": port}
        assert not listens(lockgate.gateway)
        assert "gateway" not in lockgate.process.said
        with envoy_before(lockgate, tmp_path / "envoy") as envoy:
            assert envoy.ask("ann", "GET", "/items/1").status == 200


def _approve(lockgate: Lockgate, decision: str) -> None:
    review = lockgate.control("GET", f"/v1/reviews/{decision}", who="max").json
    approval = {"comment": "looked at", "content_digest": review["content_digest"]}
    assert lockgate.control("POST", f"/v1/reviews/{decision}/approve", approval, who="max").status == 200


def _events(lockgate: Lockgate, envoy: Envoy) -> socket.socket:
    """A caller whose first event is here."""
    connection = socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=30)
    connection.sendall(f"GET /events/1 HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer {lockgate.keys['ann']}\r\n\r\n".encode())
    seen = b""
    while b"data:" not in seen:
        seen += connection.recv(4096)
    return connection


def _decided(lockgate: Lockgate, path: str) -> str:
    headers = next(dict(each["headers"]) for each in lockgate.arrivals() if each["target"].startswith(path))
    return str(headers["x-lockgate-decision-id"])


def _refused(lockgate: Lockgate, reason: str) -> float:
    page = lockgate.control("GET", "/metrics").body.decode()
    families = {each.name: each for each in text_string_to_metric_families(page)}
    return sum(each.value for each in families["lockgate_refusals"].samples if each.labels["reason"] == reason)


def _outcome_at(lockgate: Lockgate, path: str) -> Any:
    decisions = [dict(each["headers"])["x-lockgate-decision-id"] for each in lockgate.arrivals() if each["target"].startswith(path)]
    return next(
        (leaf["outcome"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.outcome.v1" and leaf["id"] in decisions), None
    )


def _outcome_of(lockgate: Lockgate, reason: str) -> Any:
    found = (leaf["outcome"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.outcome.v1")
    return next((each for each in found if each["reason"] == reason), None)
