"""What `lockgate envoy config` writes, before the real Envoy: it is taken, and it does what the documentation says without the door."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from cryptography import x509
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded, TrailersReceived
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from examples.halden.demo.company import free_ports
from router.cli.main import run
from router.envoy.bootstrap import bootstrap
from router.envoy.formats import documents
from router.envoy.options import Options, TlsFiles
from router.settings import Address
from router.workspace import Workspace, parse, read
from tests.conformance.envoy_messages import BOOTSTRAP, CLUSTER, FILTER, NETWORK_FILTER, ROUTE, fault
from tests.conformance.envoy_workspaces import EVERYTHING, PLAIN, at, halden, pem, workspace
from tests.e2e import http2_framing as http2
from tests.e2e.envoy import _ready, binary
from tests.e2e.processes import Process, until
from tests.e2e.wire import Answer, ask, raw
from tests.faults.test_upstream_tls import Authority

Made = tuple[Workspace, Options]


def _starter(folder: Path) -> Made:
    assert run(["init", str(folder / "starter")]) == 0
    with (folder / "starter/lockgate.yaml").open("a") as file:
        file.write("\nenvoy: {}\n")
    return parse(read(folder / "starter", {}), {}), Options()


def _tls(folder: Path) -> Made:
    """Everywhere: callers, the door, one destination in two ways and one without."""
    authority = Authority(folder)
    for name in ("door", "envoy", "edge"):
        authority.issue(name, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    own = {"ca": "ca.pem", "certificate": "envoy.pem", "key": "envoy.key"}
    upstreams = [{"url": "https://127.0.0.1:9443"}, {"url": "https://service.internal"}, {"url": "http://127.0.0.3:9000"}]
    mixed = {"adapter": "http", "upstreams": upstreams, "tls": own}
    named = {"adapter": "http", "upstreams": [{"url": "https://10.0.0.1"}], "tls": {**own, "server_name": "pay.example"}}
    system = {"adapter": "http", "upstreams": [{"url": "https://service.internal"}]}
    shown = {"certificate": "door.pem", "key": "door.key", "client_ca": "ca.pem", "client_certificates": "required"}
    door = {"listen": "127.0.0.1:50051", "tls": shown}
    made = workspace(folder, {"mixed": mixed, "named": named, "system": system}, envoy=door)
    edge = pem(folder, "edge")
    return made, Options(door=pem(folder, "envoy"), downstream=TlsFiles(None, edge.certificate, edge.key))


def _everything(folder: Path) -> Made:
    routes = {
        "plain": {"destination": "all"},
        "again": {"destination": "all", "deduplicates": True},
        "slow": {"destination": "all", "timeouts": {"connect": "5s", "idle": "60s", "total": "600s"}},
        "sent": {"destination": "all", "path": "/fixed", "method": "PUT"},
        "endless": {"destination": "endless"},
    }
    endless = {**PLAIN, "timeouts": {"idle": None, "total": None}, "retries": {"attempts": 1}}
    limits = {"body": "8MiB", "view": "1MiB", "header_bytes": "64KiB", "header_count": 50}
    gateway = {"limits": limits, "trusted_proxies": ["10.0.0.0/8", "fd00::/8"]}
    return workspace(folder, {"all": EVERYTHING, "endless": endless}, routes, gateway=gateway, workers=3), Options()


def _sockets(folder: Path) -> Made:
    """WebSockets, gRPC over HTTP/2, bodies that nobody reads."""
    routes = {
        "chat": {"destination": "desk", "websocket": True},
        "calls": {"destination": "calls"},
        "upload": {"destination": "desk", "stream": True},
    }
    destinations = {"desk": PLAIN, "calls": {**PLAIN, "upstreams": [{"url": "http://[::1]:9090"}]}}
    return workspace(folder, destinations, routes), Options(http2=frozenset({"calls"}))


def _split(folder: Path) -> Made:
    """A second destination, and copies to a third."""
    route = {"destination": "old", "canary": {"destination": "new", "share": "5%"}, "mirror": {"destination": "seen", "share": "50%"}}
    return workspace(folder, {"old": PLAIN, "new": EVERYTHING, "seen": PLAIN}, {"split": route}), Options()


def _balanced(folder: Path) -> Made:
    """In every way, and by how well upstreams answer."""
    outliers = {"consecutive": 3, "failures": 0.2, "requests": 5, "interval": "5s", "ejection": "20s", "longest": "2m", "most": 0.25}
    ways = {"least": {"balance": "least_requests"}} | {
        by.partition(":")[0]: {"balance": "hash", "hash_by": by} for by in ("subject", "tenant", "path", "header:x-cart")
    }
    destinations = {name: {**EVERYTHING, **way, "outliers": outliers} for name, way in ways.items()}
    return workspace(folder, destinations, {name: {"destination": name, "websocket": name == "path"} for name in ways}), Options()


def _many_doors(folder: Path) -> Made:
    return workspace(folder), Options(lockgate=(Address("one.internal", 50051), Address("127.0.0.1", 50052)))


CASES: dict[str, Callable[[Path], Made]] = {
    "starter": _starter,
    "halden": lambda folder: (halden(folder), Options()),
    "tls": _tls,
    "everything": _everything,
    "sockets": _sockets,
    "split": _split,
    "balanced": _balanced,
    "many doors": _many_doors,
}


@pytest.fixture(params=list(CASES))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    return CASES[request.param](tmp_path)


ASKING = [{"filter": "ext_proc"}, {"filter": "ext_authz"}, {"bodies": "streamed"}]


@pytest.mark.parametrize("asking", ASKING, ids=["ext_proc", "ext_authz", "streamed"])
def test_envoy_takes_it(made: Made, asking: dict[str, Any], tmp_path: Path) -> None:
    """Its messages have every field, and Envoy itself validates every configuration."""
    written = bootstrap(made[0], replace(made[1], **asking))
    assert fault(BOOTSTRAP, written) == ""
    assert _refusal(tmp_path, written) == ""


def test_a_field_that_envoy_does_not_have_is_noticed(tmp_path: Path) -> None:
    """By the messages and by Envoy, so that the test above can fail."""
    written = bootstrap(workspace(tmp_path), Options())
    written["static_resources"]["clusters"][0]["lb_polizy"] = "LEAST_REQUEST"
    assert "lb_polizy" in fault(BOOTSTRAP, written)
    assert "lb_polizy" in _refusal(tmp_path, written)


def test_pieces_are_messages_too(tmp_path: Path) -> None:
    """What `--format filter` gives, and the values of Istio's patches."""
    (piece,) = documents("filter", workspace(tmp_path), Options()).documents
    kinds = {"http_filters": FILTER, "routes": ROUTE, "clusters": CLUSTER}
    assert piece.keys() == kinds.keys()
    assert [fault(kinds[name], each) for name, several in piece.items() for each in several if fault(kinds[name], each)] == []
    in_cluster = Options(lockgate=(Address("lockgate.lockgate.svc.cluster.local", 50051),))
    patches = documents("istio", workspace(tmp_path), in_cluster).documents[0]["spec"]["configPatches"]
    messages = {"CLUSTER": CLUSTER, "NETWORK_FILTER": NETWORK_FILTER, "HTTP_FILTER": FILTER}
    wrong = [fault(messages[each["applyTo"]], each["patch"]["value"]) for each in patches if each["applyTo"] in messages]
    assert wrong == ["", "", ""]


