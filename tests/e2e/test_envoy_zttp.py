"""The door for Envoy on zttp. What it decides is in the other tests, which run on it with LOCKGATE_TEST_ENVOY_SERVER=zttp; here is what
is its own: health and statuses by hand, bytes that are no HTTP/2 and no gRPC, and callers that leave, in such numbers that Envoy is told to
go on over other connections. What a connection does is in `tests/unit/doors/envoy/test_connection.py`."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.halden.demo.company import free_ports
from tests.e2e.envoy import Envoy, fronted
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company
from tests.needs import needs

needs("zttp", "pip install 'lockgate[envoy-zttp]'")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
CHECK = "/envoy.service.auth.v3.Authorization/Check"
STREAMS = 100
FLAWS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    with fronted(tmp_path_factory.mktemp("fronted"), envoy={"server": "zttp", "notice": "1s"}, streams=STREAMS) as (_, envoy):
        yield envoy


@pytest.fixture
def channel(envoy: Envoy) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{envoy.lockgate.ports['envoy']}") as made:
        yield made


def healthy(lockgate: Lockgate) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{lockgate.ports['envoy']}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return bool(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING)


def test_a_request_is_decided_and_its_outcome_comes(envoy: Envoy) -> None:
    answer = envoy.ask("ann", "POST", "/echo/1", {"n": 1})
    assert answer.status == 200
    assert envoy.ask("eve", "POST", "/pay/1", {"n": 1}).status == 403
    assert envoy.lockgate.outcome(answer.decision)["result"] == "routed"


def test_health_is_told_and_nothing_else(channel: grpc.Channel) -> None:
    """For the whole and for each filter's service; no reflection."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for service in ("", "envoy.service.ext_proc.v3.ExternalProcessor", "envoy.service.auth.v3.Authorization"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == SERVING
        assert next(stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=10)).status == SERVING
    assert next(stub.Watch(health_pb2.HealthCheckRequest(service="x"), timeout=10)).status == 3
    assert status_of(lambda: stub.Check(health_pb2.HealthCheckRequest(service="x"), timeout=10)) == grpc.StatusCode.NOT_FOUND
    reflect: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert status_of(lambda: list(reflect(iter([b""]), timeout=10))) == grpc.StatusCode.UNIMPLEMENTED


def test_a_worker_that_drains_says_so_to_who_watches(tmp_path: Path) -> None:
    """Before it goes."""
    block = {"server": "zttp", "listen": f"127.0.0.1:{free_ports(1)[0]}", "notice": "1s"}
    with company(tmp_path, envoy=block) as lockgate, grpc.insecure_channel(block["listen"]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watched = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watched).status == SERVING
        with ThreadPoolExecutor(1) as stopping:
            stopped = stopping.submit(lockgate.process.stop)
            assert next(watched).status == NOT_SERVING
            watched.cancel()
            assert stopped.result() == 0


def test_messages_that_are_none_end_their_call(channel: grpc.Channel) -> None:
    """And no other: the next is answered."""
    process: Any = channel.stream_stream(PROCESS)
    check: Any = channel.unary_unary(CHECK)
    assert status_of(lambda: list(process(iter([b"\xff\xff\xff"]), timeout=10))) == grpc.StatusCode.INTERNAL
    assert status_of(lambda: check(b"\xff\xff\xff", timeout=10)) == grpc.StatusCode.INTERNAL
    assert status_of(lambda: check(b"\x0a" * (8 << 20), timeout=10)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status_of(lambda: check(b"x" * 2000, timeout=10, compression=grpc.Compression.Gzip)) == grpc.StatusCode.UNIMPLEMENTED
    assert list(process(iter([]), timeout=10)) == []


def status_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    code: grpc.StatusCode = refused.value.code()
    return code


def frames() -> st.SearchStrategy[bytes]:
    """Frames that there are, on streams that there may be, with anything in them."""
    ids = st.integers(0, 9)
    return st.one_of(
        st.binary(max_size=80),
        st.builds(lambda n, data: DataFrame(max(n, 1), data).serialize(), ids, st.binary(max_size=40)),
        st.builds(lambda n, data: HeadersFrame(max(n, 1), data, flags=["END_HEADERS"]).serialize(), ids, st.binary(max_size=40)),
        st.builds(lambda n, code: RstStreamFrame(max(n, 1), code).serialize(), ids, st.integers(0, 99)),
        st.builds(lambda n, by: WindowUpdateFrame(n, by).serialize(), ids, st.integers(1, 2**31 - 1)),
        st.builds(lambda last: GoAwayFrame(0, last).serialize(), ids),
        st.builds(lambda key, value: SettingsFrame(0, {key: value}).serialize(), st.integers(0, 9), st.integers(0, 2**32 - 1)),
        st.builds(
            lambda kind, flags, n, data: len(data).to_bytes(3, "big") + bytes([kind, flags]) + n.to_bytes(4, "big") + data,
            st.integers(0, 255), st.integers(0, 255), ids, st.binary(max_size=40),
        ),
    )  # fmt: skip


@FLAWS
@given(st.lists(frames(), max_size=8), st.sampled_from([b"", PREFACE, PREFACE + SettingsFrame(0).serialize()]))
def test_bytes_that_are_no_http2_harm_nobody(envoy: Envoy, sent: list[bytes], before: bytes) -> None:
    """The worker that heard them is there afterwards, and serves."""
    _said(envoy.lockgate, before + b"".join(sent))
    assert healthy(envoy.lockgate)


@FLAWS
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.sampled_from([PROCESS, CHECK, "/grpc.health.v1.Health/Check"]))
def test_bytes_that_are_no_grpc_harm_nobody(envoy: Envoy, parts: list[bytes], path: str) -> None:
    """In a call that begins as it should."""
    connection = H2Connection(H2Configuration())
    connection.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "door"), (":path", path)]
    connection.send_headers(1, [*head, ("content-type", "application/grpc"), ("te", "trailers")])
    for part in parts:
        connection.send_data(1, part)
    connection.end_stream(1)
    _said(envoy.lockgate, connection.data_to_send())
    assert healthy(envoy.lockgate)


