"""Running the door for Envoy: certificates, health, restarts under load, gRPC calls, bodies that policy changes."""

from __future__ import annotations

import copy
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from examples.halden.demo.company import free_ports
from tests.e2e.authority import Authority, write
from tests.e2e.envoy import HTTP, STREAMS, Envoy, cluster, envoy_before, fronted, processor, routes
from tests.e2e.grpc_thread import served
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company, prepared

CHECKED = [
    {
        "timeout": "0.5s",
        "interval": "0.2s",
        "no_traffic_interval": "0.2s",  # else nobody is asked for a minute after the start
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }
]


@pytest.mark.parametrize("server", ["grpc", "zttp"])
def test_only_an_envoy_with_a_certificate_is_served(server: str, tmp_path: Path) -> None:
    """mTLS: who has no certificate, or one of another authority, is not even heard; a new certificate is taken up while it runs."""
    folder = tmp_path / "yard"
    folder.mkdir()
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    served, client, stranger = ours.issue("server"), ours.issue("envoy"), theirs.issue("stranger")
    tls = {"certificate": str(served[0]), "key": str(served[1]), "client_ca": str(ours.ca), "client_certificates": "required"}
    with fronted(folder, envoy={"tls": tls, "server": server}) as (lockgate, plain):
        assert plain.ask("ann", "GET", "/items/1").status == 500
        for name, pair, status in (("client", client, 200), ("stranger", stranger, 500)):
            with over_tls(lockgate, folder / name, pair, ours.ca) as envoy:
                assert envoy.ask("ann", "GET", "/items/1").status == status
        if server == "zttp":  # gRPC's own TLS does not say
            counted = lambda: {code for each in lockgate.system("refused") for code in each.get("counts", each)}  # noqa: E731 - shorter so
            until(lambda: counted() >= {"tls_handshake_failed", "client_certificate_refused"}, "they were on record")
        before = shown(lockgate, client, ours.ca)
        renewed = ours.issue("renewed")
        write(served[1], renewed[1].read_bytes())
        write(served[0], renewed[0].read_bytes())
        until(lambda: shown(lockgate, client, ours.ca) != before, "the new certificate was shown")
        with over_tls(lockgate, folder / "renewed-envoy", client, ours.ca) as envoy:
            assert envoy.ask("ann", "GET", "/items/1").status == 200


@contextmanager
def over_tls(lockgate: Lockgate, folder: Path, pair: tuple[Path, Path], ca: Path) -> Iterator[Envoy]:
    """An Envoy that asks over TLS."""
    context = {
        "tls_certificates": [{"certificate_chain": {"filename": str(pair[0])}, "private_key": {"filename": str(pair[1])}}],
        "validation_context": {"trusted_ca": {"filename": str(ca)}},
    }
    transport = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"{HTTP}.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": context},
    }
    secure = cluster("secure", [lockgate.ports["envoy"]], http2=True, transport_socket=transport)
    with envoy_before(lockgate, folder, [processor("secure")], clusters=[secure], als=False) as envoy:
        yield envoy