class Before:
    """A real Envoy before a service, as if the door had decided `route` about every request of `who`; without a route nobody has."""

    def __init__(self, folder: Path, made: Workspace, route: str | None, http2: str | None, who: str | None = None, **changes: Any) -> None:
        self.port, self.admin = free_ports(2)
        written = bootstrap(made, at(self.port, self.admin, http2=frozenset({http2} - {None})))
        manager = written["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        if route is not None:
            for key, value in (("x-lockgate-route", route), ("x-lockgate-subject", who)):
                if value is not None:
                    said = {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                    manager["early_header_mutation_extensions"][0]["typed_config"]["mutations"].append({"append": said})
            manager["http_filters"] = [each for each in manager["http_filters"] if "ext_proc" not in each["name"]]
            for each in manager["route_config"]["virtual_hosts"][0]["routes"]:
                each.pop("typed_per_filter_config", None)
        manager.update(changes)
        file = folder / "envoy.yaml"
        file.write_text(yaml.safe_dump(written, sort_keys=False))
        command = [str(binary()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
        command += ["--file-flush-interval-msec", "50"]
        self.process = Process(command, folder / "envoy.log")

    def start(self) -> None:
        self.process.start()
        until(lambda: _ready(self.admin, self.process), "Envoy was ready")

    def ask(self, method: str, path: str, body: Any = None, **fields: str) -> Answer:
        return ask(self.port, method, path, None, body, **fields)

    def logged(self, path: str) -> dict[str, Any]:
        """What the access log for people says of the request."""

        def found() -> dict[str, Any] | None:
            lines = [json.loads(line) for line in self.process.said.splitlines() if line.startswith("{")]
            return next((line for line in lines if line["path"] == path), None)

        return until(found, f"{path} was in the access log")


@contextmanager
def before(folder: Path, made: Workspace, route: str | None, http2: str | None = None, **changes: Any) -> Iterator[Before]:
    envoy = Before(folder, made, route, http2, **changes)
    try:
        envoy.start()
        yield envoy
    finally:
        envoy.process.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports of a service that does what it is told to, and of its WebSockets."""
    http, sockets = free_ports(2)
    process = Process([sys.executable, "-m", "tests.e2e.upstream", str(http), str(sockets)], tmp_path_factory.mktemp("service") / "log")
    process.start()
    until(lambda: _answers(http), "the service was ready")
    yield http, sockets
    process.kill()


@pytest.fixture(scope="module")
def yard(service: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    http, sockets = service
    (nobody,) = free_ports(1)
    once = {"retries": {"attempts": 3}, "circuit": {"failures": 1000}, "timeouts": {"total": "2s"}}
    destinations = {
        name: {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{port}"}], **once}
        for name, port in (("service", http), ("chats", sockets), ("nobody", nobody))
    }
    routes = {
        "plain": {"destination": "service"},
        "chat": {"destination": "chats", "websocket": True},
        "lonely": {"destination": "nobody"},
    }
    return workspace(tmp_path_factory.mktemp("yard"), destinations, routes)


@pytest.fixture(scope="module")
def undecided(yard: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """With the filter in place and nobody at the door."""
    with before(tmp_path_factory.mktemp("undecided"), yard, None) as envoy:
        yield envoy


@pytest.fixture(scope="module")
def plain(yard: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    with before(tmp_path_factory.mktemp("plain"), yard, "plain") as envoy:
        yield envoy


def test_without_an_answer_nothing_goes_on(undecided: Before) -> None:
    """A 503 in Lockgate's words, with and without a body."""
    for method, body in (("GET", None), ("POST", {"message": "hello"})):
        answer = undecided.ask(method, "/echo/1", body)
        assert (answer.status, answer.code) == (503, "door_unavailable")


def test_who_chooses_a_route_is_not_believed(yard: Workspace, tmp_path: Path) -> None:
    """Fields in Lockgate's name are gone before a route is looked for, however they are written; without that they would be honoured."""
    plain_filters = {"http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]}
    with before(tmp_path, yard, None, **plain_filters) as envoy:
        for name in ("x_lockgate_route", "X_Lockgate_Route", "X_LOCKGATE_ROUTE"):
            answer = envoy.ask("GET", "/echo/1", **{name: "plain"})
            assert (answer.status, answer.code) == (503, "route_missing")
    (tmp_path / "open").mkdir()
    with before(tmp_path / "open", yard, None, early_header_mutation_extensions=[], **plain_filters) as envoy:
        assert envoy.ask("GET", "/echo/1", x_lockgate_route="plain").status == 200


def test_what_nobody_may_say_does_not_arrive(plain: Before) -> None:
    """Names in Lockgate's and Envoy's name and with underscores, other methods and paths, and whom a request comes from."""
    request = (
        b"GET /echo/1 HTTP/1.1\r\nHost: shop.example\r\nX-Lockgate-Subject: root\r\nX-LOCKGATE-Anything: 1\r\nx_lockgate_route: lonely\r\n"
        b"under_score: 1\r\nx-envoy-max-retries: 9\r\nx-http-method-override: DELETE\r\nx-original-url: /admin\r\n"
        b"forwarded: for=6.6.6.6\r\nx-forwarded-for: 6.6.6.6\r\nx-forwarded-host: evil.example\r\nx-kept: yes\r\nconnection: close\r\n\r\n"
    )
    answer = raw(plain.port, request)
    arrived = dict(answer.json["headers"])
    assert arrived["x-kept"] == "yes"
    assert arrived["x-forwarded-host"] == "shop.example"
    assert "6.6.6.6" not in arrived["x-forwarded-for"]
    others = {"x-lockgate-route", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-envoy-external-address", "x-request-id"}
    assert arrived.keys() - others == {"host", "x-kept"}


def test_an_upstream_does_not_speak_in_lockgates_name(plain: Before) -> None:
    """Its fields of that name are dropped, others go through."""
    answer = plain.ask("GET", "/forge/1")
    assert answer.fields["x-kept"] == "yes"
    assert [name for name, _ in answer.headers if name.startswith("x-lockgate-")] == []


REFUSED = {
    b"GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n": (400, "ambiguous_path"),
    b"GET /a%5cb HTTP/1.1\r\nHost: a\r\n\r\n": (400, "ambiguous_path"),
    b"GET /echo/1 HTTP/1.1\r\n\r\n": (400, "host_missing"),
    b"POST /echo/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": (400, "malformed_request"),
    b"POST /echo/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd": (400, "malformed_request"),
    b"POST /echo/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": (501, "transfer_coding_unknown"),
    b"GET /echo/1 HTTP/1.1\r\nHost: a\r\n" + b"".join(b"h%d: 1\r\n" % i for i in range(120)) + b"\r\n": (431, "too_many_headers"),
    b"GET /echo/1 HTTP/1.1\r\nHost: a\r\nh: " + b"x" * 40_000 + b"\r\n\r\n": (431, "header_too_large"),
}


@pytest.mark.parametrize("who", ["plain", "undecided"])
@pytest.mark.parametrize("sent", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(who: str, sent: bytes, request: pytest.FixtureRequest) -> None:
    """With a problem, and also while nobody answers at the door."""
    answer = raw(request.getfixturevalue(who).port, sent)
    assert (answer.status, answer.code) == REFUSED[sent]


def test_paths_mean_one_thing(plain: Before) -> None:
    """Dot segments and empty ones are resolved before anybody judges them."""
    answer = raw(plain.port, b"GET /x/../echo//1/./2 HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n")
    assert answer.json["target"] == "/echo/1/2"


def test_upstreams_that_fail_are_told_as_the_gateway_tells_them(plain: Before, yard: Workspace, tmp_path: Path) -> None:
    """By the same codes."""
    assert (plain.ask("GET", "/babble/1").status, plain.ask("GET", "/babble/1").code) == (502, "upstream_protocol")
    assert (plain.ask("GET", "/deaf/1").status, plain.ask("GET", "/deaf/1").code) == (502, "upstream_reset")
    late = plain.ask("GET", "/dawdle/4")
    assert (late.status, late.code) == (504, "upstream_timeout")
    with before(tmp_path, yard, "lonely") as envoy:
        answer = envoy.ask("GET", "/echo/1")
        assert (answer.status, answer.code) == (502, "connect_failed")


@pytest.mark.parametrize(("method", "sent"), [("GET", 3), ("PUT", 3), ("POST", 1), ("PATCH", 1)])
def test_what_was_sent_is_sent_again_only_where_that_is_safe(plain: Before, service: tuple[int, int], method: str, sent: int) -> None:
    """An upstream that takes a request and says nothing gets an idempotent one again, and no other."""
    path = f"/deaf/{method}"
    assert plain.ask(method, path).status == 502
    arrivals = ask(service[0], "GET", "/_arrivals").json["arrivals"]
    assert len([each for each in arrivals if each["target"] == path]) == sent


def test_event_streams_arrive_event_by_event_and_may_be_long(plain: Before, service: tuple[int, int]) -> None:
    """The first event comes before there is a second, and the total time does not hold."""
    ask(service[0], "GET", "/_forget")
    with plain_stream(plain.port) as read_line:
        assert read_line() == b"data: first\n"
        ask(service[0], "GET", "/_release")
        assert read_line() in (b"\n", b"data: second\n")


def test_a_websocket_goes_where_its_route_admits_it(yard: Workspace, plain: Before, tmp_path: Path) -> None:
    """And nowhere else, though Envoy would take it."""
    with before(tmp_path, yard, "chat") as envoy, connect(f"ws://127.0.0.1:{envoy.port}/chat/1") as socket:
        socket.recv()
        socket.send("hello")
        assert socket.recv() == "hello"
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{plain.port}/chat/1"):
        pass
    assert refused.value.response.status_code == 503


def test_the_log_for_people_says_how_a_request_went(plain: Before) -> None:
    """One JSON document a line, without the query, in which people write what is nobody's business."""
    plain.ask("GET", "/echo/logged?secret=1")
    line = plain.logged("/echo/logged")
    assert (line["method"], line["status"], line["route"], line["attempts"]) == ("GET", 200, "plain idempotent", 1)
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("trusted", "chain", "client"),
    [
        ([], "6.6.6.6", "127.0.0.1"),
        (["127.0.0.0/8"], "6.6.6.6", "6.6.6.6"),
        (["127.0.0.0/8", "10.0.0.0/8"], "1.1.1.1, 6.6.6.6, 10.0.0.7", "6.6.6.6"),
        (["10.0.0.0/8"], "6.6.6.6", "127.0.0.1"),
    ],
)
def test_whom_a_request_comes_from(service: tuple[int, int], tmp_path: Path, trusted: list[str], chain: str, client: str) -> None:
    """The peer, or the right-most address that no trusted proxy vouches for."""
    desk = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{service[0]}"}]}
    made = workspace(tmp_path, {"desk": desk}, gateway={"trusted_proxies": trusted})
    with before(tmp_path, made, "desk") as envoy:
        envoy.ask("GET", "/echo/whom", x_forwarded_for=chain)
        assert envoy.logged("/echo/whom")["client"].rpartition(":")[0] == client


def test_an_upstream_shows_the_right_certificate_and_wants_ours(tmp_path: Path) -> None:
    """mTLS: with the name that it should have it is spoken to, with another it is not."""
    authority = Authority(tmp_path)
    own, shown = (authority.issue(name, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))) for name in ("upstream", "envoy"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(*own)
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        tls = {"ca": authority.ca, "certificate": shown[0], "key": shown[1]}
        base: dict[str, Any] = {"adapter": "http", "upstreams": [{"url": f"https://127.0.0.1:{server.server_port}"}]}
        destinations = {"right": {**base, "tls": tls}, "wrong": {**base, "tls": {**tls, "server_name": "other.example"}}}
        statuses = {}
        for name in destinations:
            (tmp_path / name).mkdir()
            with before(tmp_path / name, workspace(tmp_path / name, destinations), name) as envoy:
                statuses[name] = envoy.ask("GET", "/").status
        server.shutdown()
    assert statuses == {"right": 204, "wrong": 502}


class Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_another_upstream_is_asked_where_one_cannot_be_reached(service: tuple[int, int], tmp_path: Path) -> None:
    """Also for what must not be sent twice: it was not sent at all."""
    (nobody,) = free_ports(1)
    upstreams = [{"url": f"http://127.0.0.1:{port}"} for port in (nobody, service[0])]
    with before(tmp_path, workspace(tmp_path, {"desk": {"adapter": "http", "upstreams": upstreams}}), "desk") as envoy:
        assert {envoy.ask("POST", "/echo/1").status for _ in range(6)} == {200}


def test_no_service_speaks_in_lockgates_name_behind_its_answer(tmp_path: Path) -> None:
    """In trailers, which gRPC's libraries show as they show fields."""
    grpc = pytest.importorskip("grpc")
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    class Forging(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # without types
        def Check(self, _: Any, context: Any) -> Any:
            context.set_trailing_metadata((("x-lockgate-tenant", "halden"), ("x-kept", "yes")))
            return health_pb2.HealthCheckResponse(status=1)

    server = grpc.server(ThreadPoolExecutor(4))
    health_pb2_grpc.add_HealthServicer_to_server(Forging(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    made = workspace(tmp_path, {"calls": {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{port}"}]}})
    try:
        with before(tmp_path, made, "calls", http2="calls") as envoy, grpc.insecure_channel(f"127.0.0.1:{envoy.port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            _, call = stub.Check.with_call(health_pb2.HealthCheckRequest(), timeout=10)
            assert {name for name, _ in call.trailing_metadata()} == {"x-kept"}
    finally:
        server.stop(None)


def test_no_caller_speaks_in_lockgates_name_behind_a_body(tmp_path: Path) -> None:
    """In trailers, which go on to a service that speaks HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(_trailers, listener)
        upstreams = [{"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}]
        made = workspace(tmp_path, {"calls": {"adapter": "http", "upstreams": upstreams}})
        with before(tmp_path, made, "calls", http2="calls") as envoy:
            forged = [("x-lockgate-subject", "root"), ("x-kept", "yes")]
            told = http2.ask(envoy.port, "POST", "/calls/1", [], b"body", forged)
        assert (told.status, heard.result(10)) == (200, {"x-kept"})


def _trailers(listener: socket.socket) -> set[str]:
    """Names of the fields behind the first body that comes, which is answered."""
    connection, names = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8")), set[str]()
    wire, _ = listener.accept()
    with wire:
        wire.settimeout(10)
        connection.initiate_connection()
        wire.sendall(connection.data_to_send())
        while received := wire.recv(65536):
            for event in connection.receive_data(received):
                if isinstance(event, TrailersReceived):
                    names |= {str(name) for name, _ in event.headers or ()}
                if isinstance(event, StreamEnded):
                    connection.send_headers(1, [(":status", "200")], end_stream=True)
            wire.sendall(connection.data_to_send())
    return names


def test_grpc_goes_through_and_is_refused_in_its_own_words(tmp_path: Path) -> None:
    """Streams in both directions to a destination that speaks HTTP/2; undecided ones fail as UNAVAILABLE."""
    grpc = pytest.importorskip("grpc")
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    server = grpc.server(ThreadPoolExecutor(4))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    made = workspace(tmp_path, {"calls": {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{port}"}]}})
    try:
        with before(tmp_path, made, "calls", http2="calls") as envoy, grpc.insecure_channel(f"127.0.0.1:{envoy.port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
            watched = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            watched.cancel()
        (tmp_path / "shut").mkdir()
        with before(tmp_path / "shut", made, None) as envoy, grpc.insecure_channel(f"127.0.0.1:{envoy.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        server.stop(None)


ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@contextmanager
def plain_stream(port: int) -> Iterator[Callable[[], bytes]]:
    """An event stream's lines as they come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/events/1", headers={"accept": "text/event-stream"})
    try:
        yield connection.getresponse().readline
    finally:
        connection.close()


def _answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/_arrivals").status == 200
    except OSError:
        return False


def _refusal(folder: Path, config: dict[str, Any]) -> str:
    """What Envoy says against it."""
    file = folder / "validated.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [str(binary()), "--mode", "validate", "-c", str(file), "--use-dynamic-base-id", "--log-level", "critical"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stderr + done.stdout
