"""What `lockgate envoy config --format istio` writes, once istiod has made Envoy's configuration of it, before the real Envoy."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from cryptography import x509

from examples.halden.demo.company import free_ports
from router.envoy.formats import documents
from router.envoy.options import Options
from router.settings import Address
from router.workspace import Workspace
from tests.conformance.envoy_messages import BOOTSTRAP, fault
from tests.conformance.envoy_workspaces import halden, workspace
from tests.conformance.istiod import Lost, gateway
from tests.conformance.test_envoy_config import ASKING, _everything, _refusal, _sockets
from tests.e2e.envoy import _ready, binary
from tests.e2e.processes import Process, until
from tests.e2e.wire import ask
from tests.faults.test_upstream_tls import Authority

Json = dict[str, Any]
DOOR = Options(lockgate=(Address("127.0.0.1", 1),), gateway="ingressgateway")


def _connecting_alike(made: Workspace) -> Workspace:
    """Istio has one time to connect for each host and port."""
    slow = made.catalog.routes["slow"]
    assert slow.timeouts is not None
    alike = slow.model_copy(update={"timeouts": slow.timeouts.model_copy(update={"connect": None})})
    return replace(made, catalog=made.catalog.model_copy(update={"routes": {**made.catalog.routes, "slow": alike}}))


WORKSPACES: dict[str, Callable[[Path], Workspace]] = {
    "halden": halden,
    "everything": lambda folder: _connecting_alike(_everything(folder)[0]),
    "sockets": lambda folder: _sockets(folder)[0],
}


def written(made: Workspace, options: Options = DOOR) -> list[Json]:
    return list(documents("istio", made, options).documents)


@pytest.mark.parametrize("asking", ASKING, ids=["ext_proc", "ext_authz", "streamed"])
@pytest.mark.parametrize("case", WORKSPACES)
def test_istios_own_listener_takes_the_patches(case: str, asking: Json, tmp_path: Path) -> None:
    """Merged into what it has, they are messages of Envoy's, and Envoy validates the whole."""
    config = gateway(written(WORKSPACES[case](tmp_path), replace(DOOR, **asking)), 10000, 9901)
    assert fault(BOOTSTRAP, config) == ""
    assert _refusal(tmp_path, config) == ""


def test_what_istio_has_already_is_noticed(tmp_path: Path) -> None:
    """An upgrade that its listener has, too: the test above can fail."""
    config = gateway(written(_sockets(tmp_path)[0]), 10000, 9901)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["upgrade_configs"] *= 2
    assert "multiple upgrade configs" in _refusal(tmp_path, config)


class Service(BaseHTTPRequestHandler):
    """Answers with the host that it was asked for, and the one before it."""

    def do_GET(self) -> None:
        body = f"{self.headers['host']} {self.headers['x-forwarded-host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def desk(folder: Path, port: int, **route: Any) -> Workspace:
    destination = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{port}"}]}
    return workspace(folder, {"desk": destination}, {"chat": {"destination": "desk", **route}})