def _said(lockgate: Lockgate, content: bytes) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", lockgate.ports["envoy"]), timeout=10) as wire:
        wire.sendall(content)
        wire.shutdown(socket.SHUT_WR)
        while wire.recv(65536):
            pass


def test_many_who_leave_at_once_take_nobody_with_them(envoy: Envoy) -> None:
    """Three times 240 requests whose callers close their connections while the service has not answered, and one whose caller stays: far
    more than the library takes on one connection."""
    lockgate = envoy.lockgate
    lockgate.forget()
    with ThreadPoolExecutor(1) as pool:
        stays = pool.submit(envoy.ask, "ann", "GET", "/hold/stays")
        until(lambda: lockgate.arrived("/hold/stays"), "the one who stays was at the service")
        for already in range(1, 721, 240):
            with contextlib.ExitStack() as wires:
                for more in range(already, already + 240, 60):
                    wires.enter_context(_asking(envoy, 60))
                    until(lambda more=more: _held(lockgate) == more + 60, "all were at the service")
            for number in range(20):
                assert envoy.ask("ann", "GET", f"/echo/{number}").status == 200
        lockgate.release()
        assert stays.result().status == 200
    assert "flood" not in lockgate.process.said


def test_one_who_begins_and_leaves_in_great_numbers_takes_nobody_with_them(envoy: Envoy) -> None:
    """400 requests that are given up in the very read in which they come, while others' are under way: as fast as Envoy lets anybody."""
    lockgate = envoy.lockgate
    lockgate.forget()
    connection = H2Connection(H2Configuration())
    connection.initiate_connection()
    for _ in range(400):
        number = connection.get_next_available_stream_id()
        connection.send_headers(number, _head(envoy, "/echo/1"), end_stream=True)
        connection.reset_stream(number)
    with ThreadPoolExecutor(20) as pool:
        stay = [pool.submit(envoy.ask, "ann", "GET", f"/hold/{number}") for number in range(20)]
        until(lambda: _held(lockgate) == 20, "all who stay were at the service")
        with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=10) as wire:
            wire.sendall(connection.data_to_send())
            for number in range(20):
                assert envoy.ask("ann", "GET", f"/echo/{number}").status == 200
        lockgate.release()
        assert [each.result().status for each in stay] == [200] * 20
    assert "flood" not in lockgate.process.said


def test_calls_go_on_over_other_connections_and_none_is_lost(envoy: Envoy) -> None:
    """As many as take several of them, from eight callers; Envoy ends each call itself, and hears in time where not to begin the next."""
    before = envoy.stats("cluster.lockgate.")["cluster.lockgate.upstream_cx_total"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: envoy.ask("ann", "GET", f"/echo/{number}").status, range(3000)))
    assert answers == [200] * 3000
    after = envoy.stats("cluster.lockgate.")
    assert after["cluster.lockgate.upstream_cx_total"] > before
    assert after["cluster.lockgate.upstream_cx_destroy_remote_with_active_rq"] == 0


def _held(lockgate: Lockgate) -> int:
    return sum(each["target"].startswith("/hold/") for each in lockgate.arrivals())


def _asking(envoy: Envoy, many: int) -> socket.socket:
    """A connection over HTTP/2 with that many requests that are not answered yet."""
    connection = H2Connection(H2Configuration())
    connection.initiate_connection()
    for number in range(many):
        connection.send_headers(2 * number + 1, _head(envoy, f"/hold/{number}"), end_stream=True)
    wire = socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=10)
    wire.sendall(connection.data_to_send())
    return wire


def _head(envoy: Envoy, path: str) -> list[tuple[str, str]]:
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "yard"), (":path", path)]
    return [*head, ("authorization", f"Bearer {envoy.lockgate.keys['ann']}")]


@pytest.mark.slow
def test_everything_else_about_envoy_holds_on_it(request: pytest.FixtureRequest) -> None:
    """The whole suite against a real Envoy."""
    here = Path(__file__).parent
    files = [
        *sorted(str(each) for each in here.glob("test_envoy*.py") if each != Path(__file__)),
        str(here.parent / "faults/test_envoy_door.py"),
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *files],
        cwd=request.config.rootpath,
        env={**os.environ, "LOCKGATE_TEST_ENVOY_SERVER": "zttp"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