def shown(lockgate: Lockgate, pair: tuple[Path, Path], ca: Path) -> bytes | None:
    """The certificate that a handshake gets."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(*map(str, pair))
    context.set_alpn_protocols(["h2"])
    address = ("127.0.0.1", lockgate.ports["envoy"])
    with (
        socket.create_connection(address, timeout=30) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True)


def test_health_is_told_and_nothing_else(tmp_path: Path) -> None:
    """The standard health service, for the whole and for each filter's, to who follows it as well; a drained node says no, and judges what
    comes all the same. No reflection."""
    with fronted(tmp_path) as (lockgate, envoy), grpc.insecure_channel(f"127.0.0.1:{lockgate.ports['envoy']}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "envoy.service.ext_proc.v3.ExternalProcessor", "envoy.service.auth.v3.Authorization"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        followed = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=30)
        told = [next(followed).status]
        waiting = threading.Thread(target=envoy.ask, args=("ann", "GET", "/hold/x"))
        waiting.start()
        until(lambda: lockgate.arrived("/hold/x"), "a request was at the service")
        for order in ("drain", "resume"):
            assert lockgate.control("POST", f"/v1/nodes/self/{order}").json["under_way"]["requests"] == 1
            told.append(next(followed).status)
            assert envoy.ask("ann", "GET", "/items/1").status == 200
            until(lambda: lockgate.control("GET", "/v1/nodes/self").json["under_way"]["requests"] == 1, "that one alone was under way")
        lockgate.release()
        waiting.join()
        followed.cancel()
        serving, leaving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert told == [serving, leaving, serving]
        reflect: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as refused:
            list(reflect(iter([b""]), timeout=30))
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_restarting_one_after_the_other_under_load_fails_no_request(tmp_path: Path) -> None:
    """Two nodes behind one Envoy, each ended and started again while callers ask without a pause: every request is answered 200."""
    with two_nodes(tmp_path) as (first, second):
        ports = [first.ports["envoy"], second.ports["envoy"]]
        at_once = {"update_merge_window": "0s"}  # else a second may pass before a worker thread hears of the health that another knows
        checked = [
            cluster("both", ports, http2=True, streams=STREAMS, health_checks=CHECKED, lb_policy="LEAST_REQUEST", common_lb_config=at_once)
        ]
        with envoy_before(first, tmp_path / "envoy", [processor("both")], clusters=checked) as envoy:
            through = copy.copy(first)
            through.ports = {**first.ports, "gateway": envoy.ports["envoy"]}
            until(lambda: envoy.stats("cluster.both.membership_healthy")["cluster.both.membership_healthy"] == 2, "both were healthy")
            with load(through, callers=4) as seen:
                for node in (first, second):
                    before = seen.answered
                    until(lambda before=before: seen.answered > before + 100, "callers were answered")
                    assert node.process.stop() == 0
                    node.start()
                    until(
                        lambda: envoy.stats("cluster.both.membership_healthy")["cluster.both.membership_healthy"] == 2,
                        "it was healthy again",
                    )
            assert not seen.broken
            assert set(seen.statuses) == {200}
            assert seen.answered > 300
        held = {leaf["id"] for node in (first, second) for leaf in node.leaves() if leaf["schema"] == "lockgate.outcome.v1"}
        assert set(seen.acknowledged) <= held | _decided(first, second)


def test_a_grpc_call_passes_and_a_refused_one_is_told_in_grpc(tmp_path: Path) -> None:
    """Streams in both directions through Envoy, decided by their head; a denial is a gRPC status."""
    with rpc_service() as port, fronted(tmp_path) as (lockgate, _):
        behind = [cluster("rpc", [port], http2=True)]
        table = routes({"streamed": "rpc", "plain": "rpc"})
        with (
            envoy_before(lockgate, tmp_path / "rpc", table=table, clusters=behind, codec_type="AUTO") as envoy,
            grpc.insecure_channel(f"127.0.0.1:{envoy.ports['envoy']}") as channel,
        ):
            shout: Any = channel.stream_stream("/upload/shout")
            for who, status in ((None, grpc.StatusCode.UNAUTHENTICATED), ("eve", grpc.StatusCode.PERMISSION_DENIED)):
                with pytest.raises(grpc.RpcError) as refused:
                    list(shout(iter([b"a"]), metadata=bearer(lockgate, who), timeout=10))
                assert refused.value.code() == status
            assert list(shout(iter([b"a", b"b"]), metadata=bearer(lockgate, "ann"), timeout=10)) == [b"A", b"B"]
            outcomes = until(  # while Envoy is there to tell it
                lambda: [leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.outcome.v1"], "its outcome was recorded"
            )
            assert [(leaf["outcome"]["result"], leaf["outcome"]["status"]) for leaf in outcomes] == [("routed", 200)]


def bearer(lockgate: Lockgate, who: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {lockgate.keys[who]}"),) if who is not None else ()


@contextmanager
def two_nodes(folder: Path) -> Iterator[tuple[Lockgate, Lockgate]]:
    """Two of them with ledgers of their own; the second knows the first one's keys."""
    one, other = free_ports(2)
    block = {"notice": "1s", "outcome_patience": "2s"}
    with (
        company(folder / "first", envoy={**block, "listen": f"127.0.0.1:{one}"}) as first,
        prepared(folder / "second", envoy={**block, "listen": f"127.0.0.1:{other}"}) as second,
    ):
        shutil.copy(first.state / "identity.sqlite", second.state / "identity.sqlite")
        second.keys = first.keys
        second.start()
        for node, port in ((first, one), (second, other)):
            node.ports = {**node.ports, "envoy": port}
        yield first, second


def _decided(*nodes: Lockgate) -> set[str]:
    """What an outcome was not recorded for when the load ended."""
    return {leaf["id"] for node in nodes for leaf in node.leaves() if leaf["schema"] == "lockgate.decision.v1"}


@contextmanager
def rpc_service() -> Iterator[int]:
    """A gRPC service that says in capitals what it is told, as it is told."""

    async def shout(messages: Any, _: Any) -> Any:
        async for message in messages:
            yield message.upper()

    with served({"upload": {"shout": grpc.stream_stream_rpc_method_handler(shout)}}) as port:
        yield port