@contextmanager
def running(folder: Path, manifests: Sequence[Json], lost: Lost = "nothing") -> Iterator[int]:
    """The port of an Envoy as Istio's ingress gateway."""
    port, admin = free_ports(2)
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(gateway(manifests, port, admin, lost=lost), sort_keys=False))
    command = [str(binary()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    process = Process(command, folder / "gateway.log")
    try:
        process.start()
        until(lambda: _ready(admin, process), "Envoy was ready")
        yield port
    finally:
        process.kill()


def opened(manifests: Sequence[Json]) -> list[Json]:
    """With routes that want the field alone, so that a test without the door gets somewhere where the listener has no filter."""
    made = list(deepcopy(manifests))
    for patch in made[0]["spec"]["configPatches"]:
        if patch["applyTo"] == "HTTP_ROUTE":
            patch["patch"]["value"].pop("match", None)
    return made


@pytest.mark.parametrize("lost", ["nothing", "listener", "everything"])
@pytest.mark.parametrize("deduplicates", [True, False])
def test_nothing_is_reached_without_the_filter(service: int, tmp_path: Path, lost: Lost, deduplicates: bool) -> None:
    """Whoever names a route is refused: where nobody answers at the door, where Envoy did not take the listener's patch, and where there is
    a VirtualService alone."""
    made = desk(tmp_path, service, websocket=True, deduplicates=deduplicates)
    with running(tmp_path, written(made), lost) as port:
        for method in ("GET", "POST"):
            assert ask(port, method, "/chat/1", x_lockgate_route="chat", x_lockgate_subject="root").status == 503
        assert ask(port, "GET", "/chat/1").status == 503


@pytest.mark.parametrize("lost", ["listener", "everything"])
def test_by_the_field_alone_it_would_be(service: int, tmp_path: Path, lost: Lost) -> None:
    """The test above can fail: without the abort, and without what the patched routes want."""
    manifests = opened(written(desk(tmp_path, service)))
    for each in manifests[1]["spec"]["http"]:
        each.pop("fault", None)
    with running(tmp_path, manifests, lost) as port:
        assert ask(port, "GET", "/chat/1", x_lockgate_route="chat").status == 200


@contextmanager
def secure(folder: Path, *, wants: bool = True) -> Iterator[tuple[int, Json]]:
    """The port of a service whose certificate is for its address alone, and how it is spoken to. `wants`: a certificate of ours."""
    authority = Authority(folder)
    own, shown = (authority.issue(name, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))) for name in ("upstream", "envoy"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(*own)
    context.verify_mode = ssl.CERT_REQUIRED if wants else ssl.CERT_NONE
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, {"ca": authority.ca, "certificate": shown[0], "key": shown[1]}
        server.shutdown()


@pytest.mark.parametrize(("name", "status"), [(None, 200), ("127.0.0.1", 200), ("other.example", 503)])
@pytest.mark.parametrize("wants", [True, False])
def test_an_upstream_shows_the_right_certificate(tmp_path: Path, wants: bool, name: str | None, status: int) -> None:
    """And is shown ours where it wants it. With the name that it should have it is spoken to, with another it is not, whoever signed it."""
    with secure(tmp_path, wants=wants) as (port, files):
        tls = (files if wants else {}) | ({} if name is None else {"server_name": name})
        made = workspace(tmp_path, {"desk": {"adapter": "http", "upstreams": [{"url": f"https://127.0.0.1:{port}"}], "tls": tls}})
        manifests = opened(written(made, replace(DOOR, files=tmp_path, system_ca=files["ca"])))
        with running(tmp_path, manifests, "listener") as gate:
            assert ask(gate, "GET", "/desk/1", x_lockgate_route="desk").status == status


def test_ports_of_a_host_are_spoken_to_each_in_its_way(service: int, tmp_path: Path) -> None:
    """In plain to one, and with TLS to the other."""
    with secure(tmp_path) as (port, tls):
        urls = {"plain": f"http://127.0.0.1:{service}", "safe": f"https://127.0.0.1:{port}"}
        destinations: Json = {name: {"adapter": "http", "upstreams": [{"url": url}]} for name, url in urls.items()}
        destinations["safe"]["tls"] = tls
        made = workspace(tmp_path, destinations)
        with running(tmp_path, opened(written(made, replace(DOOR, files=tmp_path))), "listener") as gate:
            assert [ask(gate, "GET", "/", x_lockgate_route=name).status for name in urls] == [200, 200]


@pytest.mark.parametrize("upstreams", [1, 2])
def test_an_upstream_is_asked_for_its_own_host(service: int, tmp_path: Path, upstreams: int) -> None:
    """Not for the caller's, by which whoever shares an upstream could be told another service than was decided."""
    urls = [{"url": f"http://{host}:{service}"} for host in ("127.0.0.1", "localhost")[:upstreams]]
    made = workspace(tmp_path, {"desk": {"adapter": "http", "upstreams": urls}})
    with running(tmp_path, opened(written(made)), "listener") as gate:
        for _ in range(6):
            answer = ask(gate, "GET", "/", x_lockgate_route="desk", host="admin.internal")
            said = "admin.internal" if upstreams == 1 else "None"  # Envoy tells nobody of it where it chooses among several clusters
            assert answer.body.decode() in {f"{host}:{service} {said}" for host in ("127.0.0.1", "localhost")}
